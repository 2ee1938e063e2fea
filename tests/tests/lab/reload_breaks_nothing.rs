//! Backends come and go by editing the file, under load and beside idle connections: nobody else's
//! connection breaks.

use lb_tests::lab::{IdleConnections, Lab, Load, URL4, URL6};
use nix::sys::signal::Signal;

#[test]
fn adding_a_backend_fails_no_request() {
    let mut lab = Lab::routed("add").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 100);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    lab.add_backend();
    divvy.apply(&lab.config());
    divvy.wait_for_state("web/web-3", "up");
    load.wait_for(400);
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.answered_by("web-3") > 50, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn removing_a_backend_breaks_only_its_own() {
    let lab = Lab::routed("remove").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL6, 90);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    divvy.apply(&lab.config().without("web-1"));
    load.wait_for(200);
    let removed = std::time::Instant::now();
    load.wait_for(200);
    let report = load.stop();
    let after = report.since(removed);
    assert_eq!(after.failed().len(), 0, "{report}");
    assert_eq!(after.answered_by("web-1"), 0, "{report}");
    // Each request opens a connection of its own, so at most those under way at that moment break.
    assert!(report.failed().len() <= 8, "{report}");
    let broken = idle.broken();
    assert_eq!(broken.len(), idle.to_backend("web-1"), "{broken:?}");
}

#[test]
fn sighup_reloads_too() {
    let lab = Lab::routed("sighup").backends(2).start();
    let divvy = lab.divvy(&lab.config().without("web-2"));
    divvy.wait_for_all_up();
    divvy.write_config(&lab.config().yaml());
    divvy.signal(Signal::SIGHUP);
    divvy.wait_for_state("web/web-2", "up");
}

#[test]
fn a_weight_changed_under_load_fails_no_request() {
    let lab = Lab::routed("reweigh").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    for weight in [5, 2, 0, 1] {
        divvy.apply(&lab.config().weight("web-1", weight));
        load.wait_for(100);
    }
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
}

#[test]
fn changed_source_ports_break_no_connection() {
    let lab = Lab::routed("snat_ports").backends(2).start();
    let config = |ports: &str| lab.config().with(&format!("snat: {{ ports: {ports} }}"));
    let divvy = lab.divvy(&config("2000-2999"));
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 50);
    divvy.apply(&config("5000-5999"));
    assert_eq!(idle.broken(), Vec::<String>::new());
    let report = lab.client().get_many(20, URL4);
    assert_eq!(report.failed().len(), 0, "{report}");
    let flows = divvy.flows();
    let used = |range: std::ops::Range<u16>| {
        let list = flows["flows"].as_array().expect("a list of flows");
        (list.iter())
            .filter_map(|flow| flow["source"].as_str()?.rsplit(':').next()?.parse().ok())
            .filter(|port| range.contains(port))
            .count()
    };
    assert_eq!((used(2000..3000), used(5000..6000)), (50, 20));
}
