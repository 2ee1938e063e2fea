//! What the operator decides over a backend, whatever the file and its health say: `drain`, until
//! `enable`. The tables remember it for the next daemon; a backend that leaves the file loses it.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use lb_common::backend::{self, state};
use tracing::info;

use super::{
    Command, CommandError, Control, Handle, Probed,
    status::rfc3339,
    view::{BackendPlace, Overridden, Override, short},
};
use crate::{
    config::{Backend, OnDown, Service},
    tables::{Health, backend_identity, flows_end, identity_of, obstacle, ramp},
};

impl Handle {
    /// Has a backend drain, or take new flows again.
    ///
    /// # Errors
    /// When there is no such backend, or the tables cannot be written; nothing changed then.
    pub async fn override_backend(
        &self,
        place: BackendPlace,
        to: Override,
    ) -> Result<Overridden, CommandError> {
        self.ask(|reply| Command::Override(place, to, reply)).await
    }
}

impl Control {
    pub(super) fn override_backend(
        &mut self,
        place: &BackendPlace,
        to: Override,
    ) -> Result<Overridden, CommandError> {
        let (service, backend) = self.placed(place)?;
        let (service, backend) = (service.clone(), backend.clone());
        let id = backend_identity(&service, backend.address);
        let before = self.drained.get(&id).copied();
        let now = SystemTime::now();
        match (to, before) {
            (Override::Drain, Some(since)) => {
                return Ok(told(format!(
                    "{place} drains already, since {}: {}",
                    rfc3339(since),
                    flows_words(&service, since, now)
                )));
            }
            (Override::Enable, None) => {
                return Ok(told(format!("{place} is not drained; nothing changed")));
            }
            (Override::Drain, None) => drop(self.drained.insert(id, now)),
            (Override::Enable, Some(_)) => {
                self.drained.remove(&id);
                self.arrivals.take_part(id, now);
            }
        }
        if let Err(error) = self.apply() {
            match before {
                Some(since) => drop(self.drained.insert(id, since)),
                None => drop(self.drained.remove(&id)),
            }
            self.apply_or_log();
            return Err(CommandError::Override(error.to_string()));
        }
        let overridden = match to {
            Override::Drain => Overridden {
                summary: format!(
                    "{place} drains: new flows go elsewhere, {}; `divvy enable {place}` ends it",
                    flows_words(&service, now, now)
                ),
                warning: self.nobody_left(&service, &backend),
            },
            Override::Enable => told(self.enabled_words(place, &service, &backend)),
        };
        info!("{}", overridden.summary);
        Ok(overridden)
    }

    /// The backend meant, or what there is instead.
    fn placed(&self, place: &BackendPlace) -> Result<(&Service, &Backend), CommandError> {
        let services = &self.config.services;
        let Some(service) = services.iter().find(|s| s.name == place.service) else {
            let names: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
            return Err(CommandError::NoBackend(format!(
                "no service is called {}; there are {}",
                place.service,
                names.join(", ")
            )));
        };
        let backends = &service.backends;
        let found = backends.iter().find(|b| b.name == place.backend);
        found.map(|backend| (service, backend)).ok_or_else(|| {
            let names: Vec<&str> = backends.iter().map(|b| b.name.as_str()).collect();
            CommandError::NoBackend(match names[..] {
                [] => format!("service {} has no backends", place.service),
                _ => format!(
                    "service {} has no backend {}; it has {}",
                    place.service,
                    place.backend,
                    names.join(", ")
                ),
            })
        })
    }

    /// Says so when no backend of this one's kind takes new flows any more.
    fn nobody_left(&self, service: &Service, backend: &Backend) -> Option<String> {
        let id = backend_identity(service, backend.address);
        let entry = (self.applied.backends.values())
            .find(|entry| identity_of(entry) == id && entry.state != state::REMOVED)?;
        let eligible = (self.applied.services)
            .get(&u32::from(entry.service_idx))?
            .eligible;
        let v4 = backend.address.is_ipv4();
        let both = (service.backends.iter()).any(|b| b.address.is_ipv4() != v4);
        let kind = match (both, v4) {
            (false, _) => "",
            (true, true) => "IPv4 ",
            (true, false) => "IPv6 ",
        };
        (eligible == 0).then(|| {
            format!(
                "no {kind}backend of {} takes new flows now: they are refused",
                service.name
            )
        })
    }

