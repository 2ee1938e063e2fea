//! How much comes a second: from two looks at counters.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Counters of a backend or a service: flows, packets, bytes.
pub(super) type Totals = [u64; 3];

/// What counters were at the last two looks.
#[derive(Default)]
pub(super) struct Rates {
    at: Option<Instant>,
    now: HashMap<String, Totals>,
    before: HashMap<String, Totals>,
    /// Between the two.
    passed: Option<Duration>,
}

impl Rates {
    /// Another look begins.
    pub(super) fn look(&mut self, at: Instant) {
        self.before = std::mem::take(&mut self.now);
        self.passed = (self.at.replace(at)).map(|before| at.duration_since(before));
    }

    /// A second's share of what came since the last look; `None` for what was not there then.
    pub(super) fn of(&mut self, key: &str, totals: Totals) -> Option<[f64; 3]> {
        self.now.insert(key.to_owned(), totals);
        let seconds = self.passed?.as_secs_f64().max(0.001);
        let before = self.before.get(key)?;
        Some([0, 1, 2].map(|n| rounded(totals[n].saturating_sub(before[n]) as f64 / seconds)))
    }
}

/// To three digits, so that steady traffic makes no news each second.
fn rounded(value: f64) -> f64 {
    if value < 0.005 {
        return 0.0;
    }
    let digits = value.log10().floor() as i32 - 2;
    // Divided by a whole power, so that no more digits come of it.
    if digits >= 0 {
        let unit = 10_f64.powi(digits);
        (value / unit).round() * unit
    } else {
        let parts = 10_f64.powi(-digits);
        (value * parts).round() / parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_between_two_looks() {
        let begun = Instant::now();
        let mut rates = Rates::default();
        rates.look(begun);
        assert_eq!(rates.of("web", [10, 100, 1_000]), None);
        rates.look(begun + Duration::from_secs(2));
        assert_eq!(
            rates.of("web", [30, 100, 1_246_800]),
            Some([10.0, 0.0, 623_000.0])
        );
        assert_eq!(rates.of("api", [1, 1, 1]), None);
        rates.look(begun + Duration::from_secs(3));
        // Counters that began anew.
        assert_eq!(rates.of("web", [0, 101, 1_246_800]), Some([0.0, 1.0, 0.0]));
        assert_eq!(rates.of("api", [2, 1, 1]), Some([1.0, 0.0, 0.0]));
    }

    #[test]
    fn three_digits_are_told() {
        for (value, told) in [
            (0.0, 0.0),
            (0.001, 0.0),
            (0.12345, 0.123),
            (9.996, 10.0),
            (1_234.0, 1_230.0),
            (999_500.0, 1_000_000.0),
            (12_345_678.0, 12_300_000.0),
        ] {
            assert_eq!(rounded(value), told, "{value}");
        }
    }
}
