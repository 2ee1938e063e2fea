//! What came of the probes of many backends together: how long those took that went well, and how many did not.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus::{Histogram, HistogramOpts, core::Metric as _, proto};

use super::probe::{Failure, Success};

/// Upper bounds. A backend in the same rack answers within the first few, one on another continent within 0.25 s; a
/// probe's timeout is 1 s where the configuration says nothing else.
pub const BUCKETS_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Tally(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    took_seconds: Histogram,
    failed: AtomicU64,
    not_made: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let options = HistogramOpts::new("probes", "Probes").buckets(BUCKETS_SECONDS.to_vec());
        Self(Arc::new(Counts {
            took_seconds: Histogram::with_opts(options)
                .expect("name, help and buckets are constants, and in order"),
            failed: AtomicU64::new(0),
            not_made: AtomicU64::new(0),
        }))
    }
}

/// The same when they count together.
impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tally {}

impl Tally {
    pub(super) fn count(&self, result: &Result<Success, Failure>) {
        match result {
            Ok(success) => self.0.took_seconds.observe(success.took.as_secs_f64()),
            Err(failure) if failure.is_local() => add_one(&self.0.not_made),
            Err(_) => add_one(&self.0.failed),
        }
    }

    /// Seconds that the probes took which went well.
    #[must_use]
    pub fn took_seconds(&self) -> proto::Histogram {
        self.0.took_seconds.metric().get_histogram().clone()
    }

    #[must_use]
    pub fn successes(&self) -> u64 {
        self.0.took_seconds.get_sample_count()
    }

    #[must_use]
    pub fn failures(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Those that this host was at fault for.
    #[must_use]
    pub fn not_made(&self) -> u64 {
        self.0.not_made.load(Ordering::Relaxed)
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;

    #[test]
    fn results_are_told_apart_and_only_what_went_well_has_a_time() {
        let tally = Tally::default();
        let well = |millis| {
            Ok(Success {
                detail: "connected".to_owned(),
                took: Duration::from_millis(millis),
                note: None,
            })
        };
        tally.count(&well(3));
        tally.clone().count(&well(700));
        tally.count(&Err(Failure::Refused));
        tally.count(&Err(Failure::Local(io::Error::other("no ports"))));
        let counted = (tally.successes(), tally.failures(), tally.not_made());
        assert_eq!(counted, (2, 1, 1));
        let took = tally.took_seconds();
        assert!((took.get_sample_sum() - 0.703).abs() < 1e-9);
        let within = |seconds: f64| {
            let buckets = took.get_bucket();
            let bucket = buckets
                .iter()
                .find(|bucket| bucket.upper_bound() == seconds);
            bucket.expect("it has such a bucket").cumulative_count()
        };
        assert_eq!([0.002, 0.005, 0.5, 1.0].map(within), [0, 1, 1, 2]);
    }
}
