//! Removing flows whose timers ran out. One pass reads the tables in batches; a flow goes when
//! neither direction saw a packet for its state's time, and both its entries go together.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::AsFd as _,
};

use aya::{
    Pod,
    maps::{HashMap as BpfHashMap, Map, MapData, MapError},
};
use lb_common::{
    PROTOCOL_TCP, V4, V6,
    backend::Backend,
    flow::{Flow, FlowKey, side},
    half_open::{Bucket, Entry},
    names,
    service::Timeouts,
};

use super::{
    error::DatapathError,
    flows::{FlowTables, for_each_half_open},
    sys,
};
use crate::tables::Tables;

/// Which timers apply to the flows of which backend.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_backend: HashMap<u32, Timeouts>,
}

impl Rules {
    /// Those of the services that these tables hold; backends whose service is gone get the
    /// defaults.
    #[must_use]
    pub fn of(tables: &Tables) -> Self {
        let timeouts_of = |backend: &Backend| {
            let service = tables.services.get(&backend.service_idx);
            service.map_or_else(Timeouts::default, |service| service.timeouts)
        };
        Self {
            by_backend: (tables.backends.iter())
                .map(|(idx, backend)| (*idx, timeouts_of(backend)))
                .collect(),
        }
    }

    /// The timer of a flow's state has run out since its last packet.
    pub(super) fn is_quiet(
        &self,
        backend_idx: u32,
        state: u8,
        last_seen_ns: u64,
        now_ns: u64,
    ) -> bool {
        let timeouts = self.by_backend.get(&backend_idx).copied();
        now_ns.saturating_sub(last_seen_ns) > timeouts.unwrap_or_default().of_ns(state)
    }
}

/// What a pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Backends that some entry still refers to.
    pub backends_in_use: BTreeSet<u32>,
    /// Flows that are left, confirmed and half-open, both families together.
    pub flows: u64,
    pub half_open: u64,
    /// Flows removed by this pass.
    pub removed: u64,
}

/// One pass over all four tables. `now_ns` is `CLOCK_MONOTONIC`.
///
/// # Errors
/// When a table cannot be read or written.
pub fn sweep(tables: &FlowTables, rules: &Rules, now_ns: u64) -> Result<Report, DatapathError> {
    let mut report = Report::default();
    let pass = Pass { rules, now_ns };
    report.flows += pass.confirmed::<V4>(&tables.flows4, names::FLOWS4, &mut report)?;
    report.flows += pass.confirmed::<V6>(&tables.flows6, names::FLOWS6, &mut report)?;
    report.half_open += pass.half_open::<V4>(&tables.half_open4, names::HALF_OPEN4, &mut report)?;
    report.half_open += pass.half_open::<V6>(&tables.half_open6, names::HALF_OPEN6, &mut report)?;
    Ok(report)
}

struct Pass<'a> {
    rules: &'a Rules,
    now_ns: u64,
}

impl Pass<'_> {
    /// Looks at a half-open table, where what is over makes room by itself; returns how many flows
    /// it holds.
    fn half_open<A: lb_common::Address>(
        &self,
        map: &MapData,
        name: &'static str,
        report: &mut Report,
    ) -> Result<u64, DatapathError>
    where
        Bucket<A>: Pod,
    {
        let mut flows = 0;
        for_each_half_open(map, name, |entry: &Entry<A>| {
            if !self.is_quiet(&entry.flow) {
                report.backends_in_use.insert(entry.flow.backend_idx);
                flows += u64::from(entry.flow.side == side::CLIENT);
            }
        })?;
        Ok(flows)
    }

    /// Sweeps a table of confirmed flows; returns how many flows it still holds.
    fn confirmed<A: lb_common::Address>(
        &self,
        map: &MapData,
        name: &'static str,
        report: &mut Report,
    ) -> Result<u64, DatapathError>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let mut kept = 0;
        let mut quiet: Vec<FlowKey<A>> = Vec::new();
        sys::for_each(map.fd().as_fd(), |key: &FlowKey<A>, flow: &Flow<A>| {
            if self.is_quiet(flow) {
                quiet.push(*key);
            } else {
                report.backends_in_use.insert(flow.backend_idx);
            }
            kept += u64::from(flow.side == side::CLIENT);
        })
        .map_err(|source| DatapathError::MapCall { map: name, source })?;
        if quiet.is_empty() {
            return Ok(kept);
        }

        let entries = Entries::open(map, name)?;
        let mut expired = Vec::new();
        for key in quiet {
            // Read again: since the pass went by it, a packet may have come.
            let Some(flow) = entries.get(&key)?.filter(|flow| self.is_quiet(flow)) else {
                continue;
            };
            let twin_key = flow.twin_key(u32::from(PROTOCOL_TCP));
            let twin = (entries.get(&twin_key)?)
                .filter(|twin| twin.twin_key(u32::from(PROTOCOL_TCP)) == key);
            match twin {
                Some(twin) if !self.is_quiet(&twin) => {
                    report.backends_in_use.insert(flow.backend_idx);
                    continue;
                }
                // The client's entry speaks for both.
                Some(_) if flow.side == side::CLIENT => expired.extend([key, twin_key]),
                Some(_) => continue,
                None => expired.push(key),
            }
            if flow.side == side::CLIENT {
                kept -= 1;
                report.removed += 1;
            }
        }
        sys::delete_batch(map.fd().as_fd(), &expired)
            .map_err(|source| DatapathError::MapCall { map: name, source })?;
        Ok(kept)
    }

    fn is_quiet<A>(&self, flow: &Flow<A>) -> bool {
        (self.rules).is_quiet(flow.backend_idx, flow.state, flow.last_seen_ns, self.now_ns)
    }
}

/// Single entries of a flow table.
struct Entries<A: lb_common::Address>
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    map: BpfHashMap<MapData, FlowKey<A>, Flow<A>>,
    name: &'static str,
}

impl<A: lb_common::Address> Entries<A>
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    fn open(map: &MapData, name: &'static str) -> Result<Self, DatapathError> {
        let failed = |source| DatapathError::Map { map: name, source };
        let fd = map
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| DatapathError::MapCall { map: name, source })?;
        let data = MapData::from_fd(fd).map_err(failed)?;
        let map = Map::from_map_data(data).map_err(failed)?;
        Ok(Self {
            map: map.try_into().map_err(failed)?,
            name,
        })
    }

    fn get(&self, key: &FlowKey<A>) -> Result<Option<Flow<A>>, DatapathError> {
        match self.map.get(key, 0) {
            Ok(flow) => Ok(Some(flow)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(DatapathError::Map {
                map: self.name,
                source,
            }),
        }
    }
}
