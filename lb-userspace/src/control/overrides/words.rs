//! What is said of a backend: its state and why, what the operator decided, what becomes of its flows.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use lb_common::backend::{self, state};

use super::{super::status::rfc3339, Control};
use crate::{
    config::{Backend, OnDown, Service},
    control::view::{OverrideStatus, short},
    tables::{Hold, Overrides, backend_identity, flows_end, identity_of, obstacle, ramp},
};

/// What `status` says of a backend.
pub(in crate::control) struct Shown {
    pub(in crate::control) state: &'static str,
    pub(in crate::control) since: SystemTime,
    pub(in crate::control) reason: String,
}

/// How a backend fares.
pub(in crate::control) struct Condition {
    pub(in crate::control) alive: bool,
    pub(in crate::control) since: SystemTime,
    pub(in crate::control) reason: String,
}

impl Control {
    /// A backend's state, with why and since when.
    pub(in crate::control) fn shown(&self, service: &Service, id: u64, backend: &Backend) -> Shown {
        const DRAINED: &str = "drained by the operator";
        let now = SystemTime::now();
        let overrides = self.overrides.of(id);
        if let Some(since) = overrides.disabled() {
            return Shown {
                state: "maint",
                since,
                reason: format!("disabled by the operator; {}", ended_words(service)),
            };
        }
        let Condition {
            alive,
            since,
            reason,
        } = self.condition(service, backend);
        let percent =
            ramp(service, self.arrivals.came_up().get(&id)).map_or(100, |ramp| ramp.percent(now));
        match overrides.drained() {
            Some(since) if alive => Shown {
                state: "drain",
                since,
                reason: format!("{DRAINED}; {}", flows_words(service, since, now)),
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
            None if alive => Shown {
                state: "up",
                since,
                reason,
            },
            None => Shown {
                state: "down",
                since,
                reason: match self.used_all_the_same(service, backend) {
                    Some(words) => format!("{reason}; {words}"),
                    None => reason,
                },
            },
        }
    }

    /// A backend's health and the way to it, without what the operator says.
    pub(in crate::control) fn condition(&self, service: &Service, backend: &Backend) -> Condition {
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

    /// A backend's entry in the tables.
    pub(in crate::control) fn entry(
        &self,
        service: &Service,
        backend: &Backend,
    ) -> Option<&backend::Backend> {
        let id = backend_identity(service, backend.address);
        (self.applied.backends.values())
            .find(|entry| identity_of(entry) == id && entry.state != state::REMOVED)
    }

    /// Says so when no backend of this one's kind takes new flows any more.
    pub(super) fn nobody_left(&self, service: &Service, backend: &Backend) -> Option<String> {
        let entry = self.entry(service, backend)?;
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

    /// What becomes of a backend that nothing holds any more.
    pub(super) fn enabled_words(
        &self,
        service: &Service,
        backend: &Backend,
        before: &Overrides,
    ) -> String {
        let condition = self.condition(service, backend);
        let weight = match before.weight {
            Some(_) => format!(", of weight {} again", backend.weight),
            None => String::new(),
        };
        let mut words = format!("is enabled{weight}");
        // Writing into a string does not fail.
        let _ = if before.disabled().is_some() {
            write!(words, ": it takes new flows once it is found up")
        } else if !condition.alive {
            write!(
                words,
                ", but down ({}): it takes new flows once it is up",
                condition.reason
            )
        } else if backend.weight == 0 {
            write!(words, "; its weight is 0: it takes no new flows")
        } else if service.slow_start.is_zero() || before.hold.is_none() {
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
}

/// What becomes of the flows of a backend that drains since then.
pub(super) fn flows_words(service: &Service, since: SystemTime, now: SystemTime) -> String {
    let end = flows_end(service, since);
    let left = end.and_then(|end| end.duration_since(now).ok());
    match left.filter(|left| !left.is_zero()) {
        Some(left) if service.on_down == OnDown::Reset => {
            // A time that is not over is not told as none.
            let seconds = left.as_millis().div_ceil(1000);
            let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
            format!("its flows are reset in {}", short(left))
        }
        _ => ended_words(service).to_owned(),
    }
}

/// What becomes of the flows of a backend whose time is over.
pub(super) fn ended_words(service: &Service) -> &'static str {
    match service.on_down {
        OnDown::Keep => "its flows run on (on_down: keep)",
        OnDown::Reset => "its flows are reset",
    }
}

/// What is decided over a backend, in one line.
pub(super) fn told(overrides: &Overrides) -> String {
    let hold = overrides.hold.map(|hold| {
        let word = match hold.to {
            Hold::Drain => "drained",
            Hold::Maint => "disabled",
        };
        format!("{word} since {}", rfc3339(hold.since))
    });
    let weight = (overrides.weight).map(|w| format!("weight {} since {}", w.to, rfc3339(w.since)));
    let parts: Vec<String> = [hold, weight].into_iter().flatten().collect();
    parts.join(", ")
}

/// The same for programs; `None` where nothing is decided.
pub(in crate::control) fn status(overrides: &Overrides) -> Option<OverrideStatus> {
    let hold = overrides.hold.map(|hold| (hold.since, hold.uid));
    let weight = overrides.weight.map(|weight| (weight.since, weight.uid));
    let (since, uid) = hold.into_iter().chain(weight).max()?;
    Some(OverrideStatus {
        state: overrides.hold.map(|hold| hold.to.name().to_owned()),
        weight: overrides.weight.map(|weight| weight.to),
        since: rfc3339(since),
        uid,
    })
}