    fn enabled_words(&self, place: &BackendPlace, service: &Service, backend: &Backend) -> String {
        let condition = self.condition(service, backend);
        let mut words = format!("{place} is enabled");
        // Writing into a string does not fail.
        let _ = if !condition.alive {
            write!(
                words,
                ", but down ({}): it takes new flows once it is up",
                condition.reason
            )
        } else if backend.weight == 0 {
            write!(words, "; its weight is 0: it takes no new flows")
        } else if service.slow_start.is_zero() {
            write!(words, ": it takes new flows")
        } else {
            let slow_start = short(service.slow_start);
            write!(
                words,
                ": it takes new flows, its full share in {slow_start}"
            )
        };
        words
    }

    /// Drains that an earlier daemon left in the tables, and the health of those backends.
    pub(super) fn adopt_drains(&mut self) {
        let draining: Vec<backend::Backend> = (self.applied.backends.values())
            .filter(|entry| entry.state == state::DRAIN)
            .copied()
            .collect();
        for entry in &draining {
            self.adopt_drain(entry);
        }
    }

    fn adopt_drain(&mut self, entry: &backend::Backend) {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(entry.since_unix));
        let id = identity_of(entry);
        let over = (self.config.services.iter())
            .find(|service| {
                (service.backends.iter()).any(|b| backend_identity(service, b.address) == id)
            })
            .and_then(|service| flows_end(service, since))
            .is_some_and(|end| end <= SystemTime::now());
        self.drained.insert(id, since);
        // What becomes of its flows tells its health, unless their time is over: then they are reset
        // either way, and its probes will tell.
        let up = over || entry.flows == backend::flows::FORWARD;
        self.probed
            .insert(id, Probed::adopted(Health { up, since }));
    }

    /// A backend's state, with why and since when.
    pub(super) fn shown(&self, service: &Service, id: u64, backend: &Backend) -> Shown {
        const DRAINED: &str = "drained by the operator";
        let now = SystemTime::now();
        let Condition {
            alive,
            since,
            reason,
        } = self.condition(service, backend);
        let drained = self.drained.get(&id);
        let percent =
            ramp(service, self.arrivals.came_up().get(&id)).map_or(100, |ramp| ramp.percent(now));
        match drained {
            Some(since) if alive => Shown {
                state: "drain",
                since: *since,
                reason: format!("{DRAINED}; {}", flows_words(service, *since, now)),
            },
            Some(_) => Shown {
                state: "down",
                since,
                reason: format!("{reason}; {DRAINED}"),
            },
            None if alive && percent < 100 => Shown {
                state: "up",
                since,
                reason: format!("slow start: {percent} %; {reason}"),
            },
            None => Shown {
                state: if alive { "up" } else { "down" },
                since,
                reason,
            },
        }
    }

    /// A backend's health and the way to it, without what the operator says.
    pub(super) fn condition(&self, service: &Service, backend: &Backend) -> Condition {
        let probed = self.probed.get(&backend_identity(service, backend.address));
        let obstacle = obstacle(service, self.next_hops.get(&backend.address.ip()));
        Condition {
            alive: obstacle.is_none() && probed.is_some_and(|probed| probed.health.up),
            since: probed.map_or(self.config_loaded, |probed| probed.health.since),
            reason: match (obstacle, probed) {
                (Some(obstacle), _) => obstacle,
                (None, Some(probed)) => probed.reason.clone(),
                (None, None) => "not probed yet".to_owned(),
            },
        }
    }
}

/// What `status` says of a backend.
pub(super) struct Shown {
    pub(super) state: &'static str,
    pub(super) since: SystemTime,
    pub(super) reason: String,
}

/// How a backend fares.
pub(super) struct Condition {
    pub(super) alive: bool,
    pub(super) since: SystemTime,
    pub(super) reason: String,
}

fn told(summary: String) -> Overridden {
    Overridden {
        summary,
        warning: None,
    }
}

/// What becomes of the flows of a backend that drains since then.
pub(super) fn flows_words(service: &Service, since: SystemTime, now: SystemTime) -> String {
    let end = flows_end(service, since);
    let left = end.and_then(|end| end.duration_since(now).ok());
    match left.filter(|left| !left.is_zero()) {
        _ if service.on_down == OnDown::Keep => "its flows run on (on_down: keep)".to_owned(),
        Some(left) => {
            // A time that is not over is not told as none.
            let seconds = left.as_millis().div_ceil(1000);
            let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
            format!("its flows are reset in {}", short(left))
        }
        None => "its flows are reset".to_owned(),
    }
}
