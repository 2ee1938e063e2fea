use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn rules(rise: u32, fall: u32) -> Rules {
    Rules {
        rise,
        fall,
        damping: None,
    }
}

/// A backend in `state` with `against` contrary results behind it.
fn health(state: State, against: u32, rise: u32, fall: u32) -> Health {
    let initial = match state {
        State::Unknown => Initial::Unknown,
        State::Up => Initial::Up { since: at(0) },
        State::Down => Initial::Down { since: at(0) },
    };
    Health {
        against,
        ..Health::new(rules(rise, fall), initial, at(0))
    }
}

#[test]
fn every_state_and_input_leads_where_the_table_says() {
    use State::{Down, Unknown, Up};
    let (good, bad) = (true, false);
    // With rise 2 and fall 3: state, contrary results so far, input -> state, contrary results.
    let table = [
        (Unknown, 0, good, Up, 0),
        (Unknown, 0, bad, Down, 0),
        (Up, 0, good, Up, 0),
        (Up, 1, good, Up, 0),
        (Up, 2, good, Up, 0),
        (Up, 0, bad, Up, 1),
        (Up, 1, bad, Up, 2),
        (Up, 2, bad, Down, 0),
        (Down, 0, bad, Down, 0),
        (Down, 1, bad, Down, 0),
        (Down, 0, good, Down, 1),
        (Down, 1, good, Up, 0),
    ];
    for (from, against, input, to, against_after) in table {
        let mut health = health(from, against, 2, 3);
        let outcome = if input {
            Ok("HTTP 200")
        } else {
            Err("connection refused")
        };
        let transition = health.observe(outcome, at(9));

        let row = format!("{from} with {against} against, then {outcome:?}");
        assert_eq!(
            (health.state(), health.against),
            (to, against_after),
            "{row}"
        );
        assert_eq!(health.is_up(), to == Up, "{row}");
        let words = outcome.unwrap_or_else(|words| words);
        if from == to {
            assert_eq!(transition, None, "{row}");
            assert_eq!(health.since(), at(0), "{row}");
        } else {
            let reason = words.to_owned();
            assert_eq!(
                transition,
                Some(Transition {
                    from,
                    to,
                    reason,
                    at: at(9)
                }),
                "{row}"
            );
            assert_eq!(health.since(), at(9), "{row}");
        }
        assert!(
            health.reason().starts_with(words),
            "{row}: {}",
            health.reason()
        );
    }
}

#[test]
fn the_reason_says_how_far_a_change_has_come() {
    let mut health = health(State::Up, 0, 2, 3);
    assert_eq!(health.reason(), "adopted from the running datapath");
    health.observe(Err("timed out after 1s"), at(1));
    assert_eq!(health.reason(), "timed out after 1s (1 of 3 to go down)");
    health.observe(Ok("connected"), at(2));
    assert_eq!(health.reason(), "connected");
}

#[test]
fn before_the_first_probe_it_counts_as_down_and_says_why() {
    let health = health(State::Unknown, 0, 2, 3);
    assert!(!health.is_up());
    assert_eq!(health.reason(), "not probed yet");
}

#[test]
fn lower_thresholds_apply_from_the_next_result_on() {
    let mut health = health(State::Up, 2, 2, 5);
    health.set_rules(rules(2, 2));
    assert!(health.is_up());
    assert!(health.observe(Err("connection refused"), at(1)).is_some());
}

#[test]
fn thresholds_of_zero_count_as_one() {
    let mut health = health(State::Up, 0, 0, 0);
    assert!(health.observe(Err("connection refused"), at(1)).is_some());
    assert!(health.observe(Ok("connected"), at(2)).is_some());
}

#[test]
fn a_backend_without_a_check_is_up() {
    let mut health = health(State::Down, 1, 2, 3);
    let transition = health.trust(at(4)).unwrap();
    assert_eq!((transition.from, transition.to), (State::Down, State::Up));
    assert_eq!(
        (health.reason(), health.since()),
        ("no health check", at(4))
    );
    assert_eq!(health.trust(at(5)), None);
    assert_eq!(health.since(), at(4));
}

/// The specification, from the whole history: the newest run of `fall` failures or `rise`
/// successes decides; without one, the first result.
fn specified_up(history: &[bool], rise: usize, fall: usize) -> bool {
    let ends_in = |end: usize, value: bool, length: usize| {
        end >= length
            && history[end - length..end]
                .iter()
                .all(|&result| result == value)
    };
    for end in (1..=history.len()).rev() {
        if ends_in(end, true, rise) {
            return true;
        }
        if ends_in(end, false, fall) {
            return false;
        }
    }
    history.first().copied().unwrap_or(false)
}

proptest! {
    #[test]
    fn it_is_down_iff_the_newest_decisive_run_says_so(
        history in prop::collection::vec(any::<bool>(), 0..40),
        rise in 1u32..5,
        fall in 1u32..5,
    ) {
        let mut health = health(State::Unknown, 0, rise, fall);
        let mut up = false;
        for (second, &good) in (1u64..).zip(&history) {
            let transition = health.observe(if good { Ok("good") } else { Err("bad") }, at(second));
            let specified = specified_up(&history[..second as usize], rise as usize, fall as usize);
            prop_assert_eq!(health.is_up(), specified);
            // A transition is reported exactly when the state changes (the first one always).
            prop_assert_eq!(transition.is_some(), second == 1 || health.is_up() != up);
            up = health.is_up();
        }
    }
}

