//! What the live view knows, and where in it the reader is: pure, but for the clock.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use super::{
    changes::{self, Change},
    rates::Tracker,
    rows::{self, Order, Row},
};
use crate::control::view::{BackendPlace, BackendStatus, Override, Status};

/// More backends than this, and services begin closed.
const OPEN_BACKENDS: usize = 40;
/// How long a message stays.
const SAID: Duration = Duration::from_secs(8);

/// What came of asking the daemon.
pub(super) enum Reading {
    /// With the time at which its counters were read.
    Status(Box<Status>, Instant),
    Failed(Away),
}

/// There is no status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) since: SystemTime,
    /// The daemon is there, but has nothing to tell.
    pub(super) reachable: bool,
    /// In words.
    pub(super) why: String,
}

/// What the keys are for just now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    List,
    /// What is typed is what is searched.
    Search,
    Help,
    /// Of what is selected.
    Details,
    Changes,
    /// Waits for y or n.
    Confirm(BackendPlace, Override),
    /// What is typed is a weight.
    Weight(BackendPlace, String),
}

/// The selected line, by names: lines move.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chosen {
    service: String,
    backend: Option<String>,
}

pub(super) struct Model {
    pub(super) view: Status,
    pub(super) tracker: Tracker,
    pub(super) interval: Duration,
    pub(super) colour: bool,
    /// While there is no status: since when, and what was said last.
    pub(super) away: Option<Away>,
    pub(super) changes: VecDeque<Change>,
    pub(super) mode: Mode,
    pub(super) order: Order,
    /// In lower case.
    pub(super) search: String,
    pub(super) problems_only: bool,
    /// A message, and whether it is a good one.
    pub(super) said: Option<(String, bool, Instant)>,
    pub(super) rows: Vec<Row>,
    /// Place in `rows`; 0 where there is none.
    pub(super) selected: usize,
    /// The first line that is drawn.
    pub(super) top: usize,
    /// Lines that were drawn the last time.
    pub(super) page: usize,
    /// Dropped packets per second, with the reason of most, between the last two readings.
    pub(super) drops: Option<(f64, String)>,
    read_at: Instant,
    chosen: Option<Chosen>,
    open: bool,
    /// Services that are the other way round.
    turned: HashSet<String>,
}

impl Model {
    pub(super) fn new(view: Status, at: Instant, interval: Duration, colour: bool) -> Self {
        let backends: usize = view.services.iter().map(|s| s.backends.len()).sum();
        let mut tracker = Tracker::default();
        tracker.take(&view, at);
        let mut model = Self {
            view,
            tracker,
            interval,
            colour,
            away: None,
            changes: VecDeque::new(),
            mode: Mode::List,
            order: Order::default(),
            search: String::new(),
            problems_only: false,
            said: None,
            rows: Vec::new(),
            selected: 0,
            top: 0,
            page: 1,
            drops: None,
            read_at: at,
            chosen: None,
            open: backends <= OPEN_BACKENDS,
            turned: HashSet::new(),
        };
        model.arrange();
        model
    }

    pub(super) fn take(&mut self, reading: Reading) {
        match reading {
            Reading::Status(view, at) => {
                changes::note(&mut self.changes, &self.view, &view, SystemTime::now());
                self.tracker.take(&view, at);
                let elapsed = at.saturating_duration_since(self.read_at);
                // Over a time without readings it would be no rate of now.
                self.drops = (self.away.is_none())
                    .then(|| drops(&self.view, &view, elapsed))
                    .flatten();
                self.view = *view;
                self.read_at = at;
                self.away = None;
                self.arrange();
            }
            Reading::Failed(away) => {
                self.tracker.miss();
                self.drops = None;
                let since = self.away.take().map_or(away.since, |before| before.since);
                self.away = Some(Away { since, ..away });
            }
        }
    }

    /// Makes the lines anew; what was selected stays it.
    pub(super) fn arrange(&mut self) {
        self.rows = rows::rows(self);
        let found = (self.chosen.as_ref()).and_then(|chosen| {
            let place = |row: &Row| self.names(*row) == *chosen;
            self.rows.iter().position(place)
        });
        self.select(found.unwrap_or(self.selected));
    }

    /// Selects a line, or the last one where there are not so many.
    pub(super) fn select(&mut self, place: usize) {
        self.selected = place.min(self.rows.len().saturating_sub(1));
        self.chosen = self.row().map(|row| self.names(row));
    }

    pub(super) fn row(&self) -> Option<Row> {
        self.rows.get(self.selected).copied()
    }

    /// The selected backend.
    pub(super) fn backend(&self) -> Option<(BackendPlace, &BackendStatus)> {
        let Some(Row::Backend(s, b)) = self.row() else {
            return None;
        };
        let (service, backend) = (&self.view.services[s], &self.view.services[s].backends[b]);
        let place = BackendPlace {
            service: service.name.clone(),
            backend: backend.name.clone(),
        };
        Some((place, backend))
    }

    fn names(&self, row: Row) -> Chosen {
        let (Row::Service(s) | Row::Backend(s, _)) = row;
        let service = &self.view.services[s];
        Chosen {
            service: service.name.clone(),
            backend: match row {
                Row::Service(_) => None,
                Row::Backend(_, b) => Some(service.backends[b].name.clone()),
            },
        }
    }

    pub(super) fn is_open(&self, service: &str) -> bool {
        self.open != self.turned.contains(service)
    }

    /// Opens or closes the service of the selected line.
    pub(super) fn set_open(&mut self, open: bool) {
        let Some(Row::Service(s) | Row::Backend(s, _)) = self.row() else {
            return;
        };
        let name = self.view.services[s].name.clone();
        if self.is_open(&name) != open && !self.turned.remove(&name) {
            self.turned.insert(name.clone());
        }
        if !open {
            self.chosen = Some(Chosen {
                service: name,
                backend: None,
            });
        }
        self.arrange();
    }

    /// Opens or closes all.
    pub(super) fn turn_all(&mut self) {
        self.open = !self.open;
        self.turned.clear();
        self.arrange();
    }

    pub(super) fn say(&mut self, words: String, well: bool) {
        self.said = Some((words, well, Instant::now()));
    }

    pub(super) fn forget_old_words(&mut self) {
        let old = |said: &(String, bool, Instant)| said.2.elapsed() > SAID;
        if self.said.as_ref().is_some_and(old) {
            self.said = None;
        }
    }

    /// The first line to draw so that the selected one is among `lines`.
    pub(super) fn scroll(&mut self, lines: usize) {
        self.page = lines.max(1);
        let last = self.rows.len().saturating_sub(self.page);
        let lowest = (self.selected + 1).saturating_sub(self.page);
        self.top = self.top.min(self.selected).max(lowest).min(last);
    }
}

/// Packets that were dropped per second between two readings, and the reason of most.
fn drops(before: &Status, after: &Status, elapsed: Duration) -> Option<(f64, String)> {
    let seconds = elapsed.as_secs_f64();
    let mut total = 0;
    let mut most = (0, "");
    for reason in after.reasons.iter().filter(|r| r.kind == "drop") {
        let was = before.reasons.iter().find(|r| r.reason == reason.reason);
        let more = reason.count.checked_sub(was.map_or(0, |was| was.count))?;
        total += more;
        most = most.max((more, &reason.reason));
    }
    (total > 0 && seconds > 0.0).then(|| (total as f64 / seconds, most.1.to_owned()))
}

#[cfg(test)]
mod tests;
