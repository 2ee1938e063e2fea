//! `divvy drain`, `disable` and `weight` hold over reloads, restarts and a lost run directory, until
//! `divvy enable` or until the backend leaves the file.

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use lb_tests::lab::{Divvy, IdleConnections, Lab, Load, URL4, wait_until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn with_two(title: &'static str) -> (Lab, Divvy) {
    let lab = Lab::routed(title).backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    (lab, divvy)
}

/// State, weight, configured weight, and what is overridden.
fn shown(divvy: &Divvy, place: &str) -> (Value, Value, Value, Value) {
    let backend = divvy.backend(place);
    let mut overridden = backend["override"].clone();
    if let Some(fields) = overridden.as_object_mut() {
        let since = fields.remove("since").unwrap_or_default();
        assert!(since.is_string(), "{backend}");
        assert_eq!(fields.remove("uid"), Some(json!(0)), "{backend}");
    }
    let of = |key: &str| backend[key].clone();
    (
        of("state"),
        of("weight"),
        of("weight_configured"),
        overridden,
    )
}

/// The files in which overrides are kept.
fn state_files(divvy: &Divvy) -> Vec<PathBuf> {
    let entries = fs::read_dir(divvy.state_dir()).into_iter().flatten();
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_disabled_backend_gets_no_traffic_and_no_probes() {
    let (lab, divvy) = with_two("disable");
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    let said = divvy.must(&["disable", "web/web-1"]);
    assert!(said.contains("not probed, its flows are reset"), "{said}");
    load.wait_for(100);
    let disabled = std::time::Instant::now();
    load.wait_for(100);
    let report = load.stop();
    let after = report.since(disabled);
    assert_eq!(
        (after.failed().len(), after.answered_by("web-1")),
        (0, 0),
        "{report}"
    );
    let broken = idle.broken();
    assert_eq!(broken.len(), idle.to_backend("web-1"), "{broken:?}");
    assert!(
        broken.iter().all(|one| one.contains(" to web-1: ")),
        "{broken:?}"
    );

    divvy.must(&["disable", "web6/web-1"]);
    let opened = || lab.backend("web-1").host().kernel_count("TcpPassiveOpens");
    // A probe may be under way.
    sleep(Duration::from_millis(300));
    let before = opened();
    sleep(Duration::from_secs(1));
    assert_eq!(opened(), before, "it is probed every 200 ms otherwise");
    let backend = divvy.backend("web/web-1");
    assert_eq!(backend["state"], "maint");
    assert_eq!(
        backend["reason"],
        "disabled by the operator; its flows are reset"
    );
    assert_eq!(backend["existing_flows"], "reset");

    let said = divvy.must(&["disable", "web/web-1"]);
    assert!(said.contains("disabled already, since 2"), "{said}");
    // It may have died meanwhile: nobody is sent there before a probe has found it up.
    lab.backend("web-1").set_healthy(false);
    let said = divvy.must(&["enable", "web/web-1"]);
    assert!(said.contains("once it is found up"), "{said}");
    divvy.wait_for_state("web/web-1", "down");
    let report = lab.client().get_many(20, URL4);
    assert_eq!(report.answered_by("web-2"), 20, "{report}");
    lab.backend("web-1").set_healthy(true);
    divvy.wait_for_state("web/web-1", "up");
}

#[test]
fn with_on_down_keep_its_connections_run_on() {
    let lab = Lab::routed("disable_keep").backends(2).start();
    let divvy = lab.divvy(&lab.config().with_default("on_down: keep"));
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let said = divvy.must(&["disable", "web/web-1"]);
    assert!(said.contains("its flows run on (on_down: keep)"), "{said}");
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert_eq!(divvy.backend("web/web-1")["existing_flows"], "forwarded");
}

#[test]
fn a_weight_shifts_new_connections_and_breaks_none() {
    let (lab, divvy) = with_two("weigh");
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let said = divvy.must(&["weight", "web/web-1", "0"]);
    assert!(said.contains("has weight 0, 1 in the file"), "{said}");
    let report = lab.client().get_many(30, URL4);
    assert_eq!(report.answered_by("web-2"), 30, "{report}");
    divvy.must(&["weight", "web/web-1", "9"]);
    let report = lab.client().get_many(200, URL4);
    assert!(report.answered_by("web-1") > 150, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
    let nine = json!({"state": null, "weight": 9});
    assert_eq!(
        shown(&divvy, "web/web-1"),
        (json!("up"), json!(9), json!(1), nine)
    );
    let table = divvy.must(&["status", "web"]);
    assert!(
        table.contains("OVERRIDE") && table.contains("weight 9 (file: 1)"),
        "{table}"
    );
    // A changed file counts once the override is gone.
    divvy.apply(&lab.config().weight("web-1", 3));
    assert_eq!(divvy.backend("web/web-1")["weight"], 9);
    let said = divvy.must(&["weight", "web/web-1", "9"]);
    assert!(said.contains("has weight 9 already"), "{said}");
    let said = divvy.must(&["enable", "web/web-1"]);
    assert!(
        said.contains("of weight 3 again: it takes new flows"),
        "{said}"
    );
    let backend = divvy.backend("web/web-1");
    assert_eq!(
        (&backend["weight"], &backend["override"]),
        (&json!(3), &Value::Null)
    );
    assert!(!divvy.must(&["status", "web"]).contains("OVERRIDE"));
    for (weight, code) in [("1001", 2), ("-1", 2), ("x", 2)] {
        let output = divvy.cli(&["weight", "web/web-1", weight]);
        assert_eq!(output.status.code(), Some(code), "{weight}: {output:?}");
    }
}

#[test]
fn over_restarts_reloads_and_a_lost_run_directory() {
    let (lab, divvy) = with_two("kept");
    divvy.must(&["disable", "web/web-1"]);
    divvy.must(&["weight", "web/web-1", "5"]);
    divvy.must(&["drain", "web6/web-2"]);
    divvy.must(&["weight", "web/web-2", "0"]);
    let held = |divvy: &Divvy| {
        let places = ["web/web-1", "web/web-2", "web6/web-1", "web6/web-2"];
        places.map(|place| {
            (
                shown(divvy, place),
                divvy.backend(place)["override"].clone(),
            )
        })
    };
    let before = held(&divvy);
    assert_eq!(before[0].0.0, "maint");
    assert_eq!(before[3].0.0, "drain");
    divvy.kill9();
    divvy.start_again();
    assert_eq!(held(&divvy), before, "after a crash");
    divvy.apply(&lab.config().with_default("drain_timeout: 1h"));
    assert_eq!(held(&divvy), before, "after a reload");
    assert!(divvy.terminate().success());
    divvy.must(&["detach"]);
    fs::remove_dir_all(divvy.run_dir()).expect("removed");
    divvy.start_again();
    wait_until("probes have answered", SOON, || held(&divvy) == before);
    assert!(
        divvy
            .log()
            .contains("web/web-1 keeps its override: disabled since 2")
    );
    let kept = state_files(&divvy);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let text = fs::read_to_string(&kept[0]).expect("read");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["version"], 1);
    assert_eq!(document["overrides"][0]["address"], "10.0.1.2:80");

    // Edited while no daemon runs; what comes back has nothing left of it.
    divvy.kill9();
    divvy.write_config(&lab.config().without("web-1").yaml());
    divvy.start_again();
    assert!(
        divvy
            .log()
            .contains("web/web-1 (10.0.1.2:80) is no longer in the configuration")
    );
    divvy.apply(&lab.config());
    divvy.wait_for_state("web/web-1", "up");
    assert_eq!(divvy.backend("web/web-1")["override"], Value::Null);
    // The same by a reload, and for the daemon after it.
    divvy.apply(&lab.config().without("web-2"));
    divvy.kill9();
    divvy.write_config(&lab.config().yaml());
    divvy.start_again();
    divvy.wait_for_all_up();
    assert_eq!(divvy.backend("web/web-2")["override"], Value::Null);
}

#[test]
fn a_file_that_cannot_be_used_is_moved_aside_and_the_tables_go_on() {
    let (_lab, divvy) = with_two("spoilt");
    divvy.must(&["drain", "web/web-1"]);
    divvy.must(&["disable", "web/web-2"]);
    divvy.must(&["weight", "web6/web-1", "7"]);
    divvy.kill9();
    let path = state_files(&divvy).remove(0);
    let spoilt = fs::read(&path).expect("read")[..100].to_vec();
    fs::write(&path, &spoilt).expect("written");
    divvy.start_again();
    assert_eq!(divvy.backend("web/web-1")["state"], "drain");
    assert_eq!(divvy.backend("web/web-2")["state"], "maint");
    assert_eq!(
        divvy.backend("web6/web-1")["weight"],
        1,
        "only the file knew"
    );
    let log = divvy.log();
    for words in [
        "is no state of this version",
        "weights are those of the configuration",
        "moved to",
    ] {
        assert!(log.contains(words), "{words} is missing in\n{log}");
    }
    let files = state_files(&divvy);
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(
        fs::read(&files[1]).expect("there"),
        spoilt,
        "nothing is lost"
    );
    divvy.kill9();
    divvy.start_again();
    assert_eq!(divvy.backend("web/web-1")["state"], "drain");
    assert_eq!(state_files(&divvy), files);
}

#[test]
fn one_that_cannot_be_kept_is_in_force_and_warned_of() {
    let (lab, divvy) = with_two("unkept");
    fs::write(divvy.state_dir(), "in the way").expect("written");
    let said = divvy.must(&["drain", "web/web-1"]);
    assert!(
        said.contains("warning: cannot write ") && said.contains("until the daemon stops"),
        "{said}"
    );
    let report = lab.client().get_many(20, URL4);
    assert_eq!(report.answered_by("web-2"), 20, "{report}");
    // Mended, as the warning says.
    fs::remove_file(divvy.state_dir()).expect("removed");
    let said = divvy.must(&["drain", "web/web-1"]);
    assert!(
        said.contains("drains already") && !said.contains("warning"),
        "{said}"
    );
    assert_eq!(state_files(&divvy).len(), 1);
}

#[test]
fn one_state_takes_the_place_of_the_other() {
    let (lab, divvy) = with_two("switch");
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    divvy.must(&["drain", "web/web-1"]);
    assert_eq!(idle.broken(), Vec::<String>::new());
    divvy.must(&["disable", "web/web-1"]);
    assert_eq!(divvy.backend("web/web-1")["state"], "maint");
    assert_eq!(idle.broken().len(), idle.to_backend("web-1"));
    divvy.must(&["drain", "web/web-1"]);
    divvy.wait_for_state("web/web-1", "drain");
    let said = divvy.must(&["disable", "web/web-2"]);
    assert!(
        said.contains("warning: no backend of web takes new flows"),
        "{said}"
    );
    let said = divvy.must(&["enable", "web/web-1"]);
    assert!(said.contains("is enabled: it takes new flows"), "{said}");
    assert_eq!(lab.client().get_many(20, URL4).answered_by("web-1"), 20);
}
