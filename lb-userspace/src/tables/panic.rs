//! Panic: when too few backends of a service are up, all are used, down or not. Health checks of the
//! many are then more likely wrong than right, and the few would not bear the load of all.

use super::{
    Family, Inputs,
    overrides::{overrides_of, weighed},
    standing::is_alive,
};
use crate::config::{Backend, Service};

/// A service whose backends of one address family are all used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panic {
    /// How many are up of those that could take flows.
    pub up: usize,
    pub of: usize,
    /// They are backups.
    backups: bool,
}

impl Panic {
    /// Of a service whose backends of this family are too few to be up. Backups count where they serve:
    /// when no other backend is up, and one of them is.
    #[must_use]
    pub fn of(service: &Service, family: Family, inputs: &Inputs<'_>) -> Option<Self> {
        if service.panic_threshold_percent == 0 {
            return None;
        }
        let takes_part = |backend: &&Backend| {
            let overrides = overrides_of(inputs.overrides, service, backend);
            Family::of(backend.address.ip()) == family
                && weighed(backend, &overrides).weight > 0
                && overrides.hold.is_none()
        };
        let backends: Vec<&Backend> = service.backends.iter().filter(takes_part).collect();
        let count = |backups: bool| {
            let kind = || backends.iter().filter(|backend| backend.backup == backups);
            let up = kind()
                .filter(|backend| is_alive(service, backend, inputs))
                .count();
            (up, kind().count())
        };
        let (others, backups) = (count(false), count(true));
        let serve = others.1 == 0 || (others.0 == 0 && backups.0 > 0);
        let (up, of) = if serve { backups } else { others };
        let enough = up * 100 >= of * service.panic_threshold_percent as usize;
        (!enough).then_some(Self {
            up,
            of,
            backups: serve,
        })
    }

    /// A backend that may take flows is used, whatever its health.
    #[must_use]
    pub fn uses(self, backend: &Backend) -> bool {
        backend.weight > 0 && backend.backup == self.backups
    }
}
