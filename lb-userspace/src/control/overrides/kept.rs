//! The overrides in force, by backend identity, and how they outlast the daemon: in the state file,
//! and in the tables where there is no such file.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use lb_common::backend::{self, state};
use tracing::{error, info, warn};

use super::file::{Decided, Record, StateError, StateFile};
use crate::{
    config::Config,
    control::{Control, Probed},
    tables::{Decision, Health, Hold, Overrides, backend_identity, flows_end, identity_of},
};

/// The overrides in force.
pub(in crate::control) struct Kept {
    by_id: HashMap<u64, Overrides>,
    file: StateFile,
    /// They are not those of the file.
    unsaved: bool,
    /// What is in the file's place cannot be used.
    broken: bool,
}

impl Kept {
    pub(in crate::control) fn new(file: StateFile) -> Self {
        Self {
            by_id: HashMap::new(),
            file,
            unsaved: false,
            broken: false,
        }
    }

    pub(in crate::control) fn all(&self) -> &HashMap<u64, Overrides> {
        &self.by_id
    }

    pub(in crate::control) fn of(&self, id: u64) -> Overrides {
        self.by_id.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, id: u64, overrides: Overrides) {
        if overrides.is_empty() {
            self.by_id.remove(&id);
        } else {
            self.by_id.insert(id, overrides);
        }
        self.unsaved = true;
    }

    /// Forgets all but those of these backends.
    pub(in crate::control) fn retain(&mut self, known: &HashSet<u64>) {
        let before = self.by_id.len();
        self.by_id.retain(|id, _| known.contains(id));
        self.unsaved |= self.by_id.len() < before;
    }

    /// Brings the file to what is in force, where it is not. A file that cannot be used is moved
    /// aside first.
    pub(super) fn save(&mut self, config: &Config) -> Result<(), StateError> {
        if self.broken {
            let aside = (self.file.set_aside()).map_err(|source| StateError::Write {
                path: self.file.path().to_owned(),
                source,
            })?;
            warn!("it was moved to {}", aside.display());
            (self.broken, self.unsaved) = (false, true);
        }
        if self.unsaved {
            self.file.write(self.records(config))?;
            self.unsaved = false;
        }
        Ok(())
    }

    fn records(&self, config: &Config) -> Vec<Record> {
        let mut records = Vec::new();
        for service in &config.services {
            for backend in &service.backends {
                let id = backend_identity(service, backend.address);
                if let Some(overrides) = self.by_id.get(&id) {
                    records.push(Record {
                        service: service.name.clone(),
                        backend: backend.name.clone(),
                        protocol: service.protocol.name().to_owned(),
                        address: backend.address,
                        state: overrides
                            .hold
                            .map(|hold| written(hold, |to| to.name().to_owned())),
                        weight: overrides.weight.map(|weight| written(weight, |to| to)),
                    });
                }
            }
        }
        records
    }

    /// Takes over what the file holds of the backends that the configuration has. False where there
    /// is no file to go by.
    fn adopt(&mut self, config: &Config) -> Result<bool, StateError> {
        let records = match self.file.read() {
            Ok(Some(records)) => records,
            Ok(None) => return Ok(false),
            Err(error @ StateError::Writable(_)) => return Err(error),
            Err(error) => {
                error!(
                    "{error}; drained and disabled backends stay so as far as the tables remember \
                     them, weights are those of the configuration"
                );
                self.broken = true;
                return Ok(false);
            }
        };
        let known: HashMap<u64, String> = (config.services.iter())
            .flat_map(|service| {
                service
                    .backends
                    .iter()
                    .map(move |backend| (service, backend))
            })
            .map(|(service, backend)| {
                let name = format!("{}/{}", service.name, backend.name);
                (backend_identity(service, backend.address), name)
            })
            .collect();
        for record in records {
            let service = (config.services.iter()).find(|service| {
                service.name == record.service && service.protocol.name() == record.protocol
            });
            let id = service.map(|service| backend_identity(service, record.address));
            let Some((id, name)) = id.and_then(|id| known.get(&id).map(|name| (id, name))) else {
                info!(
                    "{}/{} ({}) is no longer in the configuration: its override is dropped",
                    record.service, record.backend, record.address
                );
                self.unsaved = true;
                continue;
            };
            let overrides = Overrides {
                hold: record.state.as_ref().map(|state| Decision {
                    to: match state.to.as_str() {
                        "maint" => Hold::Maint,
                        _ => Hold::Drain,
                    },
                    since: state.since,
                    uid: state.uid,
                }),
                weight: record.weight.map(|weight| Decision {
                    to: weight.to,
                    since: weight.since,
                    uid: weight.uid,
                }),
            };
            info!(
                "{name} keeps its override: {}",
                super::words::told(&overrides)
            );
            self.by_id.insert(id, overrides);
        }
        Ok(true)
    }
}

fn written<T, W>(decision: Decision<T>, to: impl Fn(T) -> W) -> Decided<W> {
    Decided {
        to: to(decision.to),
        since: decision.since,
        uid: decision.uid,
    }
}

impl Control {
    /// Overrides that an earlier daemon left: those of the state file, or, where there is none, those
    /// that the tables tell of. Nothing is written yet.
    ///
    /// # Errors
    /// When others may have written the file.
    pub(in crate::control) fn adopt_overrides(&mut self) -> Result<(), StateError> {
        let held: Vec<(backend::Backend, Hold)> = (self.applied.backends.values())
            .filter_map(|entry| match entry.state {
                state::DRAIN => Some((*entry, Hold::Drain)),
                state::MAINT => Some((*entry, Hold::Maint)),
                _ => None,
            })
            .collect();
        if !self.overrides.adopt(&self.config)? {
            for (entry, hold) in &held {
                let overrides = Overrides::held(*hold, since(entry));
                self.overrides.set(identity_of(entry), overrides);
            }
        }
        for (entry, hold) in &held {
            if *hold == Hold::Drain {
                self.adopt_drained_health(entry);
            }
        }
        Ok(())
    }

    /// What becomes of the flows of a backend that drains tells its health, unless their time is over:
    /// then they are reset either way, and its probes will tell.
    fn adopt_drained_health(&mut self, entry: &backend::Backend) {
        let (id, since) = (identity_of(entry), since(entry));
        let over = (self.config.services.iter())
            .find(|service| {
                (service.backends.iter()).any(|b| backend_identity(service, b.address) == id)
            })
            .and_then(|service| flows_end(service, since))
            .is_some_and(|end| end <= SystemTime::now());
        let up = over || entry.flows == backend::flows::FORWARD;
        self.probed
            .insert(id, Probed::adopted(Health { up, since }));
    }

    /// Brings the state file to what is in force. What cannot be written is logged, and tried again
    /// with the next change.
    pub(in crate::control) fn save_overrides(&mut self) {
        if let Err(error) = self.overrides.save(&self.config) {
            error!("{error}; overrides are not kept over a restart until it can be written");
        }
    }
}

/// Since when an entry has its state.
fn since(entry: &backend::Backend) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(entry.since_unix))
}
