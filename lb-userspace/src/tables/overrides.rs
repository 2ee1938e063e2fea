//! What the operator decides over a backend, whatever the file and its health say.

use std::{collections::HashMap, time::SystemTime};

use super::backend_identity;
use crate::config::{Backend, Service};

/// All that is decided over one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// It takes no new flows.
    pub hold: Option<Decision<Hold>>,
    /// 0-1000, in place of the file's.
    pub weight: Option<Decision<u16>>,
}

/// What keeps new flows from a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Those it has go on until `drain_timeout`.
    Drain,
    /// Those it has get what `on_down` says at once, and it is not probed.
    Maint,
}

impl Hold {
    /// The state of a backend that is held so.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

/// One decision, with when it was made and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<T> {
    pub to: T,
    pub since: SystemTime,
    /// The user's id; `None` where only the tables remember the decision.
    pub uid: Option<u32>,
}

impl Overrides {
    /// Held since then, by a user who is not known.
    #[must_use]
    pub fn held(to: Hold, since: SystemTime) -> Self {
        Self {
            hold: Some(Decision {
                to,
                since,
                uid: None,
            }),
            weight: None,
        }
    }

    /// Nothing is decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Since when the backend drains.
    #[must_use]
    pub fn drained(&self) -> Option<SystemTime> {
        self.since(Hold::Drain)
    }

    /// Since when the backend is disabled.
    #[must_use]
    pub fn disabled(&self) -> Option<SystemTime> {
        self.since(Hold::Maint)
    }

    fn since(&self, hold: Hold) -> Option<SystemTime> {
        (self.hold.filter(|decision| decision.to == hold)).map(|decision| decision.since)
    }
}

/// What is decided over this backend of the service.
pub(super) fn overrides_of(
    all: &HashMap<u64, Overrides>,
    service: &Service,
    backend: &Backend,
) -> Overrides {
    let identity = backend_identity(service, backend.address);
    all.get(&identity).copied().unwrap_or_default()
}

/// The backend with the weight that is in force.
pub(super) fn weighed(backend: &Backend, overrides: &Overrides) -> Backend {
    Backend {
        weight: (overrides.weight).map_or(backend.weight, |decision| decision.to),
        ..backend.clone()
    }
}
