//! When the next probe of a backend is due. Randomness comes in as a number from 0 up to 1.

use std::time::Duration;

/// Over how long the first probes of many new backends are spread.
const FIRST_SPREAD: Duration = Duration::from_millis(200);

/// How long to wait before the first probe: evenly spread, so that ten thousand backends of one
/// configuration do not all start at once, but short, because until then they are down.
#[must_use]
pub fn first_delay(interval: Duration, random: f64) -> Duration {
    interval.min(FIRST_SPREAD).mul_f64(random.clamp(0.0, 1.0))
}

/// How long from the start of one probe to the start of the next: the interval, give or take
/// `jitter_percent` (at most 100), evenly spread.
#[must_use]
pub fn next_delay(interval: Duration, jitter_percent: u8, random: f64) -> Duration {
    let jitter = f64::from(jitter_percent.min(100)) / 100.0;
    interval.mul_f64(1.0 + jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_first_probe_comes_within_200_ms_or_the_interval_if_that_is_shorter() {
        assert_eq!(first_delay(ms(2000), 0.0), ms(0));
        assert_eq!(first_delay(ms(2000), 0.5), ms(100));
        assert_eq!(first_delay(ms(2000), 1.0), ms(200));
        assert_eq!(first_delay(ms(50), 1.0), ms(50));
    }

    #[test]
    fn jitter_spreads_evenly_around_the_interval() {
        assert_eq!(next_delay(ms(1000), 10, 0.0), ms(900));
        assert_eq!(next_delay(ms(1000), 10, 0.5), ms(1000));
        assert_eq!(next_delay(ms(1000), 10, 1.0), ms(1100));
        assert_eq!(next_delay(ms(1000), 0, 0.9), ms(1000));
        assert_eq!(next_delay(ms(1000), 255, 0.0), ms(0));
    }

    proptest! {
        #[test]
        fn the_next_probe_stays_within_the_jitter(
            interval in 1u64..100_000,
            percent in 0u8..=100,
            random in 0.0..1.0f64,
        ) {
            let delay = next_delay(ms(interval), percent, random).as_secs_f64() * 1000.0;
            let reach = interval as f64 * f64::from(percent) / 100.0;
            prop_assert!((delay - interval as f64).abs() <= reach + 1e-3);
        }
    }
}
