//! Health checks: probes every backend in turn, decides which are up, and says so.
//!
//! [`Checker`] runs one task for each backend; [`state`] decides, [`schedule`] says when,
//! [`probe`] does the I/O, and [`through`] that of the way by which a service's packets go. What a
//! decision means for the tables is the control loop's business.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

mod damping;
pub mod probe;
mod record;
pub mod schedule;
pub mod state;
mod tally;
pub mod through;

pub use damping::Damping;
pub use probe::{ClientCertificate, Datagram, Http, Kind, Target, Tls};
pub use state::{Initial, Rules, State, Transition};
pub use tally::Tally;
pub use through::{Path, Through};

use probe::{Failure, Success};
use record::{Record, lock};
use through::{Prober, Wire};

/// A backend to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The backend's identity.
    pub id: u64,
    /// `None`: without a health check, always up.
    pub target: Option<Target>,
    /// What is asked beside the target, if that is well.
    pub through: Option<Through>,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The same while results contradict the backend's state.
    pub fast_interval: Duration,
    /// The interval varies by that much, up and down.
    pub jitter_percent: u8,
    pub rules: Rules,
    /// Counts only when this id was not watched before.
    pub initial: Initial,
    /// Where its probes are counted.
    pub tally: Tally,
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
    pub probed: Probed,
    /// Of the last probe that failed since this process watches it.
    pub last_error: Option<Problem>,
}

/// What the last probe found that was the backend's to answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// There is no health check.
    Never,
    /// No result has come in since this process watches it.
    Unknown,
    Ok,
    Failed,
    /// It is well itself, but does not answer by the way that its service's packets go.
    DirectOnly,
}

/// Why a probe failed, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub words: String,
    pub at: SystemTime,
}

/// Watches backends. Dropping it stops all probes.
#[derive(Debug)]
pub struct Checker {
    events: mpsc::Sender<Event>,
    watched: HashMap<u64, Watched>,
    /// By which [`through`] probes: made when the first backend wants it, or why it cannot be.
    wire: Option<Result<Arc<Wire>, String>>,
}

impl Checker {
    /// Reports to `events`. While that channel is full, probes wait.
    #[must_use]
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            watched: HashMap::new(),
            wire: None,
        }
    }

    /// Watches exactly these backends from now on. Those that were watched before keep their
    /// state and counts; a probe starts afresh only where what is asked, interval or jitter changed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn apply(&mut self, wanted: Vec<Wanted>) {
        let ids: HashSet<u64> = wanted.iter().map(|wanted| wanted.id).collect();
        self.watched.retain(|id, _| ids.contains(id));
        if self.wire.is_none() && wanted.iter().any(|wanted| wanted.through.is_some()) {
            self.wire = Some(open_wire());
        }
        for wanted in wanted {
            match self.watched.get_mut(&wanted.id) {
                Some(watched) => watched.change(wanted, &self.events, self.wire.as_ref()),
                None => {
                    let id = wanted.id;
                    let watched = Watched::start(wanted, &self.events, self.wire.as_ref());
                    self.watched.insert(id, watched);
                }
            }
        }
    }

    /// By which way packets go to a backend now. Nothing happens for one that is not watched.
    pub fn set_path(&self, id: u64, path: Path) {
        if let Some(watched) = self.watched.get(&id) {
            watched.path.send_if_modified(|before| {
                let differs = *before != path;
                *before = path;
                differs
            });
        }
    }

    /// What the last probe found, and why the last one failed that did. `None` for a backend that is not watched.
    #[must_use]
    pub fn found(&self, id: u64) -> Option<(Probed, Option<Problem>)> {
        let watched = self.watched.get(&id)?;
        Some(lock(&watched.record).found())
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
    path: watch::Sender<Path>,
    task: JoinHandle<()>,
}

