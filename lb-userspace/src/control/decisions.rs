//! How long decisions of the health checker take to reach the tables.

use std::time::Instant;

use prometheus::{Histogram, HistogramOpts};

use super::Handle;

/// Upper bounds. A backend that goes down is to leave the rings within 50 ms of the decision.
const BUCKETS_SECONDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// Decisions on their way, and how long those took that have arrived.
pub(super) struct Decisions {
    under_way: Vec<Instant>,
    took_seconds: Histogram,
}

impl Default for Decisions {
    fn default() -> Self {
        let options =
            HistogramOpts::new("decisions", "Decisions").buckets(BUCKETS_SECONDS.to_vec());
        Self {
            under_way: Vec::new(),
            took_seconds: Histogram::with_opts(options)
                .expect("name, help and buckets are constants, and in order"),
        }
    }
}

impl Decisions {
    /// One was made at this time.
    pub(super) fn made(&mut self, at: Instant) {
        self.under_way.push(at);
    }

    /// The tables hold all that are under way.
    pub(super) fn written(&mut self) {
        for made in self.under_way.drain(..) {
            self.took_seconds.observe(made.elapsed().as_secs_f64());
        }
    }

    /// Those under way are not to be counted.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
    }

    pub(super) fn took_seconds(&self) -> Histogram {
        self.took_seconds.clone()
    }
}

impl Handle {
    /// Seconds from each decision of the health checker until the tables held it. A decision is in
    /// it before an answer of [`Handle::status`] shows it.
    #[must_use]
    pub fn decision_to_tables(&self) -> &Histogram {
        &self.decision_to_tables
    }
}
