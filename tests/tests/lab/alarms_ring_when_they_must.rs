//! Alarms and dashboard: Prometheus' own tool finds nothing wrong with them, each alarm rings when it must and not when
//! it must not, each has its section in the documentation, and a real Prometheus that scrapes a daemon understands all
//! of it and has the data.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_tests::lab::{Lab, METRICS, Prometheus, URL4, promtool, wait_until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn monitoring(name: &str) -> PathBuf {
    root().join("packaging/monitoring").join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&text(&monitoring(name))).expect("YAML")
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// All alarms by name.
fn alarms() -> BTreeMap<String, Value> {
    let groups = list(&yaml("alerts.yml")["groups"]);
    (groups.iter())
        .flat_map(|group| list(&group["rules"]))
        .map(|rule| (word(&rule["alert"]), rule))
        .collect()
}

#[track_caller]
fn must(words: &[&str]) {
    let output = promtool(words, "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

#[test]
fn as_prometheus_itself_says() {
    must(&[
        "check",
        "rules",
        &monitoring("alerts.yml").to_string_lossy(),
    ]);
    must(&[
        "test",
        "rules",
        &monitoring("alerts_test.yml").to_string_lossy(),
    ]);
    // Each is tried both ways.
    let tests = list(&yaml("alerts_test.yml")["tests"]);
    let mut rings = BTreeSet::new();
    let mut is_silent = BTreeSet::new();
    for case in tests.iter().flat_map(|test| list(&test["alert_rule_test"])) {
        let of = match list(&case["exp_alerts"]).is_empty() {
            true => &mut is_silent,
            false => &mut rings,
        };
        of.insert(word(&case["alertname"]));
    }
    let all: BTreeSet<String> = alarms().into_keys().collect();
    assert_eq!(rings, all);
    assert_eq!(is_silent, all);
}

#[test]
fn and_each_has_its_words() {
    let page = text(&root().join("docs/alarms.md"));
    let sections: BTreeSet<String> = (page.lines())
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    let alarms = alarms();
    assert_eq!(sections, alarms.keys().cloned().collect());
    for (name, alarm) in &alarms {
        let severity = word(&alarm["labels"]["severity"]);
        assert!(
            ["critical", "warning", "info"].contains(&&*severity),
            "{name}: {severity}"
        );
        let notes = &alarm["annotations"];
        for note in ["summary", "description"] {
            assert!(word(&notes[note]).len() > 20, "{name} has no {note}");
        }
        let runbook = format!("docs/alarms.md#{}", name.to_lowercase());
        assert_eq!(word(&notes["runbook"]), runbook, "{name}");
    }
    // Where metrics are described, the alarms that they lead to exist.
    let metrics = text(&root().join("docs/metrics.md"));
    let linked: Vec<&str> = (metrics.split("alarms.md#").skip(1))
        .map(|rest| rest.split(')').next().unwrap_or_default())
        .collect();
    assert!(linked.len() >= 15, "{linked:?}");
    for name in linked {
        assert!(
            alarms.keys().any(|alarm| alarm.to_lowercase() == name),
            "{name}"
        );
    }
}

/// Every expression of the dashboard, as Grafana would ask it.
fn dashboard() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&text(&monitoring("grafana-dashboard.json"))).expect("JSON");
    let panels = list(&dashboard["panels"]);
    let notes = list(&dashboard["annotations"]["list"]);
    let expressions = (panels.iter())
        .flat_map(|panel| list(&panel["targets"]))
        .chain(notes)
        .map(|target| word(&target["expr"]));
    let asked: Vec<String> = expressions
        .map(|expression| {
            (expression.replace("$__rate_interval", "10s"))
                .replace("$instance", ".*")
                .replace("$service", ".*")
        })
        .collect();
    assert!(
        asked.len() > 20 && asked.iter().all(|asked| !asked.contains('$')),
        "{asked:#?}"
    );
    asked
}

/// Names of metrics in an expression.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    (expression.split(part))
        .filter(|word| word.starts_with("divvy_") || word.starts_with("process_") || *word == "up")
        .map(str::to_owned)
        .collect()
}

#[test]
fn and_as_a_prometheus_sees_that_scrapes_a_daemon() {
    let lab = Lab::routed("scraped").backends(2).start();
    let divvy = lab.divvy(&lab.config().with(METRICS));
    divvy.wait_for_all_up();
    let prometheus = Prometheus::start(
        lab.balancer(),
        lab.folder(),
        "127.0.0.1:9127",
        &monitoring("alerts.yml"),
    );
    let alarms = alarms();
    let held: BTreeSet<String> = prometheus.alarms().into_iter().collect();
    assert_eq!(held, alarms.keys().cloned().collect());
    let has_data = |expression: &str| {
        wait_until(&format!("there is data for {expression}"), PATIENCE, || {
            let found = prometheus.query(expression);
            !found
                .unwrap_or_else(|error| panic!("{expression}: {error}"))
                .is_empty()
        });
    };
    for (name, alarm) in &alarms {
        let expression = word(&alarm["expr"]);
        let found = prometheus.query(&expression);
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            found.is_empty(),
            "{name} rings, and nothing is wrong: {found:#?}"
        );
        for metric in metrics_of(&expression) {
            has_data(&metric);
        }
    }
    assert_eq!(lab.client().get_many(20, URL4).failed().len(), 0);
    for expression in dashboard() {
        if let Some(all) = expression.strip_suffix(" > 0") {
            prometheus
                .query(&expression)
                .unwrap_or_else(|error| panic!("{expression}: {error}"));
            has_data(all);
        } else {
            has_data(&expression);
        }
    }

    lab.backend("web-1").kill();
    divvy.write_config("interfaces: []");
    assert!(!divvy.reload().status.success());
    for alarm in ["DivvyBackendDown", "DivvyConfigReloadFailed"] {
        has_data(&format!("ALERTS{{alertname=\"{alarm}\"}}"));
    }
    lab.backend("web-2").kill();
    has_data("ALERTS{alertname=\"DivvyServiceDown\", service=\"web\"}");
}
