//! Removing flows whose timers ran out. One pass reads the tables in batches; a flow goes when
//! neither direction saw a packet for its state's time, and both its entries go together.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::AsFd as _,
    time::Duration,
};

use aya::{
    Pod,
    maps::{HashMap as BpfHashMap, Map, MapData, MapError},
};
use lb_common::{
    PROTOCOL_TCP, V4, V6,
    flow::{Flow, FlowKey, side, state},
    names,
};

use super::{error::DatapathError, flows::FlowTables, sys};

/// Timers of one service, by state of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub half_open: Duration,
    pub established: Duration,
    pub fin: Duration,
    pub reset: Duration,
}

impl Timeouts {
    fn of(&self, flow_state: u8) -> Duration {
        match flow_state {
            state::ESTABLISHED => self.established,
            state::FIN | state::CLOSED => self.fin,
            state::RESET => self.reset,
            _ => self.half_open,
        }
    }
}

/// Which timers apply to the flows of which backend.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub by_backend: HashMap<u32, Timeouts>,
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
    report.flows += pass.table::<V4>(&tables.flows4, names::FLOWS4, &mut report)?;
    report.flows += pass.table::<V6>(&tables.flows6, names::FLOWS6, &mut report)?;
    report.half_open += pass.table::<V4>(&tables.half_open4, names::HALF_OPEN4, &mut report)?;
    report.half_open += pass.table::<V6>(&tables.half_open6, names::HALF_OPEN6, &mut report)?;
    Ok(report)
}

struct Pass<'a> {
    rules: &'a Rules,
    now_ns: u64,
}

impl Pass<'_> {
    /// Sweeps one table; returns how many flows it still holds.
    fn table<A: lb_common::Address>(
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
        let timeouts = (self.rules.by_backend)
            .get(&flow.backend_idx)
            .unwrap_or(&DEFAULT_TIMEOUTS);
        let quiet = Duration::from_nanos(self.now_ns.saturating_sub(flow.last_seen_ns));
        quiet > timeouts.of(flow.state)
    }
}

/// For flows of backends that no service has any more.
const DEFAULT_TIMEOUTS: Timeouts = Timeouts {
    half_open: Duration::from_secs(60),
    established: Duration::from_secs(900),
    fin: Duration::from_secs(120),
    reset: Duration::from_secs(10),
};

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
