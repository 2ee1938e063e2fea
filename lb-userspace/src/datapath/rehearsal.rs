//! A rehearsal: the program is loaded once more, over the tables that are in force, but with flow tables,
//! counters and scratch of its own. What becomes of a packet there is what would become of it on an interface,
//! because the same program decides by the same tables; and nothing comes of it.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap as BpfHashMap, MapData, MapError, PerCpuArray},
};
use lb_common::{
    Address, V4, V6,
    affinity::{Client, Remembered},
    carry::{CarriedFlow, what},
    flow::FlowKey,
    load::{Load, Turn},
    names,
    path::Path as PathMtu,
    reason::Reason,
    service::Service,
};

use super::{
    Capacity, Clock, Datapath, DatapathError, FlowRecord, FlowTables, error, frags::program_name,
    own_fd, pins::Pins, program_mut, store, sys,
};
use crate::tables::words;

/// Maps that a packet changes: those of a rehearsal are its own.
const OWN: [&str; 13] = [
    names::AFFINITY4,
    names::AFFINITY6,
    names::FRAGMENTS4,
    names::FRAGMENTS6,
    names::FLOW_HEADS4,
    names::FLOW_HEADS6,
    names::FLOWS4,
    names::FLOWS6,
    names::BACKENDS_SEEN,
    names::BACKEND_LOADS,
    names::TURNS,
    names::BACKEND_STATS,
    names::REASONS,
];
/// And what answers may cost.
const BUDGETS: &str = names::BUDGETS;
/// Not pinned; by the end of a tunnel.
const PATH_MTUS: &str = "path_mtus";

/// Buckets of its flow tables: one flow is in them.
const FEW_BUCKETS: u32 = 16;
/// Entries of its LRU hashes; the kernel keeps some for each CPU.
const FEW: u32 = 4_096;

/// The longest frame that it takes: of one buffer, a page less what the kernel keeps of it.
pub const FRAME_MAX: usize = 3_400;

/// The program, over the tables in force, with flow tables of its own.
pub struct Rehearsal {
    ebpf: Ebpf,
    pins: Pins,
    program: OwnedFd,
    live: FlowTables,
    own: FlowTables,
    reasons: PerCpuArray<MapData, u64>,
    counted: Vec<u64>,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The XDP action.
    pub action: u32,
    /// The frame when the program was done.
    pub frame: Vec<u8>,
    /// What was counted.
    pub reasons: Vec<Reason>,
}

impl Rehearsal {
    /// Loads it over the pinned maps below `run_dir`, and what is known of the ways to tunnels' ends. The
    /// kernel verifies it meanwhile, which takes about a second.
    ///
    /// # Errors
    /// When the kernel does not take it, or a pin cannot be opened.
    pub fn load(run_dir: &Path, path_mtus: &[(V6, PathMtu)]) -> Result<Self, DatapathError> {
        let pins = Pins::new(run_dir);
        let shared: Vec<_> = (names::MAPS.iter())
            .filter(|name| !OWN.contains(name) && **name != BUDGETS)
            .map(|name| (*name, pins.map(name)))
            .collect();
        let capacity = Capacity::of_buckets(FEW_BUCKETS);
        let mut loader = EbpfLoader::new();
        for (name, path) in &shared {
            loader.map_pin_path(name, path.as_path());
        }
        capacity.apply(&mut loader);
        for name in [
            names::AFFINITY4,
            names::AFFINITY6,
            names::FRAGMENTS4,
            names::FRAGMENTS6,
        ] {
            loader.map_max_entries(name, FEW);
        }
        Clock::apply(&mut loader);
        let log_level: u8 = 0;
        let mut ebpf = loader
            .override_global("AYA_LOG_LEVEL", &log_level, false)
            .load(super::OBJECT)
            .map_err(error::while_loading)?;
        Clock::start(&mut ebpf)?;
        program_mut(&mut ebpf, names::CARRY)
            .load()
            .map_err(error::while_verifying)?;
        let program = program_mut(&mut ebpf, program_name());
        program.load().map_err(error::while_verifying)?;
        let program = own_fd(program, program_name())?;
        let mut paths: BpfHashMap<_, V6, PathMtu> = store::taken(&mut ebpf, PATH_MTUS)?;
        for (end, path) in path_mtus {
            paths.insert(end, path, 0).map_err(store::at(PATH_MTUS))?;
        }
        let own_tables = FlowTables::of(&mut ebpf)?;
        let reasons = store::taken(&mut ebpf, names::REASONS)?;
        let counted = vec![0; Reason::ALL.len()];
        Ok(Self {
            program,
            live: FlowTables::open(&pins)?,
            own: own_tables,
            reasons,
            counted,
            ebpf,
            pins,
        })
    }

