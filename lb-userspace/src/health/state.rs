//! When a backend is up: the state machine of one backend. No I/O and no clock, `now` comes in.

use std::time::SystemTime;

use super::damping::{Changes, Damping};

/// What changes the state of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Successes that bring a backend up. 0 counts as 1.
    pub rise: u32,
    /// Failures that take a backend down. 0 counts as 1.
    pub fall: u32,
    /// `None`: a backend may change as often as it likes.
    pub damping: Option<Damping>,
}

/// What is known of a backend before its first probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// Nothing. The first result decides at once, in either direction.
    Unknown,
    /// Adopted from the running datapath: up since then, and `fall` failures take it down.
    Up { since: SystemTime },
    /// Adopted from the running datapath: down since then, and `rise` successes bring it up.
    Down { since: SystemTime },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not probed yet; counts as down.
    Unknown,
    Up,
    Down,
}

/// A decision: the state of a backend has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
    /// The words of the result that decided it.
    pub reason: String,
    pub at: SystemTime,
}

/// The health of one backend.
#[derive(Clone, Debug)]
pub struct Health {
    rules: Rules,
    state: State,
    /// Results in a row that contradict `state`; always below its threshold.
    against: u32,
    reason: String,
    since: SystemTime,
    changes: Changes,
}

impl Health {
    #[must_use]
    pub fn new(rules: Rules, initial: Initial, now: SystemTime) -> Self {
        let (state, since, reason) = match initial {
            Initial::Unknown => (State::Unknown, now, "not probed yet"),
            Initial::Up { since } => (State::Up, since, "adopted from the running datapath"),
            Initial::Down { since } => (State::Down, since, "adopted from the running datapath"),
        };
        Self {
            rules,
            state,
            against: 0,
            reason: reason.to_owned(),
            since,
            changes: Changes::default(),
        }
    }

    /// Takes in the result of one probe, `Ok` or `Err` with the words that describe it, and
    /// returns the decision if this result made one.
    pub fn observe(&mut self, outcome: Result<&str, &str>, now: SystemTime) -> Option<Transition> {
        let (to, words, threshold) = match outcome {
            Ok(words) => (State::Up, words, self.rules.rise),
            Err(words) => (State::Down, words, self.rules.fall),
        };
        if self.state == to {
            self.against = 0;
            self.reason = match self.held(now) {
                Some(until) => format!("{words}; {}", held_words(until)),
                None => words.to_owned(),
            };
            return None;
        }
        if let Some(until) = self.held(now) {
            // Once the time is over, what came in meanwhile counts.
            self.against = (self.against + 1).min(threshold.saturating_sub(1));
            self.reason = format!("{words}, but {}", held_words(until));
            return None;
        }
        self.against += 1;
        if self.state != State::Unknown && self.against < threshold {
            self.reason = format!("{words} ({} of {threshold} to go {to})", self.against);
            return None;
        }
        let known = self.state != State::Unknown;
        if known
            && self.changes.note(to == State::Up, self.rules.damping, now)
            && let Some(until) = self.held(now)
        {
            let words = format!("{words}; {}", held_words(until));
            return Some(self.change(to, &words, now));
        }
        Some(self.change(to, words, now))
    }

    /// A change is under way: results contradict the state, and are about to change it.
    #[must_use]
    pub fn is_changing(&self, now: SystemTime) -> bool {
        self.against > 0 && self.held(now).is_none()
    }

    /// Until when it stays down whatever comes in, if it does.
    fn held(&self, now: SystemTime) -> Option<SystemTime> {
        self.changes.held(self.rules.damping, now)
    }

    /// Up without asking: the backend is no longer to be probed.
    pub fn trust(&mut self, now: SystemTime) -> Option<Transition> {
        let reason = "no health check";
        if self.state == State::Up {
            self.against = 0;
            reason.clone_into(&mut self.reason);
            return None;
        }
        Some(self.change(State::Up, reason, now))
    }

    /// Other words, no decision: something kept us from probing.
    pub fn note(&mut self, words: &str) {
        words.clone_into(&mut self.reason);
    }

    /// Other rules from the next result on; state and counts stay.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The last result in words, such as "HTTP 200" or "connection refused (1 of 3 to go down)".
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Since when it has been in this state.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    fn change(&mut self, to: State, reason: &str, at: SystemTime) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.against = 0;
        self.since = at;
        reason.clone_into(&mut self.reason);
        Transition {
            from,
            to,
            reason: reason.to_owned(),
            at,
        }
    }
}

fn held_words(until: SystemTime) -> String {
    format!(
        "held down until {}, because it changed too often",
        humantime::format_rfc3339_seconds(until)
    )
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

#[cfg(test)]
mod tests;
