//! The only room that knows aya: loads and pins the program and its maps, attaches it, writes the
//! tables, reads counters, lists and sweeps flows.

mod attach;
mod clock;
mod counters;
mod device;
mod error;
mod flows;
mod frags;
mod host_clock;
mod judge;
mod link;
mod log;
mod memory;
mod pins;
mod rehearsal;
mod rings;
mod sources;
mod store;
mod sweep;
mod sys;
mod takeover;
mod traced;
mod vips;

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::MapInfo,
    programs::{ProgramError, Xdp},
};
use lb_common::{names, table};
use tracing::{debug, warn};

pub use self::{
    attach::Mode,
    clock::{Clock, monotonic},
    counters::Counters,
    device::Device,
    error::DatapathError,
    flows::{FlowRecord, FlowTables},
    frags::{program_name, traced_program_name},
    host_clock::clock_is_synchronised,
    judge::ONE_BUFFER,
    link::link_address,
    pins::{Bpffs, Standing},
    rehearsal::{FRAME_MAX, Played, Rehearsal},
    sweep::{Report, Sweeper},
    traced::{Traced, TracedProgram},
};
use self::{pins::Pins, store::Store, takeover::Takeover};
use crate::tables::{Tables, diff::Changes, ring::Ring};

/// The eBPF object: the program `divvy` and its maps.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/divvy-ebpf"));

/// How many flows of each address family the tables are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub flows: u32,
    pub half_open: u32,
    buckets: u32,
}

impl Capacity {
    /// That of the limits which a configuration sets.
    #[must_use]
    pub const fn for_limits(flows: u32, half_open: u32) -> Self {
        Self {
            flows,
            half_open,
            buckets: table::buckets(flows, half_open),
        }
    }

    /// That of tables with so many buckets.
    #[must_use]
    pub const fn of_buckets(buckets: u32) -> Self {
        Self {
            flows: table::flows_of(buckets),
            half_open: table::half_open_of(buckets),
            buckets,
        }
    }

    /// Has the tables made, and the programs use them, at this size.
    pub fn apply<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader.override_global(names::FLOW_BUCKETS, &self.buckets, true);
        for map in [
            names::FLOW_HEADS4,
            names::FLOW_HEADS6,
            names::FLOWS4,
            names::FLOWS6,
        ] {
            loader.map_max_entries(map, self.buckets);
        }
    }
}

/// The loaded program and its pinned maps.
pub struct Datapath {
    pins: Pins,
    ebpf: Ebpf,
    store: Store,
    clock: Clock,
    capacity: Capacity,
    attached: BTreeMap<String, attach::Attached>,
    /// What is on the links instead of the plain program, while somebody traces.
    traced: Option<TracedProgram>,
    /// Another version's layout, until all that it held has been carried over.
    takeover: Option<Takeover>,
}

impl Datapath {
    /// Opens the pinned maps below `run_dir`, or makes them, and loads the program. Nothing is attached
    /// yet, so a datapath that is already running goes on undisturbed, be it of this layout or of another:
    /// what another held is in the tables then.
    /// `trace` has the program log each new flow.
    ///
    /// # Errors
    /// When the kernel, a pin or a permission is not as needed; the message says what to do.
    pub fn open(run_dir: &Path, wanted: Capacity, trace: bool) -> Result<Self, DatapathError> {
        let pins = Pins::new(run_dir);
        pins.prepare()?;
        let layouts = pins.settle()?;
        pins.make_layout()?;
        pins.verify(&pins::layout())?;
        let capacity = match existing_buckets(&pins) {
            Some(buckets) if buckets != wanted.buckets => {
                let capacity = Capacity::of_buckets(buckets);
                warn!(
                    "limits are {} flows and {} half-open, as the tables were made; changed \
                     limits take effect after `divvy detach` and a new start",
                    capacity.flows, capacity.half_open
                );
                capacity
            }
            _ => wanted,
        };

        let maps = names::MAPS.map(|name| (name, pins.map(name)));
        let mut loader = EbpfLoader::new();
        for (name, path) in &maps {
            loader.map_pin_path(name, path.as_path());
        }
        // aya-log's levels: 0 is none, 4 is debug. Disabled logging is removed by the verifier.
        let log_level: u8 = if trace { 4 } else { 0 };
        capacity.apply(&mut loader);
        Clock::apply(&mut loader);
        let mut ebpf = loader
            .override_global("AYA_LOG_LEVEL", &log_level, false)
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(OBJECT)
            .map_err(error::while_loading)?;
        let clock = Clock::start(&mut ebpf)?;
        program_mut(&mut ebpf, names::SWEEP)
            .load()
            .map_err(error::while_verifying)?;
        let program = program_mut(&mut ebpf, program_name());
        program.load().map_err(error::while_verifying)?;
        if let Ok(info) = program.info() {
            debug!(
                instructions = info.verified_instruction_count(),
                "the verifier accepted the program"
            );
        }
        pin_program(program, &pins)?;
        if trace {
            log::forward(&mut ebpf);
        }
        let mut store = Store::open(&pins)?;
        takeover::describe(&pins)?;
        let mut takeover = match layouts.other {
            Some(folder) => {
                let carry = program_mut(&mut ebpf, names::CARRY);
                carry.load().map_err(error::while_verifying)?;
                Some(Takeover::of(folder, own_fd(carry, names::CARRY)?)?)
            }
            None => None,
        };
        if let Some(takeover) = &mut takeover {
            if !layouts.own_in_force {
                takeover.seed(&mut store)?;
            }
            takeover.carry_flows(true)?;
        }
        Ok(Self {
            pins,
            ebpf,
            store,
            clock,
            capacity,
            attached: BTreeMap::new(),
            traced: None,
            takeover,
        })
    }

