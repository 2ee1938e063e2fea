//! A backend is killed under load.

use std::time::{Duration, Instant};

use lb_tests::lab::{Divvy, Lab, Load, URL4};

use crate::stage::{Stage, milliseconds};

const VICTIM: &str = "web-2";
/// From `HEALTH_CHECK`: fall × interval + timeout.
const BOUND: Duration = Duration::from_millis(2 * 200 + 200);
/// Each time from a decision until the tables hold it. A bucket counts those up to its bound.
const COUNT: &str = "divvy_decision_to_tables_seconds_count";
const SUM: &str = "divvy_decision_to_tables_seconds_sum";
const WITHIN_50_MS: &str = "divvy_decision_to_tables_seconds_bucket{le=\"0.05\"}";

pub(crate) fn show(stage: &mut Stage, lab: &Lab, divvy: &Divvy) {
    stage.heading("A backend dies under load");
    stage.done(&format!(
        "400 requests a second; then nginx on {VICTIM} is killed"
    ));
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(400);
    let metrics_before = divvy.metrics();
    let killed = Instant::now();
    lab.backend(VICTIM).kill();
    divvy.wait_for_state(&format!("web/{VICTIM}"), "down");
    let noticed = killed.elapsed();
    // Its IPv6 address is a backend too, which is probed and decided on by itself.
    divvy.wait_for_state(&format!("web6/{VICTIM}"), "down");
    let metrics = divvy.metrics();
    let grown = |name: &str| metrics[name] - metrics_before[name];
    load.wait_for(800);
    let report = load.stop();

    let before = report.until(killed);
    let last = report
        .last_failure()
        .map_or(Duration::ZERO, |request| request.ended() - killed);
    let after = report.since(killed + BOUND);
    stage.figure("divvy reports it down after", &milliseconds(noticed));
    stage.figure(
        "out of the rings after the decision (mean)",
        &format!("{:.1} ms", grown(SUM) / grown(COUNT) * 1000.0),
    );
    stage.figure("requests that failed", &report.failed().len().to_string());
    stage.figure("the last of them, after the kill", &milliseconds(last));
    stage.figure("requests after that", &after.requests.len().to_string());
    stage.claim(
        before
            .requests
            .iter()
            .all(|request| request.outcome.is_ok() || request.ended() >= killed),
        "no request failed before the kill",
    );
    stage.claim(
        grown(COUNT) >= 2.0 && grown(WITHIN_50_MS) >= grown(COUNT),
        "it left the rings of IPv4 and IPv6 within 50 ms of the decision",
    );
    stage.claim(
        last <= BOUND,
        &format!(
            "the last failure came within {} (2 probes every 200 ms, 200 ms timeout)",
            milliseconds(BOUND)
        ),
    );
    stage.claim(
        after.answered() > 400 && after.failed().is_empty() && after.answered_by(VICTIM) == 0,
        "from then on none failed, and the others answered them all",
    );

    stage.done(&format!("{VICTIM} comes back"));
    lab.backend(VICTIM).start();
    divvy.wait_for_all_up();
    let report = lab.client().get_many(300, URL4);
    stage.claim(
        report.answered_by(VICTIM) > 0 && report.failed().is_empty(),
        &format!(
            "it takes part again: {} of 300 requests",
            report.answered_by(VICTIM)
        ),
    );
}
