//! Health checks: probes every backend in turn, decides which are up, and says so.
//!
//! [`Checker`] runs one task for each backend; [`state`] decides, [`schedule`] says when,
//! [`probe`] does the I/O. What a decision means for the tables is the control loop's business.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub mod probe;
pub mod schedule;
pub mod state;

pub use probe::{Kind, Target};
pub use state::{Initial, Rules, State, Transition};

use probe::{Failure, Success};
use state::Health;

/// A backend to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The backend's identity.
    pub id: u64,
    /// `None`: without a health check, always up.
    pub target: Option<Target>,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The interval varies by that much, up and down.
    pub jitter_percent: u8,
    pub rules: Rules,
    /// Counts only when this id was not watched before.
    pub initial: Initial,
}

/// Sent for the first result of each task, for each decision, and whenever the reason's words
/// change (how long an answer took does not count as a change).
///
/// `up` is the state, `transition` only the news. An event may still arrive for a backend that
/// is no longer watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub transition: Option<Transition>,
    /// When the result was taken in that this tells of; of a transition, when it was decided.
    pub at: std::time::Instant,
    pub up: bool,
    /// Such as "HTTP 200 in 3 ms" or "connection refused (1 of 3 to go down)".
    pub reason: String,
    pub since: SystemTime,
    /// The probe heard nothing at all: the neighbour's MAC address may have changed.
    pub stale_neighbour: bool,
}

/// What is known of a backend now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub up: bool,
    pub reason: String,
    pub since: SystemTime,
    /// Whether a result has come in since this process watches it; true without a health check.
    pub probed: bool,
}

/// Watches backends. Dropping it stops all probes.
#[derive(Debug)]
pub struct Checker {
    events: mpsc::Sender<Event>,
    watched: HashMap<u64, Watched>,
}

impl Checker {
    /// Reports to `events`. While that channel is full, probes wait.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            watched: HashMap::new(),
        }
    }

    /// Watches exactly these backends from now on. Those that were watched before keep their
    /// state and counts; a probe starts afresh only where target, interval or jitter changed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn apply(&mut self, wanted: Vec<Wanted>) {
        let ids: HashSet<u64> = wanted.iter().map(|wanted| wanted.id).collect();
        self.watched.retain(|id, _| ids.contains(id));
        for wanted in wanted {
            match self.watched.get_mut(&wanted.id) {
                Some(watched) => watched.change(wanted, &self.events),
                None => {
                    self.watched
                        .insert(wanted.id, Watched::start(wanted, &self.events));
                }
            }
        }
    }

    /// `None` for a backend that is not watched.
    #[must_use]
    pub fn snapshot(&self, id: u64) -> Option<Snapshot> {
        self.watched
            .get(&id)
            .map(|watched| lock(&watched.record).snapshot())
    }
}

/// One backend and the task that probes it.
#[derive(Debug)]
struct Watched {
    wanted: Wanted,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl Watched {
    fn start(wanted: Wanted, events: &mpsc::Sender<Event>) -> Self {
        let health = Health::new(wanted.rules, wanted.initial, SystemTime::now());
        let record = Arc::new(Mutex::new(Record {
            health,
            took: None,
            probed: false,
        }));
        let task = tokio::spawn(watch(wanted.clone(), Arc::clone(&record), events.clone()));
        Self {
            wanted,
            record,
            task,
        }
    }

    fn change(&mut self, wanted: Wanted, events: &mpsc::Sender<Event>) {
        lock(&self.record).health.set_rules(wanted.rules);
        let same = self.wanted.target == wanted.target
            && self.wanted.interval == wanted.interval
            && self.wanted.jitter_percent == wanted.jitter_percent;
        self.wanted = wanted;
        if !same {
            self.task.abort();
            let record = Arc::clone(&self.record);
            self.task = tokio::spawn(watch(self.wanted.clone(), record, events.clone()));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a task knows of its backend; the [`Checker`] reads it.
#[derive(Debug)]
struct Record {
    health: Health,
    /// How long the last success took.
    took: Option<Duration>,
    probed: bool,
}

impl Record {
    /// Takes in a result. A fault of this host decides nothing, but is told.
    fn observe(&mut self, result: &Result<Success, Failure>) -> Option<Transition> {
        self.took = result.as_ref().ok().map(|success| success.took);
        match result {
            Ok(success) => self.decide(Ok(&success.detail)),
            Err(failure) if failure.is_local() => {
                self.health.note(&failure.to_string());
                None
            }
            Err(failure) => self.decide(Err(&failure.to_string())),
        }
    }

    fn decide(&mut self, outcome: Result<&str, &str>) -> Option<Transition> {
        self.probed = true;
        self.health.observe(outcome, SystemTime::now())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            up: self.health.is_up(),
            reason: with_time(self.health.reason(), self.took),
            since: self.health.since(),
            probed: self.probed,
        }
    }

    fn event(&self, id: u64, transition: Option<Transition>, stale_neighbour: bool) -> Event {
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

/// The task of one backend: probes, decides, tells.
async fn watch(wanted: Wanted, record: Arc<Mutex<Record>>, events: mpsc::Sender<Event>) {
    let Some(target) = &wanted.target else {
        let event = trust(wanted.id, &mut lock(&record));
        let _ = events.send(event).await;
        return;
    };
    let mut told = None;
    let mut due = Instant::now() + schedule::first_delay(wanted.interval, rand::random());
    loop {
        sleep_until(due).await;
        due = Instant::now()
            + schedule::next_delay(wanted.interval, wanted.jitter_percent, rand::random());
        let result = probe::probe(target).await;
        let event = {
            let mut record = lock(&record);
            let transition = record.observe(&result);
            let words = record.health.reason().to_owned();
            if transition.is_none() && told.as_ref() == Some(&words) {
                continue;
            }
            let stale_neighbour = result.is_err_and(|failure| failure.suggests_stale_neighbour());
            let event = record.event(wanted.id, transition, stale_neighbour);
            told = Some(words);
            event
        };
        if events.send(event).await.is_err() {
            return; // nobody listens any more
        }
    }
}

fn trust(id: u64, record: &mut Record) -> Event {
    record.probed = true;
    record.took = None;
    let transition = record.health.trust(SystemTime::now());
    record.event(id, transition, false)
}

/// "HTTP 200 in 3.1 ms".
fn with_time(words: &str, took: Option<Duration>) -> String {
    match took {
        Some(took) => format!("{words} in {:.1} ms", took.as_secs_f64() * 1000.0),
        None => words.to_owned(),
    }
}

/// The lock of a record. A task that panicked leaves nothing half-written worth losing all for.
fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