    /// Takes the program off every interface and removes all pinned state below `run_dir`.
    /// Returns the interfaces that had a program.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(run_dir: &Path) -> Result<Vec<String>, DatapathError> {
        Pins::new(run_dir).remove_all()
    }

    /// What the maps that are pinned below `run_dir` hold, for whoever only looks.
    ///
    /// # Errors
    /// When there are none, or one cannot be read.
    pub fn pinned(run_dir: &Path) -> Result<Tables, DatapathError> {
        Store::open(&Pins::new(run_dir))?.read()
    }

    /// What the maps hold.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read(&self) -> Result<Tables, DatapathError> {
        self.store.read()
    }

    /// The same but for rings, which are large.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read_but_rings(&self) -> Result<Tables, DatapathError> {
        self.store.read_but_rings()
    }

    /// The ring in this half of a service's map; `None` where it has no map.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read_ring(&self, service_idx: u32, half: u8) -> Result<Option<Ring>, DatapathError> {
        self.store.read_ring(service_idx, half)
    }

    /// Writes a difference.
    ///
    /// # Errors
    /// When the kernel refuses a write.
    pub fn write(&mut self, changes: &Changes) -> Result<(), DatapathError> {
        self.store.write(changes)
    }

    /// How many flows of each family the tables are made for.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Sweeps flows, for use by another thread.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn sweeper(&mut self) -> Result<Sweeper, DatapathError> {
        let program = program_mut(&mut self.ebpf, names::SWEEP);
        Sweeper::new(program, self.clock.again()?, self.capacity)
    }

    /// The last pass of the sweeper that met a flow of this backend, `CLOCK_MONOTONIC`; 0 for none.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn backend_seen_ns(&self, idx: u32) -> Result<u64, DatapathError> {
        self.store.backend_seen_ns(idx)
    }

    /// Lists flows, for use by another thread.
    ///
    /// # Errors
    /// When a pin cannot be opened.
    pub fn flow_tables(&self) -> Result<FlowTables, DatapathError> {
        FlowTables::open(&self.pins)
    }

    /// Reads counters, for use by another thread.
    ///
    /// # Errors
    /// When a pin cannot be opened.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        Counters::open(&self.pins)
    }

    /// Live flows of a backend, where its service has them counted.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn live_flows(&self, idx: u32) -> Result<u32, DatapathError> {
        self.store.live_flows(idx)
    }
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the embedded object holds an XDP program of this name")
}

/// A program's descriptor, for use by another thread.
fn own_fd(program: &Xdp, name: &'static str) -> Result<OwnedFd, DatapathError> {
    program
        .fd()
        .and_then(|fd| Ok(fd.as_fd().try_clone_to_owned()?))
        .map_err(|source| DatapathError::Program { name, source })
}

/// Pins the program in place of the one before, without a moment at which there is none.
fn pin_program(program: &mut Xdp, pins: &Pins) -> Result<(), DatapathError> {
    let path = pins.program();
    let next = path.with_file_name("prog_next");
    let folder = |source| DatapathError::Folder {
        path: next.clone(),
        source,
    };
    if next.exists() {
        fs::remove_file(&next).map_err(folder)?;
    }
    program.pin(&next).map_err(|source| DatapathError::Pin {
        path: next.clone(),
        source,
    })?;
    fs::rename(&next, &path).map_err(folder)
}

/// How many buckets the pinned flow tables have, if there are any.
fn existing_buckets(pins: &Pins) -> Option<u32> {
    let info = MapInfo::from_pin(pins.map(names::FLOW_HEADS4)).ok()?;
    Some(info.max_entries())
}

/// Why the verifier or a permission stopped the program.
fn last_line(error: &ProgramError) -> String {
    let text = match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => format!("{io_error}: {verifier_log}"),
        other => other.to_string(),
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.next_back().unwrap_or_default().trim().to_owned()
}
