//! A backend is added under load, by editing the file.

use std::time::Instant;

use lb_tests::lab::{Divvy, Lab, Load, URL4};

use crate::{
    config,
    stage::{Stage, milliseconds},
};

pub(crate) fn show(stage: &mut Stage, lab: &mut Lab, divvy: &Divvy) {
    stage.heading("A backend is added under load");
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);

    let old = config(lab).yaml();
    let name = lab.add_backend().name().to_owned();
    let config = config(lab);
    let new = config.yaml();
    let added: Vec<String> = new
        .lines()
        .filter(|line| !old.contains(line))
        .map(|line| format!("+ {line}"))
        .collect();
    stage.done("400 requests a second; these lines change in divvy.yaml, then `divvy reload`");
    stage.text("divvy.yaml", &added.join("\n"));

    let edited = Instant::now();
    divvy.apply(&config);
    divvy.wait_for_state(&format!("web/{name}"), "up");
    let joined = Instant::now();
    load.wait_for(800);
    let report = load.stop();

    let after = report.since(joined);
    stage.figure("from reload until it is up", &milliseconds(joined - edited));
    stage.figure(
        "requests, from before to after",
        &report.requests.len().to_string(),
    );
    stage.figure("of them failed", &report.failed().len().to_string());
    stage.chart(&after.by_backend());
    stage.claim(report.failed().is_empty(), "no request failed");
    let share = after.answered_by(&name) * 100 / after.answered().max(1);
    stage.claim(
        (15..=35).contains(&share),
        &format!("{name} gets its share: {share} % of the requests since"),
    );
}
