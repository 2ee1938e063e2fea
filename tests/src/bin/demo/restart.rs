//! The daemon is killed under load and started again.

use std::time::{Duration, Instant};

use lb_tests::lab::{Divvy, IdleConnections, Lab, Load, URL4};

use crate::stage::{Stage, milliseconds};

const OPEN: usize = 100;

pub(crate) fn show(stage: &mut Stage, lab: &Lab, divvy: &Divvy) {
    stage.heading("The daemon is killed under load, and started again");
    stage.done(&format!(
        "400 requests a second and {OPEN} open connections; then SIGKILL to divvy"
    ));
    let mut open = IdleConnections::open(lab.client(), URL4, OPEN);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);

    let killed = Instant::now();
    divvy.kill9();
    load.wait_for(400);
    let lost_while_dead = open.broken().len();
    let started = Instant::now();
    divvy.start_again();
    let answers = Instant::now();
    load.wait_for(400);
    let report = load.stop();
    let lost_after = open.broken().len();

    let dead = report.since(killed).until(started);
    let after = report.since(started);
    stage.figure("time without a daemon", &milliseconds(started - killed));
    stage.figure("requests in that time", &dead.requests.len().to_string());
    stage.figure(
        "from start until it answers",
        &milliseconds(answers - started),
    );
    stage.figure(
        "requests since the start",
        &after.requests.len().to_string(),
    );
    stage.claim(
        dead.failed().is_empty() && dead.answered() > 100,
        &format!("without a daemon, {} requests failed", dead.failed().len()),
    );
    stage.claim(
        report.failed().is_empty(),
        &format!("over it all, {} requests failed", report.failed().len()),
    );
    stage.claim(
        lost_while_dead == 0 && lost_after == 0,
        &format!("all {OPEN} open connections still work"),
    );
    stage.claim(
        answers - started < Duration::from_secs(2),
        "the daemon adopts what runs, and answers within 2 s",
    );
}