impl Watched {
    fn start(
        wanted: Wanted,
        events: &mpsc::Sender<Event>,
        wire: Option<&Result<Arc<Wire>, String>>,
    ) -> Self {
        let record = Record::new(wanted.rules, wanted.initial, SystemTime::now());
        let record = Arc::new(Mutex::new(record));
        let path = watch::Sender::new(Path::Unknown);
        let prober = prober(&wanted, wire, &path);
        let task = watch(wanted.clone(), prober, Arc::clone(&record), events.clone());
        Self {
            wanted,
            record,
            path,
            task: tokio::spawn(task),
        }
    }

    fn change(
        &mut self,
        wanted: Wanted,
        events: &mpsc::Sender<Event>,
        wire: Option<&Result<Arc<Wire>, String>>,
    ) {
        lock(&self.record).health.set_rules(wanted.rules);
        let same = self.wanted.target == wanted.target
            && self.wanted.through == wanted.through
            && self.wanted.interval == wanted.interval
            && self.wanted.fast_interval == wanted.fast_interval
            && self.wanted.jitter_percent == wanted.jitter_percent
            && self.wanted.tally == wanted.tally;
        self.wanted = wanted;
        if !same {
            self.task.abort();
            let prober = prober(&self.wanted, wire, &self.path);
            let record = Arc::clone(&self.record);
            let task = watch(self.wanted.clone(), prober, record, events.clone());
            self.task = tokio::spawn(task);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn open_wire() -> Result<Arc<Wire>, String> {
    Wire::open().map(Arc::new).map_err(|error| {
        warn!(
            "cannot probe backends through dsr, ipip or gue: no packet socket: {error}; give the \
             daemon CAP_NET_RAW, or set through: false in these health checks"
        );
        match error.kind() {
            io::ErrorKind::PermissionDenied => "CAP_NET_RAW is missing".to_owned(),
            _ => format!("no packet socket: {error}"),
        }
    })
}

fn prober(
    wanted: &Wanted,
    wire: Option<&Result<Arc<Wire>, String>>,
    path: &watch::Sender<Path>,
) -> Option<Prober> {
    Some(Prober {
        through: wanted.through.clone()?,
        wire: wire?.clone(),
        path: path.subscribe(),
    })
}

/// The task of one backend: probes, decides, tells.
async fn watch(
    wanted: Wanted,
    mut prober: Option<Prober>,
    record: Arc<Mutex<Record>>,
    events: mpsc::Sender<Event>,
) {
    let Some(target) = &wanted.target else {
        let event = {
            let mut record = lock(&record);
            let transition = record.trust(SystemTime::now());
            record.event(wanted.id, transition, false)
        };
        let _ = events.send(event).await;
        return;
    };
    let mut told = None;
    let mut due = Instant::now() + schedule::first_delay(wanted.interval, rand::random());
    loop {
        sleep_until(due).await;
        let begun = Instant::now();
        let result = probe_both(target, prober.as_mut()).await;
        wanted.tally.count(&result);
        let event = {
            let mut record = lock(&record);
            let transition = record.observe(&result, SystemTime::now());
            let interval = if record.health.is_changing(SystemTime::now()) {
                wanted.fast_interval
            } else {
                wanted.interval
            };
            due = begun + schedule::next_delay(interval, wanted.jitter_percent, rand::random());
            let words = record.words();
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

/// Asks the backend itself and by the way of its service's packets, both at once: either takes the
/// target's timeout at most. What the first says counts first.
async fn probe_both(target: &Target, prober: Option<&mut Prober>) -> Result<Success, Failure> {
    let Some(prober) = prober else {
        return probe::probe(target).await;
    };
    let mut through = pin!(prober.probe(Instant::now() + target.timeout));
    let mut direct = pin!(probe::probe(target));
    let mut early = None;
    let success = loop {
        tokio::select! {
            biased;
            result = &mut direct => break result?,
            outcome = &mut through, if early.is_none() => early = Some(outcome),
        }
    };
    let outcome = match early {
        Some(outcome) => outcome,
        None => through.await,
    };
    Ok(Success {
        note: outcome?,
        ..success
    })
}

#[cfg(test)]
mod tests;
