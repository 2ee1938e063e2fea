//! Slow start: a backend that came up gets its share of new flows in steps, so that caches are warm
//! and pools filled before the full load is there.

use std::time::{Duration, SystemTime};

/// Share at first, in percent of the full one.
const FIRST_PERCENT: u32 = 10;
/// Most steps from there to the full share: of 10 percent each, because each is a new ring.
const STEPS: u128 = 9;
/// Least time of a step.
const STEP: Duration = Duration::from_secs(1);

/// A backend's way from its first share to its full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// When the backend came up.
    pub begun: SystemTime,
    /// How long it takes; 0 for no time.
    pub lasts: Duration,
}

impl Ramp {
    /// Share of new flows, in percent of the full one: 10-100.
    #[must_use]
    pub fn percent(self, now: SystemTime) -> u32 {
        let steps = self.steps();
        let done = self.steps_done(now);
        if done >= steps {
            return 100;
        }
        let rest = u128::from(100 - FIRST_PERCENT);
        FIRST_PERCENT + u32::try_from(rest * done / steps).expect("less than 100")
    }

    /// When the share changes next; `None` once it is the full one.
    #[must_use]
    pub fn next_step(self, now: SystemTime) -> Option<SystemTime> {
        let steps = self.steps();
        let done = self.steps_done(now);
        if done >= steps {
            return None;
        }
        // Rounded up: at that time the step is done.
        let after_ns = (self.lasts.as_nanos() * (done + 1)).div_ceil(steps);
        let after = Duration::from_nanos(u64::try_from(after_ns).ok()?);
        self.begun.checked_add(after)
    }

    fn steps(self) -> u128 {
        (self.lasts.as_nanos() / STEP.as_nanos()).clamp(1, STEPS)
    }

    fn steps_done(self, now: SystemTime) -> u128 {
        if self.lasts.is_zero() {
            return self.steps();
        }
        // A clock that was set back: not begun yet.
        let passed = now.duration_since(self.begun).unwrap_or_default();
        (passed.as_nanos() * self.steps() / self.lasts.as_nanos()).min(self.steps())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn ramp(lasts: Duration) -> Ramp {
        Ramp {
            begun: UNIX_EPOCH + Duration::from_secs(1000),
            lasts,
        }
    }

    /// Shares from the beginning to the end, with when each begins after the first.
    fn shares(lasts: Duration) -> Vec<(Duration, u32)> {
        let ramp = ramp(lasts);
        let mut shares = vec![(Duration::ZERO, ramp.percent(ramp.begun))];
        let mut now = ramp.begun;
        while let Some(next) = ramp.next_step(now) {
            assert!(next > now, "time goes on");
            let before = next - Duration::from_nanos(1);
            assert_eq!(ramp.percent(before), shares[shares.len() - 1].1);
            now = next;
            let after = now.duration_since(ramp.begun).expect("later");
            shares.push((after, ramp.percent(now)));
        }
        shares
    }

    #[test]
    fn a_share_grows_in_ten_steps_from_a_tenth() {
        let shares = shares(Duration::from_secs(90));
        let expected: Vec<_> = (0..10)
            .map(|n| (Duration::from_secs(u64::from(n) * 10), 10 + n * 10))
            .collect();
        assert_eq!(shares, expected);
    }

    #[test]
    fn a_step_takes_a_second_at_least() {
        let seconds = |s| Duration::from_secs(s);
        assert_eq!(
            shares(seconds(3)),
            [
                (seconds(0), 10),
                (seconds(1), 40),
                (seconds(2), 70),
                (seconds(3), 100)
            ]
        );
        let half = Duration::from_millis(500);
        assert_eq!(shares(half), [(seconds(0), 10), (half, 100)]);
        assert_eq!(shares(seconds(0)), [(seconds(0), 100)]);
        for ms in [1, 999, 1001, 7777, 30_000, 3_600_000] {
            let shares = shares(Duration::from_millis(ms));
            assert_eq!(shares.last(), Some(&(Duration::from_millis(ms), 100)));
            assert!(shares.len() <= 10, "{shares:?}");
            for pair in shares.windows(2) {
                assert!(pair[1].1 >= pair[0].1 + 10, "{shares:?}");
            }
        }
    }

    #[test]
    fn before_its_beginning_it_has_the_first_share() {
        let ramp = ramp(Duration::from_secs(30));
        assert_eq!(ramp.percent(UNIX_EPOCH), 10);
        let next = ramp.next_step(UNIX_EPOCH).expect("a step is to come");
        assert!(next > ramp.begun);
    }
}
