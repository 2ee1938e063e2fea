//! A backend that dies is out within its health check's time, harms nobody else's connections,
//! and comes back. The tables are written before `status` shows it, so that what is asked here of
//! "once it is shown as down" needs no time to pass.

use std::time::{Duration, Instant};

use lb_tests::lab::{IdleConnections, Lab, Load, METRICS, URL4, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_killed_server_is_out_after_its_health_check() {
    let lab = Lab::routed("failover").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut others = IdleConnections::open(lab.client(), URL4, 60);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    lab.backend("web-2").kill();
    divvy.wait_for_state("web/web-2", "down");
    let down = Instant::now();
    load.wait_for(400);
    let report = load.stop();
    let after = report.since(down);
    assert!(after.answered() > 0, "{report}");
    assert_eq!(after.failed().len(), 0, "{report}");
    assert_eq!(after.answered_by("web-2"), 0, "{report}");

    // Only the dead server's connections are gone.
    let broken = others.broken();
    assert_eq!(broken.len(), others.to_backend("web-2"), "{broken:?}");
    let reason = divvy.backend("web/web-2")["reason"].clone();
    assert!(
        reason
            .as_str()
            .is_some_and(|reason| reason.contains("connection refused")),
        "{reason}"
    );

    lab.backend("web-2").start();
    divvy.wait_for_state("web/web-2", "up");
    wait_until("the backend gets requests again", SOON, || {
        lab.client().get_many(30, URL4).answered_by("web-2") > 0
    });
}

#[test]
fn once_it_is_shown_as_down_no_new_connection_reaches_it() {
    let lab = Lab::routed("shown").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    // Ill by its health check, but serving: whoever reached it would be answered.
    lab.backend("web-2").set_healthy(false);
    let shown = divvy.wait_for_state("web/web-2", "down");
    let down = Instant::now();
    load.wait_for(400);
    let flows = divvy.backend("web/web-2")["flows_total"].clone();
    let report = load.stop();
    // Counted by the program itself, from the very answer that first said "down".
    assert!(shown["flows_total"].as_u64() > Some(0), "{shown}");
    assert_eq!(flows, shown["flows_total"]);
    let after = report.since(down);
    assert!(after.answered() > 0, "{report}");
    assert_eq!(after.failed().len(), 0, "{report}");
    assert_eq!(after.answered_by("web-2"), 0, "{report}");
}

#[test]
fn each_decision_is_timed_once() {
    const COUNT: &str = "divvy_decision_to_tables_seconds_count";
    let lab = Lab::routed("timed").backends(2).start();
    let divvy = lab.divvy(&lab.config().with(METRICS));
    divvy.wait_for_all_up();
    // How the first tables came about is not counted.
    assert_eq!(divvy.metrics()[COUNT], 0.0);
    let mut decisions = 0.0;
    for state in ["down", "up", "down"] {
        match state {
            "up" => lab.backend("web-2").start(),
            _ => lab.backend("web-2").kill(),
        }
        // The same server over IPv4 and IPv6: two backends, a decision each.
        for service in ["web", "web6"] {
            divvy.wait_for_state(&format!("{service}/web-2"), state);
        }
        decisions += 2.0;
        assert_eq!(divvy.metrics()[COUNT], decisions, "{state}");
    }
}

#[test]
fn connections_to_a_silent_backend_are_reset() {
    let lab = Lab::routed("silent").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut connections: Vec<_> = (0..40)
        .map(|_| lab.client().connect(URL4).expect("connected"))
        .map(|mut connection| {
            let backend = connection.get("/").expect("answered").backend;
            (backend, connection)
        })
        .collect();
    lab.backend("web-1").unplug();
    divvy.wait_for_state("web/web-1", "down");
    for (backend, connection) in &mut connections {
        match connection.get("/") {
            Ok(response) => assert_eq!(response.backend, "web-2"),
            Err(error) => {
                assert_eq!(backend, "web-1", "{error}");
                // At once, by a RST, and not by a timeout of the client's.
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
        }
    }
    let resets = divvy.reason("backend_down");
    assert!(resets >= 1, "{resets}");
}

#[test]
fn on_down_keep_lets_connections_run() {
    let lab = Lab::routed("keep").backends(2).start();
    let divvy = lab.divvy(&lab.config().with_default("on_down: keep"));
    divvy.wait_for_all_up();
    let mut connections = IdleConnections::open(lab.client(), URL4, 20);
    // Ill by its health check, but serving.
    lab.backend("web-1").set_healthy(false);
    divvy.wait_for_state("web/web-1", "down");
    assert_eq!(connections.broken(), Vec::<String>::new());
    assert_eq!(lab.client().get_many(50, URL4).answered_by("web-1"), 0);
}

#[test]
fn a_service_without_a_backend_refuses_at_once() {
    let lab = Lab::routed("none_up").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    lab.backend("web-1").kill();
    divvy.wait_for_state("web/web-1", "down");
    let error = lab.client().get(URL4).expect_err("no backend is up");
    // By a RST, and not by a timeout of the client's.
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(divvy.reason("no_backend") >= 1);
}
