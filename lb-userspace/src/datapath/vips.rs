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
