//! `cargo xtask demo`: real HTTP clients are balanced over real nginx servers, and every claim
//! about it is measured in this run. Exits with 1 when a claim did not hold.

#![forbid(unsafe_code)]

mod failover;
mod grow;
mod restart;
mod spread;
mod stage;

use std::{process::ExitCode, time::Instant};

use lb_tests::lab::{Config, Divvy, Lab, METRICS, VIP4, VIP6};

use stage::Stage;

/// How a backend is probed in this demo.
const HEALTH_CHECK: &str =
    "{ type: http, path: /healthz, interval: 200ms, timeout: 200ms, rise: 1, fall: 2 }";

fn main() -> ExitCode {
    let start = Instant::now();
    let mut stage = Stage::default();
    stage.line("divvy: real clients, real nginx servers and an XDP load balancer between them");
    stage.line("(all in network namespaces of this host; its own network is left alone)");

    let mut lab = Lab::routed("demo").backends(3).start();
    draw(&stage, &lab);
    let config = config(&lab);
    stage.text("divvy.yaml", &config.yaml());
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();

    spread::show(&mut stage, &lab);
    failover::show(&mut stage, &lab, &divvy);
    grow::show(&mut stage, &mut lab, &divvy);
    restart::show(&mut stage, &lab, &divvy);
    status(&mut stage, &divvy);

    stage.verdict(start.elapsed())
}

/// For the backends that the lab has by now.
fn config(lab: &Lab) -> Config {
    lab.config().with(METRICS).health_check(HEALTH_CHECK)
}

fn draw(stage: &Stage, lab: &Lab) {
    let left = [
        format!("client {} ── divvy", lab.client().v4()),
        format!("vip {VIP4}     "),
        format!("vip {VIP6}     "),
    ];
    let branches = ["─┬─", " ├─", " └─"];
    stage.line("");
    for ((left, branch), backend) in left.iter().zip(branches).zip(lab.backends()) {
        let (name, address) = (backend.name(), backend.host().v4());
        stage.line(&format!("   {left:>27} {branch} {name} {address}"));
    }
}

fn status(stage: &mut Stage, divvy: &Divvy) {
    stage.heading("What the balancer says of itself");
    let output = divvy.cli(&["status"]);
    stage.text("$ divvy status", &String::from_utf8_lossy(&output.stdout));
    stage.claim(output.status.success(), "the daemon answers");
}
