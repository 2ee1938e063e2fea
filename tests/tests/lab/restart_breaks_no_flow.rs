//! The daemon may be killed, stopped and started again under load: packets keep flowing, flows,
//! counters and health states survive.

use std::time::Duration;

use lb_tests::lab::{IdleConnections, Lab, Load, URL4, URL6, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn killed_under_load() {
    let lab = Lab::routed("kill9").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 100);
    let mut idle6 = IdleConnections::open(lab.client(), URL6, 100);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    for _ in 0..3 {
        let before = flows_total(&divvy.status());
        divvy.kill9();
        load.wait_for(200);
        divvy.start_again();
        load.wait_for(200);
        let after = flows_total(&divvy.status());
        assert!(
            after >= before + 400,
            "counters went from {before} to {after}"
        );
    }
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert_eq!(idle6.broken(), Vec::<String>::new());
}

#[test]
fn a_backend_that_was_down_is_not_tried_after_a_restart() {
    let lab = Lab::routed("adopt").backends(2).start();
    // Slow to come up, so that a restart that forgot would show.
    let config = (lab.config()).health_check(
        "{ type: http, path: /healthz, interval: 200ms, timeout: 200ms, rise: 50, fall: 2 }",
    );
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    lab.backend("web-1").set_healthy(false);
    divvy.wait_for_state("web/web-1", "down");
    let since = divvy.backend("web/web-2")["since"].clone();
    divvy.kill9();
    lab.backend("web-1").set_healthy(true);
    divvy.start_again();
    // The state before counts: one success is not fifty, and the other never went down.
    assert_eq!(divvy.backend("web/web-1")["state"], "down");
    assert_eq!(divvy.backend("web/web-2")["state"], "up");
    assert_eq!(divvy.backend("web/web-2")["since"], since);
    let report = lab.client().get_many(50, URL4);
    assert_eq!(report.answered_by("web-2"), 50, "{report}");
}

#[test]
fn stopped_with_sigterm_packets_keep_flowing() {
    let lab = Lab::routed("sigterm").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 20);
    assert!(divvy.terminate().success());
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert_eq!(lab.client().get_many(50, URL4).failed().len(), 0);
    let output = divvy.cli(&["status"]);
    assert_eq!(output.status.code(), Some(4));

    let detached = divvy.must(&["detach"]);
    assert!(detached.contains("took the program off"), "{detached}");
    assert!(lab.client().get(URL4).is_err(), "nobody has the vip now");
    assert!(!divvy.pins().exists());
}

#[test]
fn on_exit_detach_takes_everything_away() {
    let lab = Lab::routed("on_exit").backends(1).start();
    let divvy = lab.divvy(&lab.config().with("on_exit: detach"));
    divvy.wait_for_all_up();
    assert_eq!(lab.client().get_many(5, URL4).failed().len(), 0);
    assert!(divvy.terminate().success());
    assert!(lab.client().get(URL4).is_err(), "nobody has the vip now");
    assert!(!divvy.pins().exists());
}

#[test]
fn a_changed_file_is_taken_up_by_the_next_daemon() {
    let mut lab = Lab::routed("edited").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 60);
    divvy.kill9();
    lab.add_backend();
    // In another order, without one and with a new one.
    divvy.write_config(&lab.config().without("web-1").yaml());
    divvy.start_again();
    divvy.wait_for_state("web/web-3", "up");
    wait_until("the new backend gets requests", SOON, || {
        lab.client().get_many(20, URL4).answered_by("web-3") > 0
    });
    let broken = idle.broken();
    assert_eq!(broken.len(), idle.to_backend("web-1"), "{broken:?}");
}

fn flows_total(status: &serde_json::Value) -> u64 {
    let backends = status["services"][0]["backends"].as_array();
    (backends.into_iter().flatten())
        .filter_map(|backend| backend["flows_total"].as_u64())
        .sum()
}
