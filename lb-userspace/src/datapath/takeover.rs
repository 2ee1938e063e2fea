//! Taking over from a version with another layout, without a moment in which a connection is unknown.
//!
//! The new tables are made beside the old ones, which stay in force; what the old ones say of backends and
//! services is written into them, and their flows are copied while packets go on changing them. Then, within
//! moments: what changed since is copied, the links get the new program, one after the other, and what
//! changed in between is copied once more. From before the first link changes until all is copied, the new
//! program drops what is of no flow that it knows ([`lb_common::service::Settings::handover_until_ns`]), so
//! that it answers nobody with a reset whose flow is still to come, and gives no source port away that has an
//! owner. At last the counters follow, and the old layout goes.

mod description;
mod flows;
mod handover;
mod pinned;
mod record;
mod run;
mod tables;

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{HashMap as BpfHashMap, MapData},
};
use lb_common::{
    MAX_BACKENDS,
    affinity::{Client, Remembered},
    backend::BackendStats,
    carry::{CarriedCount, CarriedStats, outcome, what},
    names,
    reason::{REASON_SLOTS, Reason},
};
use tracing::{info, warn};

pub(super) use self::pinned::describe;
use self::{
    description::Description, flows::RawEntry, handover::Handover, pinned::read_description,
    record::Record, run::run,
};
use super::{
    Datapath,
    error::DatapathError,
    pins::Pins,
    store::{self, Store},
    sys::RawMap,
};
use crate::tables::{Tables, diff::difference};

/// Longer than a packet that met the old program takes to leave it.
const LAST_PACKETS: Duration = Duration::from_millis(5);

/// A layout that is being taken over from.
pub(super) struct Takeover {
    folder: PathBuf,
    description: Description,
    /// The program `carry`.
    program: OwnedFd,
    begun: Instant,
    /// While links change their program.
    handover: Option<Handover>,
    /// Hashes of the entries carried so far, by those of their keys.
    carried: HashMap<u64, u64>,
    hasher: RandomState,
    tally: Tally,
}

/// What became of the entries of flows.
#[derive(Clone, Copy, Default)]
struct Tally {
    full: u64,
    taken: u64,
}

impl Takeover {
    /// From the layout in this folder, as another version described it.
    ///
    /// # Errors
    /// When it did not, or not so that it can be read.
    pub(super) fn of(folder: PathBuf, program: OwnedFd) -> Result<Self, DatapathError> {
        Ok(Self {
            description: read_description(&folder)?,
            folder,
            program,
            begun: Instant::now(),
            handover: None,
            carried: HashMap::new(),
            hasher: RandomState::new(),
            tally: Tally::default(),
        })
    }