    /// Makes known what is remembered of a service's flows: how many its backends have, whose turn it is, and
    /// where this client went last.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub fn know(
        &mut self,
        service_idx: u32,
        service: &Service,
        backends: &[u32],
        client: IpAddr,
    ) -> Result<(), DatapathError> {
        copy::<Load>(&mut self.ebpf, &self.pins, names::BACKEND_LOADS, backends)?;
        copy::<Turn>(&mut self.ebpf, &self.pins, names::TURNS, &[service_idx])?;
        match client {
            IpAddr::V4(client) => {
                let address = [u32::from_ne_bytes(client.octets())];
                self.recall::<V4>(
                    names::AFFINITY4,
                    service_idx,
                    address.masked(service.affinity_bits4),
                )
            }
            IpAddr::V6(_) => {
                let address = words(client).masked(service.affinity_bits6);
                self.recall::<V6>(names::AFFINITY6, service_idx, address)
            }
        }
    }

    fn recall<A: Address>(
        &mut self,
        name: &'static str,
        service_idx: u32,
        address: A,
    ) -> Result<(), DatapathError>
    where
        Client<A>: Pod,
    {
        let live: BpfHashMap<_, Client<A>, Remembered> = store::typed(&self.pins, name)?;
        let client = Client {
            service_idx,
            address,
        };
        match live.get(&client, 0) {
            Ok(remembered) => {
                store::taken::<BpfHashMap<_, Client<A>, Remembered>>(&mut self.ebpf, name)?
                    .insert(client, remembered, 0)
                    .map_err(store::at(name))
            }
            Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(store::at(name)(error)),
        }
    }

    /// Copies the flow of this client to this vip, if there is one.
    ///
    /// # Errors
    /// When a table cannot be read or written.
    pub fn know_flow(
        &mut self,
        client: SocketAddr,
        vip: SocketAddr,
        protocol: u8,
    ) -> Result<Option<FlowRecord>, DatapathError> {
        let wide = key(words(client.ip()), words(vip.ip()), client, vip, protocol);
        if let (IpAddr::V4(from), IpAddr::V4(to)) = (client.ip(), vip.ip()) {
            let [from, to] = [from, to].map(|ip| [u32::from_ne_bytes(ip.octets())]);
            let narrow = key(from, to, client, vip, protocol);
            if let Some((record, pair)) = self.live.pair4(&narrow)? {
                for (key, flow, confirmed) in pair {
                    self.carry(CarriedFlow {
                        what: what::FLOW4,
                        confirmed: confirmed.into(),
                        key,
                        flow,
                    })?;
                }
                return Ok(Some(record));
            }
        }
        let Some((record, pair)) = self.live.pair6(&wide)? else {
            return Ok(None);
        };
        for (key, flow, confirmed) in pair {
            self.carry(CarriedFlow {
                what: what::FLOW6,
                confirmed: confirmed.into(),
                key,
                flow,
            })?;
        }
        Ok(Some(record))
    }

    fn carry<Request: Pod>(&mut self, request: Request) -> Result<(), DatapathError> {
        let program = own_fd(program_mut(&mut self.ebpf, names::CARRY), names::CARRY)?;
        let run = sys::run_program::<Request, Request>(program.as_fd(), &request);
        run.map(drop).map_err(|source| DatapathError::Run {
            name: names::CARRY,
            source,
        })
    }

    /// Sends a frame through the program, as if it came by this interface.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn send(&mut self, ifindex: u32, frame: &[u8]) -> Result<Played, DatapathError> {
        let (action, frame) =
            sys::run_frame(self.program.as_fd(), frame, ifindex).map_err(|source| {
                DatapathError::Run {
                    name: program_name(),
                    source,
                }
            })?;
        let mut reasons = Vec::new();
        for (reason, before) in Reason::ALL.iter().zip(&mut self.counted) {
            let now: u64 = (self.reasons.get(&(*reason as u32), 0))
                .map_err(store::at(names::REASONS))?
                .iter()
                .sum();
            if now > *before {
                reasons.push(*reason);
            }
            *before = now;
        }
        Ok(Played {
            action,
            frame,
            reasons,
        })
    }

    /// The flow that is in its tables now: the one that was copied, or that a packet opened.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn flow(&self) -> Result<Option<FlowRecord>, DatapathError> {
        let mut found = None;
        self.own.for_each(|flow| found = Some(flow.clone()))?;
        Ok(found)
    }
}

impl Datapath {
    /// What routers said of the ways to tunnels' ends.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn path_mtus(&self) -> Result<Vec<(V6, PathMtu)>, DatapathError> {
        let map = self
            .ebpf
            .map(PATH_MTUS)
            .expect("the embedded object holds a map of this name");
        let paths = BpfHashMap::<_, V6, PathMtu>::try_from(map).map_err(store::at(PATH_MTUS))?;
        // One that goes meanwhile is none.
        Ok(paths.iter().filter_map(Result::ok).collect())
    }
}

/// Whose packets go from this client to this vip.
fn key<A>(
    source: A,
    destination: A,
    client: SocketAddr,
    vip: SocketAddr,
    protocol: u8,
) -> FlowKey<A> {
    FlowKey {
        source,
        destination,
        source_port_be: client.port().to_be(),
        destination_port_be: vip.port().to_be(),
        protocol: protocol.into(),
    }
}

/// Copies values at these indices from the map in force.
fn copy<V: Pod>(
    ebpf: &mut Ebpf,
    pins: &Pins,
    name: &'static str,
    indices: &[u32],
) -> Result<(), DatapathError> {
    let live: Array<_, V> = store::typed(pins, name)?;
    let mut own: Array<_, V> = store::taken(ebpf, name)?;
    for idx in indices {
        let value = live.get(idx, 0).map_err(store::at(name))?;
        own.set(*idx, value, 0).map_err(store::at(name))?;
    }
    Ok(())
}
