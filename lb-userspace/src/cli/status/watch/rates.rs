//! Rates from counters: pure, from readings and the times between them.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::control::view::{BackendStatus, Status};

/// Rates that are remembered of each backend.
pub(super) const REMEMBERED: usize = 60;

/// What a backend's counters were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    packets: u64,
    bytes: u64,
    flows: u64,
}

impl From<&BackendStatus> for Counters {
    fn from(backend: &BackendStatus) -> Self {
        Self {
            packets: backend.packets_total,
            bytes: backend.bytes_total,
            flows: backend.flows_total,
        }
    }
}

/// Per second, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) packets: f64,
    pub(super) bits: f64,
    /// New ones.
    pub(super) flows: f64,
}

impl Rates {
    /// What happened between two readings. `None` where that is not known: no time went by, or a counter
    /// fell, as when the tables were made anew.
    fn between(before: Counters, after: Counters, elapsed: Duration) -> Option<Self> {
        let seconds = elapsed.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let per_second =
            |before: u64, after: u64| Some(after.checked_sub(before)? as f64 / seconds);
        Some(Self {
            packets: per_second(before.packets, after.packets)?,
            bits: per_second(before.bytes, after.bytes)? * 8.0,
            flows: per_second(before.flows, after.flows)?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bits: self.bits + other.bits,
            flows: self.flows + other.flows,
        }
    }
}

/// The sum of those rates that are known; `None` where none is.
pub(super) fn sum(rates: impl IntoIterator<Item = Option<Rates>>) -> Option<Rates> {
    rates.into_iter().flatten().reduce(Rates::plus)
}

/// A backend, over readings: by names and address, as one of another address is another.
type Key = (String, String, String);

/// All backends' rates, over time.
#[derive(Default)]
pub(super) struct Tracker {
    /// When the counters were read, if they were the last time.
    read: Option<Instant>,
    backends: HashMap<Key, Tracked>,
}

struct Tracked {
    counters: Counters,
    /// The last is the newest; `None` for one that is not known.
    rates: VecDeque<Option<Rates>>,
}

impl Tracker {
    /// Takes a reading in, made at this time. Backends that are not in it are forgotten.
    pub(super) fn take(&mut self, view: &Status, at: Instant) {
        let elapsed = self.read.map(|read| at.saturating_duration_since(read));
        let mut before = std::mem::take(&mut self.backends);
        for service in &view.services {
            for backend in &service.backends {
                let key = key(&service.name, backend);
                let counters = Counters::from(backend);
                let (rate, mut rates) = match before.remove(&key) {
                    Some(tracked) => (
                        elapsed.and_then(|elapsed| {
                            Rates::between(tracked.counters, counters, elapsed)
                        }),
                        tracked.rates,
                    ),
                    None => (None, VecDeque::new()),
                };
                remember(&mut rates, rate);
                self.backends.insert(key, Tracked { counters, rates });
            }
        }
        self.read = Some(at);
    }

    /// Notes that there was no reading. What happens until the next one is not told as the rate of a
    /// moment.
    pub(super) fn miss(&mut self) {
        self.read = None;
        for tracked in self.backends.values_mut() {
            remember(&mut tracked.rates, None);
        }
    }

    /// The newest of a backend.
    pub(super) fn now(&self, service: &str, backend: &BackendStatus) -> Option<Rates> {
        let tracked = self.backends.get(&key(service, backend))?;
        tracked.rates.back().copied().flatten()
    }

