//! Services that use all their backends because too few are up: who they are, and saying so once.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::{Control, view::observed::ChangeKind};
use crate::{
    config::{Backend, Service},
    tables::{Family, Inputs, Panic},
};

/// By service and address family.
pub(super) type Panics = BTreeMap<(String, Family), Panic>;

/// Those of the tables that these inputs call for.
pub(super) fn panics(inputs: &Inputs<'_>) -> Panics {
    (inputs.config.services.iter())
        .flat_map(|service| [Family::Inet, Family::Inet6].map(|family| (service, family)))
        .filter_map(|(service, family)| {
            let panic = Panic::of(service, family, inputs)?;
            Some(((service.name.clone(), family), panic))
        })
        .collect()
}

impl Control {
    /// These are in force from now on.
    pub(super) fn note_panics(&mut self, now: Panics) {
        for (place, panic) in &now {
            if !self.panics.contains_key(place) {
                let (place, words) = (self.described(place), words(*panic));
                let words = format!(
                    "{place}: {words}, below its panic_threshold: all are used, down or not"
                );
                warn!("{words}");
                self.changes.note(ChangeKind::Down, words);
            }
        }
        for place in self.panics.keys().filter(|place| !now.contains_key(place)) {
            let place = self.described(place);
            let words = format!("{place}: enough backends are up again; only those are used");
            info!("{words}");
            self.changes.note(ChangeKind::Up, words);
        }
        self.panics = now;
    }

    /// Why a backend that is down is used, if it is.
    pub(super) fn used_all_the_same(&self, service: &Service, backend: &Backend) -> Option<String> {
        let family = Family::of(backend.address.ip());
        let panic = self.panics.get(&(service.name.clone(), family))?;
        (panic.uses(backend)).then(|| format!("used all the same, as {}", words(*panic)))
    }

    pub(super) fn is_in_panic(&self, service: &Service) -> bool {
        [Family::Inet, Family::Inet6]
            .into_iter()
            .any(|family| self.panics.contains_key(&(service.name.clone(), family)))
    }

    /// The service's name, and the family where it has backends of both.
    fn described(&self, (name, family): &(String, Family)) -> String {
        let mut backends = (self.config.services.iter())
            .filter(|service| service.name == *name)
            .flat_map(|service| &service.backends);
        if backends.any(|backend| Family::of(backend.address.ip()) != *family) {
            let family = if *family == Family::Inet {
                "IPv4"
            } else {
                "IPv6"
            };
            return format!("{name} ({family})");
        }
        name.clone()
    }
}

fn words(panic: Panic) -> String {
    let Panic { up, of, .. } = panic;
    format!("only {up} of {of} backends are up")
}
