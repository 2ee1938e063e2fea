//! `docs/metrics.md` and the daemon agree about every metric, and Prometheus' own tool has nothing to say against them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use lb_tests::lab::{IdleConnections, Lab, METRICS, URL4, promtool};

/// Type and labels of each metric.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// As the page has them.
fn documented() -> Metrics {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = fs::read_to_string(path).expect("it is in the repository");
    (page.lines())
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, kind, labels, _unit, meaning, ..] = cells[..] else {
                panic!("{line} has too few cells");
            };
            assert!(!meaning.is_empty(), "{line}");
            let labels = (labels.split(", "))
                .map(|label| label.trim_matches('`').to_owned())
                .filter(|label| !label.is_empty());
            let name = name.trim_matches('`').to_owned();
            (name, (kind.to_owned(), labels.collect()))
        })
        .collect()
}

/// As the daemon has them.
fn served(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and its help");
            assert!(help.ends_with('.'), "{line}");
            helped.insert(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and its type");
            assert!(helped.contains(name), "{name} has no help");
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else {
            let (series, _) = line.rsplit_once(' ').expect("a series and its value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let of = (metrics.iter_mut().rev())
                .find(|(known, (kind, _))| {
                    let part = name.strip_prefix(known.as_str());
                    part == Some("") || (kind == "histogram" && part.is_some())
                })
                .unwrap_or_else(|| panic!("{line} has no type"));
            let names = (labels.split(','))
                .filter_map(|label| label.split_once("=\""))
                .map(|(name, _)| name.to_owned())
                .filter(|name| name != "le");
            of.1.1.extend(names);
        }
    }
    metrics
}

#[test]
fn each_is_described_and_each_description_is_served() {
    let lab = Lab::routed("metricsdoc").backends(2).start();
    let divvy = lab.divvy(&lab.config().with(METRICS));
    divvy.wait_for_all_up();
    assert_eq!(lab.client().get_many(10, URL4).failed().len(), 0);
    let text = divvy.metrics_text();
    assert_eq!(served(&text), documented());
    let checked = promtool(&["check", "metrics"], &text);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned()
        + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

#[test]
fn and_they_tell_what_happens() {
    let lab = Lab::routed("metricstold").backends(2).start();
    let divvy = lab.divvy(&lab.config().with(METRICS));
    divvy.wait_for_all_up();
    let metrics = divvy.metrics();
    for (name, value) in [
        ("divvy_service_backends{service=\"web\",state=\"up\"}", 2.0),
        ("divvy_service_panic{service=\"web\"}", 0.0),
        ("divvy_config_reloads_total{result=\"success\"}", 0.0),
        (
            "divvy_interface_xdp_mode{interface=\"client\",mode=\"native\"}",
            1.0,
        ),
        (
            "divvy_interface_xdp_mode{interface=\"client\",mode=\"generic\"}",
            0.0,
        ),
        ("divvy_table_entries{table=\"backends\"}", 4.0),
        ("divvy_table_entries{table=\"vips\"}", 2.0),
        ("divvy_probes_total{service=\"web\",result=\"failed\"}", 0.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name}");
    }
    let ok = "divvy_probes_total{service=\"web\",result=\"ok\"}";
    let took = "divvy_probe_duration_seconds_count{service=\"web\"}";
    assert!(metrics[ok] >= 2.0);
    let spent = metrics["divvy_probe_duration_seconds_sum{service=\"web\"}"];
    assert!(
        spent > 0.0 && spent < metrics[took],
        "{spent} s for {}",
        metrics[took]
    );
    let started = metrics["process_start_time_seconds"];
    let loaded = metrics["divvy_config_last_reload_success_timestamp_seconds"];
    assert!(
        (0.0..60.0).contains(&(loaded - started)),
        "{started} {loaded}"
    );

    let idle = IdleConnections::open(lab.client(), URL4, 20);
    lab.backend("web-2").kill();
    divvy.wait_for_state("web/web-2", "down");
    divvy.must(&["drain", "web/web-1"]);
    divvy.write_config("interfaces: []");
    assert!(!divvy.reload().status.success());
    let after = divvy.metrics();
    for (name, value) in [
        ("divvy_service_backends{service=\"web\",state=\"up\"}", 0.0),
        (
            "divvy_service_backends{service=\"web\",state=\"down\"}",
            1.0,
        ),
        (
            "divvy_service_backends{service=\"web\",state=\"drain\"}",
            1.0,
        ),
        ("divvy_config_reloads_total{result=\"failure\"}", 1.0),
        ("divvy_config_last_reload_successful", 0.0),
        ("divvy_config_last_reload_success_timestamp_seconds", loaded),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name}");
    }
    let down = (after.iter()).filter(|(name, value)| {
        name.starts_with("divvy_backend_down{service=\"web\"") && **value == 1.0
    });
    assert_eq!(down.count(), 1, "one that drains is not down");
    assert!(after["divvy_probes_total{service=\"web\",result=\"failed\"}"] >= 2.0);
    assert!(after[ok] > metrics[ok] && after[took] == after[ok]);
    let fill = |table: &str| after[&format!("divvy_flow_table_fill_ratio{{family={table}}}")];
    let confirmed = fill("\"ipv4\",table=\"confirmed\"");
    assert!((confirmed - 20.0 / 262_144.0).abs() < 1e-4, "{confirmed}");
    assert_eq!(fill("\"ipv6\",table=\"confirmed\""), 0.0);
    drop(idle);
}