    /// Packets per second at the last `most` readings, the newest last.
    pub(super) fn packets(
        &self,
        service: &str,
        backend: &BackendStatus,
        most: usize,
    ) -> Vec<Option<f64>> {
        let Some(tracked) = self.backends.get(&key(service, backend)) else {
            return Vec::new();
        };
        let skipped = tracked.rates.len().saturating_sub(most);
        (tracked.rates.iter().skip(skipped))
            .map(|rates| rates.map(|rates| rates.packets))
            .collect()
    }
}

fn remember(rates: &mut VecDeque<Option<Rates>>, rate: Option<Rates>) {
    if rates.len() == REMEMBERED {
        rates.pop_front();
    }
    rates.push_back(rate);
}

fn key(service: &str, backend: &BackendStatus) -> Key {
    (
        service.to_owned(),
        backend.name.clone(),
        backend.address.clone(),
    )
}

/// Histories of several, added up from the newest backwards.
pub(super) fn added(histories: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
    let longest = histories.iter().map(Vec::len).max().unwrap_or(0);
    let mut total: Vec<Option<f64>> = vec![None; longest];
    for history in histories {
        for (sum, value) in total.iter_mut().rev().zip(history.iter().rev()) {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::tests::{backend, service, view};

    fn one(packets: u64, bytes: u64, flows: u64) -> Status {
        let mut one = backend("web-1", "up");
        (one.packets_total, one.bytes_total, one.flows_total) = (packets, bytes, flows);
        view(vec![service("web", vec![one])])
    }

    fn now(tracker: &Tracker, view: &Status) -> Option<Rates> {
        tracker.now("web", &view.services[0].backends[0])
    }

    #[test]
    fn a_rate_takes_two_readings_and_their_times() {
        let mut tracker = Tracker::default();
        let start = Instant::now();
        let first = one(100, 1000, 5);
        tracker.take(&first, start);
        assert_eq!(now(&tracker, &first), None);
        let second = one(300, 3000, 15);
        tracker.take(&second, start + Duration::from_millis(2000));
        let expected = Rates {
            packets: 100.0,
            bits: 8000.0,
            flows: 5.0,
        };
        assert_eq!(now(&tracker, &second), Some(expected));
        // At the same moment, nothing is known.
        tracker.take(&second, start + Duration::from_millis(2000));
        assert_eq!(now(&tracker, &second), None);
        tracker.take(&second, start + Duration::from_millis(2500));
        assert_eq!(now(&tracker, &second), Some(Rates::default()));
    }

    #[test]
    fn a_counter_that_fell_gives_no_rate() {
        for fallen in [one(5, 2000, 20), one(200, 5, 20), one(200, 2000, 1)] {
            let mut tracker = Tracker::default();
            let start = Instant::now();
            tracker.take(&one(100, 1000, 10), start);
            tracker.take(&fallen, start + Duration::from_secs(1));
            assert_eq!(now(&tracker, &fallen), None);
            // From there on it goes on.
            let next = one(1000, 10_000, 30);
            tracker.take(&next, start + Duration::from_secs(2));
            assert!(now(&tracker, &next).is_some_and(|rates| rates.packets > 0.0));
        }
    }

    #[test]
    fn a_gap_is_a_gap() {
        let mut tracker = Tracker::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        tracker.take(&one(0, 0, 0), start);
        tracker.take(&one(10, 0, 0), start + second);
        tracker.miss();
        assert_eq!(now(&tracker, &one(10, 0, 0)), None);
        // Thousands of packets went by meanwhile: they are no rate of this second.
        let back = one(9000, 0, 0);
        tracker.take(&back, start + second * 30);
        assert_eq!(now(&tracker, &back), None);
        let last = one(9020, 0, 0);
        tracker.take(&last, start + second * 31);
        let history = tracker.packets("web", &last.services[0].backends[0], 60);
        assert_eq!(history, [None, Some(10.0), None, None, Some(20.0)]);
        let newest = tracker.packets("web", &last.services[0].backends[0], 2);
        assert_eq!(newest, [None, Some(20.0)]);
    }

    #[test]
    fn it_remembers_so_much_and_no_more() {
        let mut tracker = Tracker::default();
        let start = Instant::now();
        for n in 0..200 {
            tracker.take(&one(n, n, n), start + Duration::from_secs(n));
        }
        let last = one(0, 0, 0);
        let history = tracker.packets("web", &last.services[0].backends[0], 1000);
        assert_eq!(history, [Some(1.0); REMEMBERED]);
        // One that is gone is forgotten, and one of another address is another.
        let mut moved = last.clone();
        "10.9.9.9:80".clone_into(&mut moved.services[0].backends[0].address);
        tracker.take(&moved, start + Duration::from_secs(201));
        assert_eq!(tracker.backends.len(), 1);
        assert_eq!(now(&tracker, &moved), None);
    }

    #[test]
    fn sums_are_of_what_is_known() {
        let some = Rates {
            packets: 1.0,
            bits: 2.0,
            flows: 3.0,
        };
        assert_eq!(sum([None, None]), None);
        assert_eq!(
            sum([None, Some(some), Some(some)]).map(|r| r.bits),
            Some(4.0)
        );
        let histories = [vec![Some(1.0), None, Some(3.0)], vec![None, Some(4.0)]];
        assert_eq!(added(&histories), [Some(1.0), None, Some(7.0)]);
    }
}
