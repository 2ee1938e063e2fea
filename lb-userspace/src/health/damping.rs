//! Flap damping: a backend that changes too often is held down for a while, so that its clients are
//! spared the changes. No clock, `now` comes in.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// When a backend is held down, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damping {
    /// So many changes, up and down together…
    pub changes: u32,
    /// …within this time…
    pub within: Duration,
    /// …hold it down for that long once it goes down.
    pub hold: Duration,
}

/// The changes of one backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Oldest first; never more than a rule counts.
    at: VecDeque<SystemTime>,
    held_until: Option<SystemTime>,
}

impl Changes {
    /// Notes a change to up or down. True if the backend is held down from now on.
    pub(super) fn note(&mut self, up: bool, rule: Option<Damping>, now: SystemTime) -> bool {
        let Some(rule) = rule else {
            *self = Self::default();
            return false;
        };
        self.at.push_back(now);
        // A time to come is of a clock that was set back since.
        let counts = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age <= rule.within);
        self.at.retain(counts);
        while self.at.len() > rule.changes as usize {
            self.at.pop_front();
        }
        let held = !up && self.at.len() >= rule.changes as usize;
        if held {
            self.at.clear();
            self.held_until = now.checked_add(rule.hold);
        }
        held
    }

    /// Until when the backend is held down, if it is.
    pub(super) fn held(&self, rule: Option<Damping>, now: SystemTime) -> Option<SystemTime> {
        let (until, rule) = (self.held_until?, rule?);
        let left = until.duration_since(now).ok()?;
        // More than was ever set is of a clock that was set back since.
        (!left.is_zero() && left <= rule.hold).then_some(until)
    }
}