/// Of a backend whose first result or two in a row decide; four changes within a minute hold it down
/// for five.
fn damped(rise: u32) -> Health {
    let damping = Damping {
        changes: 4,
        within: Duration::from_secs(60),
        hold: Duration::from_secs(300),
    };
    let rules = Rules {
        damping: Some(damping),
        ..rules(rise, 1)
    };
    Health::new(rules, Initial::Up { since: at(0) }, at(0))
}

#[test]
fn who_changes_too_often_is_held_down() {
    let mut health = damped(1);
    for (second, good, changes) in [
        (10, false, true),
        (11, true, true),
        (12, false, true),
        (13, true, true),
        // The fifth change is the first to down after four.
        (14, false, true),
        (15, true, false),
        (16, false, false),
        (313, true, false),
    ] {
        let outcome = if good {
            Ok("connected")
        } else {
            Err("connection refused")
        };
        let change = health.observe(outcome, at(second));
        assert_eq!(change.is_some(), changes, "at {second}");
        assert!(second < 14 || !health.is_up(), "at {second}");
        if let Some(change) = change
            && second == 14
        {
            assert_eq!(
                change.reason,
                "connection refused; held down until 1970-01-01T00:05:14Z, because it changed too \
                 often"
            );
        }
    }
    assert_eq!(
        health.reason(),
        "connected, but held down until 1970-01-01T00:05:14Z, because it changed too often"
    );
    assert_eq!(health.since(), at(14));
    assert!(!health.is_changing(at(313)), "nothing hurries it");
    let change = health
        .observe(Ok("connected"), at(314))
        .expect("it is over");
    assert_eq!((change.to, health.reason()), (State::Up, "connected"));
    // And all is forgotten.
    assert!(health.observe(Err("connection refused"), at(315)).is_some());
    assert!(health.observe(Ok("connected"), at(316)).is_some());
}

#[test]
fn slow_changes_are_nothing_to_hold_down_for() {
    let mut health = damped(1);
    for round in 0..50 {
        let second = 100 + 21 * round;
        let outcome = if round % 2 == 1 {
            Ok("connected")
        } else {
            Err("timed out")
        };
        assert!(
            health.observe(outcome, at(second)).is_some(),
            "round {round}"
        );
    }
}

#[test]
fn results_while_held_count_when_it_is_over() {
    let mut health = damped(2);
    for second in [10, 11, 12, 20, 21, 22, 30] {
        let good = second % 10 > 0;
        health.observe(
            if good {
                Ok("connected")
            } else {
                Err("timed out")
            },
            at(second),
        );
    }
    assert!(
        health.reason().contains("held down until"),
        "{}",
        health.reason()
    );
    health.observe(Ok("connected"), at(328));
    health.observe(Ok("connected"), at(329));
    assert!(!health.is_up());
    assert!(
        health.observe(Ok("connected"), at(331)).is_some(),
        "the second of two"
    );
    // A failure in between would have counted as well.
    assert!(health.observe(Err("timed out"), at(332)).is_some());
    assert!(
        health.observe(Ok("connected"), at(333)).is_none(),
        "the first of two"
    );
}

#[test]
fn without_damping_nobody_is_held_any_more() {
    let mut health = damped(1);
    for second in 10..15 {
        let outcome = if second % 2 == 1 {
            Ok("connected")
        } else {
            Err("timed out")
        };
        health.observe(outcome, at(second));
    }
    assert!(health.observe(Ok("connected"), at(15)).is_none());
    health.set_rules(rules(1, 1));
    assert!(health.observe(Ok("connected"), at(16)).is_some());
}

#[test]
fn a_clock_that_is_set_back_holds_nobody_for_long() {
    let mut health = damped(1);
    for second in 100_010..100_015 {
        let outcome = if second % 2 == 1 {
            Ok("connected")
        } else {
            Err("timed out")
        };
        health.observe(outcome, at(second));
    }
    assert!(health.observe(Ok("connected"), at(100_015)).is_none());
    assert!(health.observe(Ok("connected"), at(50)).is_some());
}

#[test]
fn it_is_changing_while_results_contradict_it() {
    let mut health = health(State::Up, 0, 2, 3);
    assert!(!health.is_changing(at(0)));
    health.observe(Err("timed out"), at(1));
    assert!(health.is_changing(at(1)));
    health.observe(Ok("connected"), at(2));
    assert!(!health.is_changing(at(2)));
}

proptest! {
    #[test]
    fn a_damped_backend_changes_at_most_so_often(
        history in prop::collection::vec((0u64..20, any::<bool>()), 0..300),
    ) {
        let mut health = damped(1);
        let mut now = 0;
        let mut changes: Vec<u64> = Vec::new();
        for (pause, good) in history {
            now += pause;
            let outcome = if good { Ok("good") } else { Err("bad") };
            if health.observe(outcome, at(now)).is_some() {
                changes.push(now);
            }
        }
        // Five, should the fourth be to up; then five minutes pass.
        for window in changes.windows(6) {
            prop_assert!(window[5] - window[0] > 60, "{:?}", window);
        }
    }
}