    /// Fills new tables with what the old ones say, and copies the flows for the first time.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub(super) fn seed(&mut self, store: &mut Store) -> Result<(), DatapathError> {
        info!(
            "taking over from layout {} (divvy {}), which stays in force meanwhile",
            self.description.layout, self.description.version
        );
        let tables = tables::read(&self.folder, &self.description).map_err(self.failed())?;
        store.write(&difference(&Tables::empty(), &tables))
    }

    /// Copies what changed since it was copied last; `live` while packets still change it.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub(super) fn carry_flows(&mut self, live: bool) -> Result<(), DatapathError> {
        let failed = self.failed();
        self.try_carry_flows(live).map_err(failed)?;
        self.hold()
    }

    /// Goes on with the handover, where it has begun.
    fn hold(&mut self) -> Result<(), DatapathError> {
        self.handover.as_mut().map_or(Ok(()), Handover::hold)
    }

    fn try_carry_flows(&mut self, live: bool) -> io::Result<()> {
        for (version, shape) in &self.description.flows {
            flows::for_each(&self.folder, shape, live, |entry| {
                if let Some(handover) = &mut self.handover {
                    handover.hold().map_err(io::Error::other)?;
                }
                let RawEntry { bytes, confirmed } = *entry;
                let key = Record {
                    bytes,
                    fields: &shape.key,
                };
                let key: Vec<_> = shape.key.keys().map(|name| key.field(name)).collect();
                let key = self.hasher.hash_one((version, confirmed, key));
                let content = self.hasher.hash_one(bytes);
                if self.carried.insert(key, content) == Some(content) {
                    return Ok(());
                }
                let done = match *version {
                    4 => run(
                        &self.program,
                        &flows::carried::<1>(what::FLOW4, shape, entry),
                    )?,
                    6 => run(
                        &self.program,
                        &flows::carried::<4>(what::FLOW6, shape, entry),
                    )?,
                    _ => return Ok(()),
                };
                match done {
                    outcome::FULL => self.tally.full += 1,
                    outcome::TAKEN => self.tally.taken += 1,
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Copies which clients are bound to which backends.
    fn carry_clients(&self, pins: &Pins) -> Result<(), DatapathError> {
        self.clients_of::<1>(pins, names::AFFINITY4)?;
        self.clients_of::<4>(pins, names::AFFINITY6)
    }

    fn clients_of<const N: usize>(
        &self,
        pins: &Pins,
        name: &'static str,
    ) -> Result<(), DatapathError>
    where
        Client<[u32; N]>: Pod,
    {
        let Some(shape) = self.description.maps.get(name) else {
            return Ok(());
        };
        let mut clients: BpfHashMap<MapData, Client<[u32; N]>, Remembered> =
            store::typed(pins, name)?;
        let mut written = Ok(());
        let map = RawMap::open(&self.folder.join(name), shape.key, shape.value);
        map.and_then(|map| {
            map.for_each(|key, value| {
                let key = Record {
                    bytes: key,
                    fields: &shape.key_fields,
                };
                let value = Record {
                    bytes: value,
                    fields: &shape.fields,
                };
                let client = Client {
                    service_idx: key.narrow("service_idx"),
                    address: key.words("address"),
                };
                let remembered = Remembered {
                    identity: value.number("identity"),
                    last_ns: value.number("last_ns"),
                    backend_idx: value.narrow("backend_idx"),
                    pad: 0,
                };
                if written.is_ok() {
                    written = clients.insert(client, remembered, 0);
                }
            })
        })
        .map_err(self.failed())?;
        written.map_err(store::at(name))
    }

    /// Adds the old counters to the new ones, and makes them 0, lest a start after this one add them again.
    fn carry_counters(&self) -> io::Result<()> {
        self.counters(names::BACKEND_STATS, MAX_BACKENDS, |index, record| {
            let stats = BackendStats {
                flows: record.number("flows"),
                packets_in: record.number("packets_in"),
                bytes_in: record.number("bytes_in"),
                packets_out: record.number("packets_out"),
                bytes_out: record.number("bytes_out"),
            };
            if stats == BackendStats::default() {
                return Ok(false);
            }
            let carried = CarriedStats {
                what: what::STATS,
                backend_idx: index,
                stats,
            };
            run(&self.program, &carried).map(|_| true)
        })?;
        let own: HashMap<u32, Reason> = (Reason::ALL.iter())
            .filter_map(|reason| {
                let index = self.description.reasons.get(reason.name())?;
                Some((*index, *reason))
            })
            .collect();
        self.counters(names::REASONS, REASON_SLOTS, |index, record| {
            let count = record.bytes.try_into().map_or(0, u64::from_le_bytes);
            let Some(reason) = own.get(&index).filter(|_| count > 0) else {
                return Ok(false);
            };
            let carried = CarriedCount {
                what: what::COUNT,
                reason: *reason as u32,
                count,
            };
            run(&self.program, &carried).map(|_| true)
        })
    }

    /// Calls `add` with each CPU's counters at each index; where it says that it took any, they become 0.
    fn counters(
        &self,
        name: &str,
        most: u32,
        add: impl Fn(u32, &Record<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let Some(shape) = self.description.maps.get(name) else {
            return Ok(());
        };
        let map = RawMap::open(&self.folder.join(name), shape.key, shape.value)?;
        let mut all = Vec::new();
        map.for_each(|index, value| {
            let index = index.try_into().map_or(u32::MAX, u32::from_ne_bytes);
            if index < most && value.iter().any(|byte| *byte != 0) {
                all.push((index, value.to_vec()));
            }
        })?;
        for (index, value) in all {
            let mut taken = false;
            for bytes in map.by_cpu(&value) {
                let fields = &shape.fields;
                taken |= add(index, &Record { bytes, fields })?;
            }
            if taken {
                map.clear_at(index)?;
            }
        }
        Ok(())
    }

    fn failed(&self) -> impl Fn(io::Error) -> DatapathError + use<> {
        let folder = self.folder.clone();
        move |source| DatapathError::Takeover {
            folder: folder.clone(),
            reason: source.to_string(),
        }
    }

    /// What went over, in words; `handover` is how long that took.
    fn told(&self, handover: Duration) -> String {
        format!(
            "took over from layout {}: {} entries of flows, in {:.0?}; links changed within {:.1?}",
            self.description.layout,
            self.carried.len(),
            self.begun.elapsed(),
            handover
        )
    }
}

impl Datapath {
    /// From here until [`Self::end_takeover`], the program drops what is of no known flow; the links of the
    /// other layout are this one's, to be given the program. Does nothing where nothing is taken over.
    ///
    /// # Errors
    /// When a map or a pin cannot be read or written.
    pub fn begin_takeover(&mut self) -> Result<(), DatapathError> {
        let Some(takeover) = &mut self.takeover else {
            return Ok(());
        };
        takeover.carry_clients(&self.pins)?;
        takeover.carry_flows(true)?;
        takeover.handover = Some(Handover::begin(&self.pins)?);
        self.pins.take_links(&takeover.folder)
    }

    /// Links are still being given the program. To be called before each.
    ///
    /// # Errors
    /// When the settings cannot be written.
    pub(super) fn hold_takeover(&mut self) -> Result<(), DatapathError> {
        self.takeover.as_mut().map_or(Ok(()), Takeover::hold)
    }

    /// All links have the program: what is left of the other layout follows, and it goes.
    ///
    /// # Errors
    /// When a map or a pin cannot be read, written or removed.
    pub fn end_takeover(&mut self) -> Result<(), DatapathError> {
        let Some(mut takeover) = self.takeover.take() else {
            return Ok(());
        };
        thread::sleep(LAST_PACKETS);
        takeover.carry_flows(false)?;
        let handover = takeover.handover.take().map(Handover::end).transpose()?;
        let told = takeover.told(handover.unwrap_or_default());
        takeover.carry_counters().map_err(takeover.failed())?;
        self.pins.remove_other(&takeover.folder)?;
        info!("{told}");
        let Tally { full, taken } = takeover.tally;
        if full > 0 {
            warn!("{full} entries of confirmed flows found no place among the confirmed ones");
        }
        if taken > 0 {
            warn!(
                "{taken} entries of flows gave way to newer ones of the same addresses and ports"
            );
        }
        Ok(())
    }
}
