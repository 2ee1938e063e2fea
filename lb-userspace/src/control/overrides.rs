//! What the operator decides over a backend, whatever the file and its health say: `drain`,
//! `disable` and `weight`, until `enable`. The state file remembers it for the next daemon; a backend
//! that leaves the configuration loses it.

mod file;
mod kept;
pub(super) mod words;

use std::time::SystemTime;

use tracing::info;

pub use self::file::StateError;
use self::words::{ended_words, flows_words};
pub(super) use self::{file::StateFile, kept::Kept};
use super::{
    Command, CommandError, Control, Handle,
    handle::Peer,
    status::rfc3339,
    view::{BackendPlace, Overridden, Override, observed::ChangeKind},
};
use crate::{
    config::{Backend, Service},
    tables::{Decision, Hold, Overrides, backend_identity},
};

impl Handle {
    /// Has a backend drain, rest, take another weight, or do as the file says again.
    ///
    /// # Errors
    /// When there is no such backend, or the tables cannot be written; nothing changed then.
    pub async fn override_backend(
        &self,
        place: BackendPlace,
        to: Override,
        by: Peer,
    ) -> Result<Overridden, CommandError> {
        self.ask(|reply| Command::Override(place, to, by, reply))
            .await
    }
}

impl Control {
    pub(super) fn override_backend(
        &mut self,
        place: &BackendPlace,
        to: Override,
        by: &Peer,
    ) -> Result<Overridden, CommandError> {
        let (service, backend) = self.placed(place)?;
        let (service, backend) = (service.clone(), backend.clone());
        let id = backend_identity(&service, backend.address);
        let before = self.overrides.of(id);
        let now = SystemTime::now();
        let after = decided(&before, to, now, by);
        if after == before {
            let words = unchanged_words(&service, &before, to, now);
            // What could not be kept before may be now.
            return Ok(self.told(format!("{place} {words}"), None));
        }
        self.put(id, before, after, now);
        if let Err(error) = self.apply() {
            self.put(id, after, before, now);
            self.apply_or_log();
            self.save_overrides();
            return Err(CommandError::Override(error.to_string()));
        }
        let words = match to {
            Override::Drain => format!(
                "drains: new flows go elsewhere, {}; `divvy enable {place}` ends it",
                flows_words(&service, now, now)
            ),
            Override::Disable => format!(
                "is disabled: it gets no traffic and is not probed, {}; `divvy enable {place}` \
                 ends it",
                ended_words(&service)
            ),
            Override::Weight(weight) => format!(
                "has weight {weight}, {} in the file; `divvy enable {place}` ends it",
                backend.weight
            ),
            Override::Enable => self.enabled_words(&service, &backend, &before),
        };
        let warning = match to {
            Override::Enable => None,
            _ => self.nobody_left(&service, &backend),
        };
        let overridden = self.told(format!("{place} {words}"), warning);
        let words = format!("{} (by {by})", overridden.summary);
        info!("{words}");
        self.changes.note(ChangeKind::Operator, words);
        Ok(overridden)
    }

    /// Puts other overrides in force; probes begin and end with them.
    fn put(&mut self, id: u64, before: Overrides, after: Overrides, now: SystemTime) {
        self.overrides.set(id, after);
        match (
            before.hold.map(|hold| hold.to),
            after.hold.map(|hold| hold.to),
        ) {
            (Some(Hold::Maint), Some(Hold::Maint)) => {}
            (_, Some(Hold::Maint)) => {
                self.probed.remove(&id);
                self.look_after();
            }
            // What was known of it is too old.
            (Some(Hold::Maint), _) => {
                self.look_after();
                self.arrivals.join(id);
            }
            (Some(Hold::Drain), None) => self.arrivals.take_part(id, now),
            _ => {}
        }
    }

    /// The answer, once what is in force has been saved.
    fn told(&mut self, summary: String, warning: Option<String>) -> Overridden {
        let saved = self.overrides.save(&self.config);
        let unsaved = saved.err().map(|error| {
            format!(
                "{error}; it is in force, but only until the daemon stops: mend that and give the \
                 command again"
            )
        });
        let warnings: Vec<String> = [warning, unsaved].into_iter().flatten().collect();
        Overridden {
            summary,
            warning: (!warnings.is_empty()).then(|| warnings.join("\nwarning: ")),
        }
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
}

/// What is decided over a backend after this command. One that says what holds already changes
/// nothing: neither since when nor by whom.
fn decided(before: &Overrides, to: Override, now: SystemTime, by: &Peer) -> Overrides {
    fn decision<T>(to: T, since: SystemTime, by: &Peer) -> Option<Decision<T>> {
        Some(Decision {
            to,
            since,
            uid: Some(by.uid),
        })
    }
    let hold = |to: Hold| match before.hold {
        Some(hold) if hold.to == to => before.hold,
        _ => decision(to, now, by),
    };
    match to {
        Override::Drain => Overrides {
            hold: hold(Hold::Drain),
            ..*before
        },
        Override::Disable => Overrides {
            hold: hold(Hold::Maint),
            ..*before
        },
        Override::Weight(weight) => Overrides {
            weight: match before.weight {
                Some(same) if same.to == weight => before.weight,
                _ => decision(weight, now, by),
            },
            ..*before
        },
        Override::Enable => Overrides::default(),
    }
}

fn unchanged_words(service: &Service, before: &Overrides, to: Override, now: SystemTime) -> String {
    let since = before.hold.map_or(now, |hold| hold.since);
    match to {
        Override::Drain => format!(
            "drains already, since {}: {}",
            rfc3339(since),
            flows_words(service, since, now)
        ),
        Override::Disable => format!("is disabled already, since {}", rfc3339(since)),
        Override::Weight(weight) => {
            let since = before.weight.map_or(now, |weight| weight.since);
            format!("has weight {weight} already, since {}", rfc3339(since))
        }
        Override::Enable => "has no override; nothing changed".to_owned(),
    }
}
