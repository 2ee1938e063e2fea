//! A backend whose health changes all the time changes its state no more often than `rise` and `fall`
//! allow, breaks no connection of another backend, and is held down where that is configured.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use lb_tests::lab::{Divvy, IdleConnections, Lab, Load, URL4};

const INTERVAL: Duration = Duration::from_millis(100);
const RISE: u32 = 2;
const FALL: u32 = 3;
/// Requests at a time.
const CLIENTS: usize = 4;

/// How long the backend flaps: `DIVVY_FLAP_SECONDS`, or 20 s.
fn flapping_time() -> Duration {
    let seconds = env::var("DIVVY_FLAP_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("DIVVY_FLAP_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(20))
}

/// web-2 is well for half a second and ill for half a second, until this time is over.
fn flap(lab: &Lab, time: Duration) {
    let backend = lab.backend("web-2");
    let begun = Instant::now();
    while begun.elapsed() < time {
        for healthy in [false, true] {
            backend.set_healthy(healthy);
            thread::sleep(Duration::from_millis(500));
        }
    }
}

/// When web/web-2 changed, and whether to up.
fn changes(divvy: &Divvy) -> Vec<(Duration, bool)> {
    let log = divvy.log();
    let change = |line: &str| {
        let (time, rest) = line.split_once("Z ")?;
        let up = if rest.contains(" web/web-2 is up: ") {
            true
        } else if rest.contains(" web/web-2 is down: ") {
            false
        } else {
            return None;
        };
        Some((time_of_day(time), up))
    };
    log.lines().filter_map(change).collect()
}

/// Of "2026-11-29T02:16:37.520541".
fn time_of_day(text: &str) -> Duration {
    let (_, time) = text.split_once('T').expect("a date and a time");
    let mut parts = time
        .split(':')
        .map(|part| part.parse::<f64>().expect("a number"));
    let mut next = || parts.next().expect("hours, minutes and seconds");
    Duration::from_secs_f64(next() * 3600.0 + next() * 60.0 + next())
}

#[test]
fn it_changes_no_more_often_than_rise_and_fall_allow() {
    let lab = Lab::routed("flap").backends(3).start();
    let check = format!(
        "{{ type: http, path: /healthz, interval: {INTERVAL:?}, timeout: {INTERVAL:?}, \
         rise: {RISE}, fall: {FALL}, jitter: 0% }}"
    );
    let divvy = lab.divvy(&lab.config().health_check(&check));
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 60);
    let load = Load::on(URL4).clients(CLIENTS).from(lab.client());
    load.wait_for(100);
    flap(&lab, flapping_time());
    let report = load.stop();

    let changes = changes(&divvy);
    assert!(changes.len() > 4, "it flaps: {changes:?}");
    for pair in changes.windows(2) {
        let [(before, was_up), (after, is_up)] = pair else {
            continue;
        };
        assert_ne!(was_up, is_up, "each change is told once");
        let probes = if *is_up { RISE } else { FALL };
        // Half an interval for when the lines are written. Midnight makes a day of it.
        let window = INTERVAL * probes - INTERVAL / 2;
        let passed = after
            .checked_sub(*before)
            .unwrap_or(Duration::from_secs(86_400));
        assert!(
            passed >= window,
            "{passed:?} between two changes: {changes:?}"
        );
    }
    let others: Vec<String> = (idle.broken().into_iter())
        .filter(|words| !words.contains("to web-2"))
        .collect();
    assert_eq!(others, Vec::<String>::new());
    // Those that were under way to the flapping one when it went down are reset, and no others.
    let downs = changes.iter().filter(|(_, up)| !up).count();
    let failed = report.failed().len();
    assert!(failed <= downs * CLIENTS, "{failed} of {report}");
    eprintln!(
        "{} changes in {:?}; {} requests, {failed} failed",
        changes.len(),
        flapping_time(),
        report.answered()
    );
}

#[test]
fn with_damping_it_is_held_down() {
    let lab = Lab::routed("damped").backends(3).start();
    let check = format!(
        "{{ type: http, path: /healthz, interval: {INTERVAL:?}, timeout: {INTERVAL:?}, rise: 1, \
         fall: 1, damping: {{ changes: 4, within: 30s, hold: 1h }} }}"
    );
    let divvy = lab.divvy(&lab.config().health_check(&check));
    divvy.wait_for_all_up();
    flap(&lab, Duration::from_secs(6));
    let flapped = changes(&divvy);
    // One when it was found up, then five: the fourth is to up, and the next to down holds it.
    assert_eq!(flapped.len(), 6, "{flapped:?}");
    let said = divvy.backend("web/web-2");
    let reason = said["reason"].as_str().expect("words");
    assert_eq!(said["state"], "down");
    assert!(reason.contains("held down until 2"), "{reason}");
    assert!(reason.contains("because it changed too often"), "{reason}");
    assert_eq!(lab.client().get_many(60, URL4).answered_by("web-2"), 0);
    // A reload that takes damping away frees it.
    divvy.apply(&lab.config());
    divvy.wait_for_state("web/web-2", "up");
}
