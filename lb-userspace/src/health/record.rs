//! What is known of one backend, and what its task tells of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::probe::{Failure, Success};
use super::state::{Health, Initial, Rules, Transition};
use super::{Event, Probed, Problem, Snapshot};

/// What a task knows of its backend; the [`Checker`](super::Checker) reads it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) health: Health,
    /// Of the last success: how long it took, and what it leaves open.
    took: Option<Duration>,
    note: Option<String>,
    probed: Probed,
    last_error: Option<Problem>,
}

impl Record {
    pub(super) fn new(rules: Rules, initial: Initial, now: SystemTime) -> Self {
        Self {
            health: Health::new(rules, initial, now),
            took: None,
            note: None,
            probed: Probed::Unknown,
            last_error: None,
        }
    }

    /// Takes in a result. A fault of this host decides nothing, but is told.
    pub(super) fn observe(
        &mut self,
        result: &Result<Success, Failure>,
        now: SystemTime,
    ) -> Option<Transition> {
        match result {
            Ok(success) => {
                self.took = Some(success.took);
                self.note.clone_from(&success.note);
                self.probed = Probed::Ok;
                self.health.observe(Ok(&success.detail), now)
            }
            Err(failure) => {
                self.took = None;
                self.note = None;
                let words = failure.to_string();
                if failure.is_local() {
                    self.health.note(&words);
                    return None;
                }
                self.probed = failure.probed();
                self.last_error = Some(Problem {
                    words: words.clone(),
                    at: now,
                });
                self.health.observe(Err(&words), now)
            }
        }
    }

    /// The backend is no longer to be probed.
    pub(super) fn trust(&mut self, now: SystemTime) -> Option<Transition> {
        self.probed = Probed::Never;
        self.took = None;
        self.note = None;
        self.last_error = None;
        self.health.trust(now)
    }

    /// What a listener wants to hear of when it changes.
    pub(super) fn words(&self) -> String {
        with_note(self.health.reason(), self.note.as_deref())
    }

    pub(super) fn found(&self) -> (Probed, Option<Problem>) {
        (self.probed, self.last_error.clone())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let reason = match self.took {
            // "HTTP 200 in 3.1 ms"
            Some(took) => format!(
                "{} in {:.1} ms",
                self.health.reason(),
                took.as_secs_f64() * 1000.0
            ),
            None => self.health.reason().to_owned(),
        };
        Snapshot {
            up: self.health.is_up(),
            reason: with_note(&reason, self.note.as_deref()),
            since: self.health.since(),
            probed: self.probed,
            last_error: self.last_error.clone(),
        }
    }

    pub(super) fn event(
        &self,
        id: u64,
        transition: Option<Transition>,
        stale_neighbour: bool,
    ) -> Event {
        let Snapshot {
            up, reason, since, ..
        } = self.snapshot();
        Event {
            id,
            transition,
            at: Instant::now().into_std(),
            up,
            reason,
            since,
            stale_neighbour,
        }
    }
}

fn with_note(words: &str, note: Option<&str>) -> String {
    match note {
        Some(note) => format!("{words}; {note}"),
        None => words.to_owned(),
    }
}

/// The lock of a record. A task that panicked leaves nothing half-written worth losing all for.
pub(super) fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
