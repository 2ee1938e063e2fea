//! Writing vips. Each packet meets the service that had its port before, or the one that has it now, at
//! any moment between two writes: what comes is written before what goes is removed, the most special
//! first (single ports, then ever larger ranges), and what goes the other way round.

use std::cmp::Reverse;

use aya::{
    Pod,
    maps::{HashMap, LpmTrie, MapData, MapError, lpm_trie::Key},
};
use lb_common::{
    Address, names,
    service::{PortKey, PortPrefix},
};

use super::{
    error::DatapathError,
    store::{Store, at},
};
use crate::tables::diff::Changes;

impl Store {
    pub(super) fn write_vips(&mut self, changes: &Changes) -> Result<(), DatapathError> {
        insert(&mut self.vips4, &changes.vips4, names::VIPS4)?;
        insert(&mut self.vips6, &changes.vips6, names::VIPS6)?;
        write_ranges(
            &mut self.vip_ranges4,
            &changes.vip_ranges4,
            names::VIP_RANGES4,
        )?;
        write_ranges(
            &mut self.vip_ranges6,
            &changes.vip_ranges6,
            names::VIP_RANGES6,
        )?;
        remove(&mut self.vips4, &changes.vips4, names::VIPS4)?;
        remove(&mut self.vips6, &changes.vips6, names::VIPS6)
    }
}

fn insert<K: Pod>(
    map: &mut HashMap<MapData, K, u32>,
    changes: &[(K, Option<u32>)],
    name: &'static str,
) -> Result<(), DatapathError> {
    for (key, value) in changes {
        if let Some(value) = value {
            map.insert(key, value, 0).map_err(at(name))?;
        }
    }
    Ok(())
}

fn remove<K: Pod>(
    map: &mut HashMap<MapData, K, u32>,
    changes: &[(K, Option<u32>)],
    name: &'static str,
) -> Result<(), DatapathError> {
    for (key, _) in changes.iter().filter(|(_, value)| value.is_none()) {
        removed(map.remove(key), name)?;
    }
    Ok(())
}

fn write_ranges<A: Address>(
    map: &mut LpmTrie<MapData, PortKey<A>, u32>,
    changes: &[(PortPrefix<A>, Option<u32>)],
    name: &'static str,
) -> Result<(), DatapathError>
where
    PortKey<A>: Pod,
{
    for (prefix, service_idx) in in_order(changes) {
        let key = Key::new(prefix.bits, prefix.key);
        match service_idx {
            Some(idx) => map.insert(&key, idx, 0).map_err(at(name))?,
            None => removed(map.remove(&key), name)?,
        }
    }
    Ok(())
}

/// Longer prefixes are inserted first and removed last.
fn in_order<A: Copy>(
    changes: &[(PortPrefix<A>, Option<u32>)],
) -> Vec<(PortPrefix<A>, Option<u32>)> {
    let (mut coming, mut going): (Vec<_>, Vec<_>) =
        (changes.iter().copied()).partition(|(_, service_idx)| service_idx.is_some());
    coming.sort_by_key(|(prefix, _)| Reverse(prefix.bits));
    going.sort_by_key(|(prefix, _)| prefix.bits);
    coming.append(&mut going);
    coming
}

/// What is gone already is as good.
fn removed(result: Result<(), MapError>, name: &'static str) -> Result<(), DatapathError> {
    match result {
        Err(MapError::KeyNotFound) | Ok(()) => Ok(()),
        Err(error) => Err(at(name)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use lb_common::V4;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        config::{PortRange, Vip},
        tables::{Tables, diff::difference, vips::prefixes},
    };

    type Ranges = HashMap<PortPrefix<V4>, u32>;

    const PORTS: u16 = 64;

    /// Some ranges within and beside one another, each of a service of its own, from this number on.
    fn ranges(first_service: u32) -> impl Strategy<Value = Ranges> {
        let range = (1..=PORTS, 1..=PORTS).prop_map(|(a, b)| PortRange {
            first: a.min(b),
            last: a.max(b),
        });
        vec(range, 0..8).prop_map(move |mut ranges| {
            ranges.sort_by_key(|range| Reverse(range.count()));
            let mut nested: Vec<PortRange> = Vec::new();
            for range in ranges {
                let fits = |other: &PortRange| other.contains(range) || !other.meets(range);
                if nested.iter().all(fits) {
                    nested.push(range);
                }
            }
            let address = [203, 0, 113, 10].into();
            let services = (first_service..).zip(nested);
            services
                .flat_map(|(service_idx, ports)| {
                    let prefixes = prefixes::<V4>(Vip { address, ports }, [1], 6);
                    prefixes
                        .into_iter()
                        .map(move |prefix| (prefix, service_idx))
                })
                .collect()
        })
    }

    /// The longest prefix of a port.
    fn found(ranges: &Ranges, port: u16) -> Option<u32> {
        (ranges.iter())
            .filter(|(prefix, _)| {
                let differing = port ^ u16::from_be(prefix.key.port_be);
                u32::from(differing) >> (PortKey::<V4>::BITS - prefix.bits) == 0
            })
            .max_by_key(|(prefix, _)| prefix.bits)
            .map(|(_, service_idx)| *service_idx)
    }

    fn tables(vip_ranges4: &Ranges) -> Tables {
        Tables {
            vip_ranges4: vip_ranges4.clone(),
            ..Tables::empty()
        }
    }

    proptest! {
        #[test]
        fn between_two_writes_each_port_leads_where_it_did_or_will(
            before in ranges(0),
            after in ranges(100),
        ) {
            let changes = difference(&tables(&before), &tables(&after)).vip_ranges4;
            let mut now = before.clone();
            for (prefix, service_idx) in in_order(&changes) {
                match service_idx {
                    Some(idx) => drop(now.insert(prefix, idx)),
                    None => drop(now.remove(&prefix)),
                }
                for port in 1..=PORTS {
                    let leads = found(&now, port);
                    prop_assert!(
                        leads == found(&before, port) || leads == found(&after, port),
                        "port {port} leads to {leads:?}"
                    );
                }
            }
            prop_assert_eq!(now, after);
        }
    }
}
