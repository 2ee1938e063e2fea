//! A version whose tables have another layout takes over under load, and hands back again: no connection
//! breaks, counters go on, health and drains are what they were. So it is when the upgrade is killed, at
//! whatever moment, and whichever version is started next.

use std::{
    thread,
    time::{Duration, Instant},
};

use lb_tests::lab::{Backend, Divvy, IdleConnections, Lab, Load, URL4, URL6, Version};

const BOTH: [Version; 2] = [Version::SecondLayout, Version::This];

/// Starts the other version in place of one that was killed.
fn change(divvy: &Divvy, version: Version) {
    divvy.kill9();
    divvy.become_version(version);
    divvy.start_again();
}

fn flows_total(divvy: &Divvy) -> u64 {
    let status = divvy.status();
    let backends = status["services"][0]["backends"].as_array();
    (backends.into_iter().flatten())
        .filter_map(|backend| backend["flows_total"].as_u64())
        .sum()
}

#[test]
fn up_and_down_under_load() {
    let lab = Lab::routed("upgrade").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    divvy.must(&["drain", "web/web-3"]);
    let since = divvy.backend("web/web-1")["since"].clone();
    let mut idle = IdleConnections::open(lab.client(), URL4, 300);
    let mut idle6 = IdleConnections::open(lab.client(), URL6, 300);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    for round in 0..2 {
        for version in BOTH {
            let (before, new) = (flows_total(&divvy), divvy.reason("flow_new"));
            let answered = load.so_far().answered();
            change(&divvy, version);
            assert_eq!(divvy.layouts(), [version.layout()], "one is left");
            load.wait_for(200);
            assert!(load.so_far().answered() > answered);
            assert!(flows_total(&divvy) >= before + 200, "counters go on");
            assert!(divvy.reason("flow_new") >= new + 200, "reasons too");
            assert_eq!(divvy.backend("web/web-1")["since"], since);
            assert_eq!(divvy.backend("web/web-3")["state"], "drain");
            let half = |number: usize| number % 2 == round;
            assert_eq!(idle.ask(half), Vec::<String>::new(), "{version:?}");
            assert_eq!(idle6.ask(half), Vec::<String>::new(), "{version:?}");
        }
    }
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert_eq!(idle6.broken(), Vec::<String>::new());
}

/// Connections of every kind of table entry: one-way, without a change of ports, between the families, and
/// bound by affinity.
#[test]
fn in_every_mode() {
    let lab = Lab::routed("upmodes").backends(4).start();
    lab.backends().iter().for_each(Backend::hold_vips);
    let names: Vec<&str> = lab.backends().iter().map(Backend::name).collect();
    for (mode, config) in [
        ("route", lab.config().mode("route")),
        ("dsr", lab.config().mode("dsr")),
        ("nat between the families", lab.config().crossed()),
    ] {
        // Affinity too: the client's next connection goes where the last one went.
        let divvy = lab.divvy(&config.with_default("affinity: client_ip"));
        divvy.wait_for_all_up();
        let mut idle = IdleConnections::open(lab.client(), URL4, 40);
        let mut idle6 = IdleConnections::open(lab.client(), URL6, 40);
        let bound = |name: &&&str| idle.to_backend(name) == 40;
        let bound = (names.iter().find(bound)).expect("one client, one backend");
        for version in BOTH {
            // By order, so that the next one does not begin with what health checks find.
            change(&divvy, version);
            assert_eq!(idle.broken(), Vec::<String>::new(), "{mode}, {version:?}");
            assert_eq!(idle6.broken(), Vec::<String>::new(), "{mode}, {version:?}");
            let report = lab.client().get_many(20, URL4);
            assert_eq!(report.answered_by(bound), 20, "{mode}: {report}");
        }
        divvy.must(&["detach"]);
        divvy.wait_for_its_end();
    }
}

/// A SYN may meet the handover that the kill cut short and that of the next start: it is repeated after 1 s
/// and after 3 s (RFC 6298), so clients wait a little longer than that.
#[test]
fn killed_at_any_moment() {
    const STEPS: u32 = 16;
    const PATIENCE: Duration = Duration::from_secs(4);
    let lab = Lab::routed("upkill").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 500);
    let load = Load::on(URL4).patience(PATIENCE).from(lab.client());
    load.wait_for(100);
    let begun = Instant::now();
    change(&divvy, Version::SecondLayout);
    let whole = begun.elapsed();
    let mut from = Version::SecondLayout;
    for step in 1..=STEPS {
        let to = if from == Version::This {
            Version::SecondLayout
        } else {
            Version::This
        };
        divvy.kill9();
        divvy.become_version(to);
        divvy.begin_to_start();
        thread::sleep(whole * step / STEPS);
        divvy.kill9();
        // On with the upgrade, or back.
        let next = if step % 2 == 0 { to } else { from };
        divvy.become_version(next);
        divvy.start_again();
        assert_eq!(divvy.layouts(), [next.layout()], "step {step}");
        from = next;
        load.wait_for(50);
        let some = |number: usize| number % 8 == (step as usize) % 8;
        assert_eq!(idle.ask(some), Vec::<String>::new(), "step {step}");
    }
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn a_layout_that_nobody_described_is_left_alone() {
    let lab = Lab::routed("upforeign").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 20);
    divvy.kill9();
    let description = divvy.pins().join("layout");
    std::fs::remove_file(&description).expect("the layout is described there");
    divvy.become_version(Version::SecondLayout);
    let refused = divvy.run_to_its_end();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("cannot take over") && said.contains("divvy detach"),
        "{said}"
    );
    assert_eq!(divvy.layouts(), [Version::This.layout()]);
    assert_eq!(idle.broken(), Vec::<String>::new(), "it goes on");
    // The version that made it goes on too, and describes it anew.
    divvy.become_version(Version::This);
    divvy.start_again();
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert!(description.exists());
}

/// The whole takes a while even without packets: what it says of it is for the operator.
#[test]
fn it_says_what_it_did() {
    let lab = Lab::routed("upsays").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 50);
    assert!(divvy.terminate().success());
    divvy.become_version(Version::SecondLayout);
    divvy.start_again();
    let log = divvy.log();
    let line = (log.lines())
        .find(|line| line.contains("took over from layout"))
        .unwrap_or_else(|| panic!("nothing is said: {log}"));
    assert!(line.contains("100 entries of flows"), "{line}");
    assert_eq!(idle.broken(), Vec::<String>::new());
}
