//! What changed between two readings: states of backends, and which there are.

use std::{
    collections::{HashMap, VecDeque},
    time::SystemTime,
};

use crate::control::view::Status;

/// Changes that are remembered.
pub(super) const REMEMBERED: usize = 200;

/// A backend's state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: SystemTime,
    /// `SERVICE/BACKEND`.
    pub(super) place: String,
    /// `None` for one that is new.
    pub(super) from: Option<String>,
    /// `None` for one that is gone.
    pub(super) to: Option<String>,
    pub(super) reason: String,
}

/// Adds what is different, the oldest first, and forgets the oldest where there are too many.
pub(super) fn note(
    changes: &mut VecDeque<Change>,
    before: &Status,
    after: &Status,
    at: SystemTime,
) {
    let mut was = states(before);
    let mut add = |place: &str, from: Option<&str>, to: Option<&str>, reason: &str| {
        if changes.len() == REMEMBERED {
            changes.pop_front();
        }
        changes.push_back(Change {
            at,
            place: place.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            reason: reason.to_owned(),
        });
    };
    for service in &after.services {
        for backend in &service.backends {
            let from = was.remove(&(service.name.as_str(), backend.name.as_str()));
            if from != Some(backend.state.as_str()) {
                let place = format!("{}/{}", service.name, backend.name);
                add(&place, from, Some(&backend.state), &backend.reason);
            }
        }
    }
    let mut gone: Vec<_> = was.into_iter().collect();
    gone.sort_unstable();
    for ((service, backend), from) in gone {
        let place = format!("{service}/{backend}");
        add(&place, Some(from), None, "it left the configuration");
    }
}

fn states(view: &Status) -> HashMap<(&str, &str), &str> {
    (view.services.iter())
        .flat_map(|service| {
            let state = move |b| (service, b);
            service.backends.iter().map(state)
        })
        .map(|(service, backend)| {
            let place = (service.name.as_str(), backend.name.as_str());
            (place, backend.state.as_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::tests::{backend, many, service, view};

    #[test]
    fn what_changed_is_told_with_its_reason() {
        let up = |name| backend(name, "up");
        let before = view(vec![service("web", vec![up("a"), up("b"), up("c")])]);
        let after = view(vec![service(
            "web",
            vec![up("a"), backend("b", "down"), up("d")],
        )]);
        let mut changes = VecDeque::new();
        note(&mut changes, &before, &before, SystemTime::UNIX_EPOCH);
        assert!(changes.is_empty());
        note(&mut changes, &before, &after, SystemTime::UNIX_EPOCH);
        let told: Vec<String> = (changes.iter())
            .map(|c| format!("{} {:?} {:?} {}", c.place, c.from, c.to, c.reason))
            .collect();
        assert_eq!(
            told,
            [
                "web/b Some(\"up\") Some(\"down\") HTTP 503, expected 200-299",
                "web/d None Some(\"up\") HTTP 200",
                "web/c Some(\"up\") None it left the configuration",
            ]
        );
    }

    #[test]
    fn and_no_more_than_can_be_remembered() {
        let mut changes = VecDeque::new();
        note(
            &mut changes,
            &view(vec![]),
            &many(100),
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(changes.len(), REMEMBERED);
        assert_eq!(
            changes.back().map(|c| c.place.as_str()),
            Some("service-100/web-10")
        );
    }
}
