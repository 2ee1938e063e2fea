//! `divvy drain` gives a backend no new connections and leaves it those it has, until
//! `drain_timeout`; over a reload and a restart of the daemon; and `divvy enable` ends it.

use std::time::{Duration, Instant};

use lb_tests::lab::{Config, Divvy, IdleConnections, Lab, Load, URL4, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn lab_with(title: &'static str, change: impl Fn(Config) -> Config) -> (Lab, Divvy) {
    let lab = Lab::routed(title).backends(2).start();
    let divvy = lab.divvy(&change(lab.config()));
    divvy.wait_for_all_up();
    (lab, divvy)
}

/// Without a probe nothing but the clock tells the daemon that time is over.
fn short(config: Config) -> Config {
    (config.health_check("{ type: none }")).with_default("drain_timeout: 2s")
}

fn long(config: Config) -> Config {
    config.with_default("drain_timeout: 1h")
}

/// Nobody is sent to `web-1` any more.
fn is_out(lab: &Lab) {
    let report = lab.client().get_many(40, URL4);
    assert_eq!(report.answered_by("web-2"), 40, "{report}");
}

/// Waits until exactly the connections to `web-1` are reset.
fn wait_for_resets(mut connections: IdleConnections) {
    let mine = connections.to_backend("web-1");
    assert!(mine > 0, "some went to web-1");
    let mut broken = Vec::new();
    wait_until("the connections of web-1 are reset", SOON, || {
        broken = connections.broken();
        broken.len() == mine
    });
    // Those to web-2 are asked along: a broken one of these would be one too many.
    assert!(
        (broken.iter()).all(|one| one.contains(" to web-1: ")),
        "{broken:?}"
    );
}

fn reason(divvy: &Divvy) -> String {
    let reason = divvy.backend("web/web-1")["reason"].clone();
    reason.as_str().unwrap_or_default().to_owned()
}

#[test]
fn under_load_no_request_fails() {
    let (lab, divvy) = lab_with("drain", long);
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    let said = divvy.must(&["drain", "web/web-1"]);
    assert!(
        said.contains("web/web-1 drains") && said.contains("reset in 1h"),
        "{said}"
    );
    assert!(!said.contains("warning"), "{said}");
    let drained = Instant::now();
    load.wait_for(200);
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(report.since(drained).answered_by("web-1"), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());

    let shown = divvy.backend("web/web-1");
    assert_eq!(shown["state"], "drain");
    assert!(reason(&divvy).starts_with("drained by the operator; its flows are reset in "));
    // The other service's backend of that name is another.
    assert_eq!(divvy.backend("web6/web-1")["state"], "up");

    // Once more: the clock runs on.
    let said = divvy.must(&["drain", "web/web-1"]);
    assert!(said.contains("drains already"), "{said}");
    assert_eq!(divvy.backend("web/web-1")["since"], shown["since"]);

    let said = divvy.must(&["enable", "web/web-1"]);
    assert!(said.contains("web/web-1 is enabled"), "{said}");
    assert_eq!(divvy.backend("web/web-1")["state"], "up");
    assert!(lab.client().get_many(40, URL4).answered_by("web-1") > 0);
    assert_eq!(idle.broken(), Vec::<String>::new());
    let said = divvy.must(&["enable", "web/web-1"]);
    assert!(said.contains("has no override"), "{said}");
}

#[test]
fn at_the_deadline_its_connections_are_reset() {
    let (lab, divvy) = lab_with("deadline", short);
    let connections = IdleConnections::open(lab.client(), URL4, 40);
    divvy.must(&["drain", "web/web-1"]);
    wait_for_resets(connections);
    assert_eq!(divvy.backend("web/web-1")["state"], "drain");
    assert_eq!(
        reason(&divvy),
        "drained by the operator; its flows are reset"
    );
    is_out(&lab);
}

#[test]
fn under_load_none_breaks_before_the_deadline_and_its_own_alone_after_it() {
    let three = |config: Config| config.with_default("drain_timeout: 3s");
    let (lab, divvy) = lab_with("drain_load", three);
    let mut connections = IdleConnections::open(lab.client(), URL4, 40);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    let begun = Instant::now();
    divvy.must(&["drain", "web/web-1"]);
    // All are asked again and again, and none of the answers comes after the time is over.
    let mut rounds = 0;
    loop {
        let broken = connections.broken();
        if begun.elapsed() >= Duration::from_secs(3) {
            break;
        }
        assert_eq!(broken, Vec::<String>::new(), "after {:?}", begun.elapsed());
        rounds += 1;
    }
    assert!(rounds > 1, "there was no time to look");
    let mut broken = Vec::new();
    wait_until("its connections are reset", SOON, || {
        broken = connections.broken();
        broken.len() == connections.to_backend("web-1")
    });
    assert!(
        (broken.iter()).all(|one| one.contains(" to web-1: ")),
        "{broken:?}"
    );
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
}

#[test]
fn on_down_keep_lets_them_run_after_it() {
    let keep = |config: Config| {
        config
            .with_default("drain_timeout: 0s")
            .with_default("on_down: keep")
    };
    let (lab, divvy) = lab_with("drain_keep", keep);
    let mut connections = IdleConnections::open(lab.client(), URL4, 40);
    divvy.must(&["drain", "web/web-1"]);
    assert!(reason(&divvy).contains("its flows run on (on_down: keep)"));
    assert_eq!(connections.broken(), Vec::<String>::new());
    is_out(&lab);
}

#[test]
fn it_outlives_the_daemon_and_reloads_but_not_the_backend() {
    let (lab, divvy) = lab_with("drain_kill", long);
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    divvy.must(&["drain", "web/web-1"]);
    let since = divvy.backend("web/web-1")["since"].clone();
    let still_drains = || {
        let shown = divvy.backend("web/web-1");
        assert_eq!(
            (&shown["state"], &shown["since"]),
            (&"drain".into(), &since)
        );
        is_out(&lab);
    };
    divvy.kill9();
    is_out(&lab);
    divvy.start_again();
    still_drains();
    assert!(divvy.terminate().success());
    divvy.start_again();
    still_drains();
    divvy.apply(&long(lab.config()).weight("web-1", 5));
    still_drains();
    assert_eq!(idle.broken(), Vec::<String>::new());

    divvy.apply(&long(lab.config()).without("web-1"));
    divvy.apply(&long(lab.config()));
    divvy.wait_for_state("web/web-1", "up");
}

#[test]
fn the_deadline_comes_after_a_restart_too() {
    let (lab, divvy) = lab_with("drain_late", short);
    let connections = IdleConnections::open(lab.client(), URL4, 40);
    divvy.must(&["drain", "web/web-1"]);
    divvy.kill9();
    divvy.start_again();
    wait_for_resets(connections);
    assert_eq!(divvy.backend("web/web-1")["state"], "drain");
}

#[test]
fn one_that_dies_meanwhile_resets_its_connections_and_drains_on_once_well() {
    let (lab, divvy) = lab_with("drain_dies", long);
    let connections = IdleConnections::open(lab.client(), URL4, 40);
    divvy.must(&["drain", "web/web-1"]);
    // Ill by its health check, but serving.
    lab.backend("web-1").set_healthy(false);
    divvy.wait_for_state("web/web-1", "down");
    wait_for_resets(connections);
    assert!(reason(&divvy).ends_with("; drained by the operator"));
    // A restarted daemon knows both.
    divvy.kill9();
    divvy.start_again();
    assert_eq!(divvy.backend("web/web-1")["state"], "down");
    lab.backend("web-1").set_healthy(true);
    divvy.wait_for_state("web/web-1", "drain");
    is_out(&lab);
}

#[test]
fn draining_the_last_backend_is_done_and_warned_of() {
    let (lab, divvy) = lab_with("drain_last", long);
    let mut idle = IdleConnections::open(lab.client(), URL4, 20);
    divvy.must(&["drain", "web/web-1"]);
    let said = divvy.must(&["drain", "web/web-2"]);
    assert!(
        said.contains("warning: no backend of web takes new flows"),
        "{said}"
    );
    let error = lab.client().get(URL4).expect_err("no backend takes it");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn a_name_that_nobody_has_is_answered_with_those_there_are() {
    let (_lab, divvy) = lab_with("drain_who", long);
    let refused = |verb: &str, place: &str, code: i32, words: &[&str]| {
        let output = divvy.cli(&[verb, place]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} is missing in {said}");
        }
    };
    for verb in ["drain", "disable", "enable"] {
        refused(
            verb,
            "wob/web-1",
            1,
            &["no service is called wob", "web, web6"],
        );
        refused(
            verb,
            "web/wob?1",
            1,
            &["web has no backend wob?1", "web-1, web-2"],
        );
        refused(verb, "web", 2, &["SERVICE/BACKEND"]);
    }
    assert!(divvy.terminate().success());
    refused("drain", "web/web-1", 4, &["no daemon answers"]);
    refused("enable", "web/web-1", 4, &["no daemon answers"]);
}
