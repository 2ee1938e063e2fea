//! What `status`, `flows`, `check` and the metrics say, and the exit codes.

use std::io::{Read as _, Write as _};

use lb_tests::lab::{IdleConnections, Lab, URL4};
use serde_json::Value;

#[test]
fn status_in_json_has_the_agreed_fields() {
    let lab = Lab::routed("status").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let connections = IdleConnections::open(lab.client(), URL4, 30);
    let status = divvy.status();
    let service = &status["services"][0];
    assert_eq!(
        (&service["name"], &service["mode"]),
        (&Value::from("web"), &Value::from("nat"))
    );
    assert_eq!(service["vips"], serde_json::json!(["203.0.113.10:80"]));
    for backend in service["backends"].as_array().expect("a list") {
        for field in ["name", "address", "state", "reason", "since"] {
            assert!(backend[field].is_string(), "{field} of {backend}");
        }
        for field in [
            "weight",
            "active_flows",
            "flows_total",
            "packets_total",
            "bytes_total",
        ] {
            assert!(backend[field].is_u64(), "{field} of {backend}");
        }
        assert!(backend["backup"].is_boolean(), "backup of {backend}");
        let mine = connections.to_backend(backend["name"].as_str().unwrap_or_default());
        assert_eq!(backend["active_flows"], mine, "{backend}");
        assert_eq!(backend["flows_total"], mine, "{backend}");
    }
    assert_eq!(divvy.must(&["flows", "--count"]).trim(), "30");
    let some = divvy.must(&["flows", "--backend", "web-1", "--limit", "1", "-o", "json"]);
    let some: Value = serde_json::from_str(&some).expect("JSON");
    assert_eq!(some["count"], connections.to_backend("web-1"));
    assert_eq!(some["flows"].as_array().map(Vec::len), Some(1));
    assert_eq!(some["flows"][0]["vip"], "203.0.113.10:80");
}

#[test]
fn tables_name_what_they_show() {
    let lab = Lab::routed("tables").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let _connections = IdleConnections::open(lab.client(), URL4, 3);
    let text = divvy.must(&["status", "web"]);
    for word in [
        "web",
        "203.0.113.10:80",
        "web-1",
        "10.0.1.2:80",
        "up",
        "HTTP 200",
        "native",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(!text.contains("web6"), "{text}");
    let text = divvy.must(&["flows"]);
    assert_eq!(text.matches("established").count(), 3, "{text}");

    let output = divvy.cli(&["status", "wob"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("wob") && said.contains("web6"), "{said}");
}

#[test]
fn check_judges_a_file_without_the_daemon() {
    let lab = Lab::routed("check").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let text = divvy.must(&["check"]);
    assert!(
        text.contains("valid: 2 services, 2 vips, 2 backends"),
        "{text}"
    );
    let bad = lab.folder().join("bad.yaml");
    std::fs::write(&bad, "interfaces: []\nservices: []\nfoo: 1\n").expect("written");
    let output = divvy.cli(&["check", &bad.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 3, "{said}");
    for key in ["interfaces", "services", "foo"] {
        assert!(said.contains(key), "{said}");
    }
    assert_eq!(divvy.cli(&["status"]).status.code(), Some(4));
    assert_eq!(divvy.cli(&["reload"]).status.code(), Some(4));
    assert_eq!(divvy.cli(&["nonsense"]).status.code(), Some(2));
}

#[test]
fn metrics_are_served() {
    let lab = Lab::routed("metrics").backends(2).start();
    let divvy = lab.divvy(&lab.config().with("metrics: \"127.0.0.1:9127\""));
    divvy.wait_for_all_up();
    assert_eq!(lab.client().get_many(10, URL4).failed().len(), 0);
    let scrape = |address: &str| {
        lab.balancer().inside(|| {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        })
    };
    let text = scrape("127.0.0.1:9127").expect("scraped");
    for line in [
        "divvy_backend_up{service=\"web\",backend=\"web-1\",address=\"10.0.1.2:80\"} 1",
        "divvy_flows_max{table=\"confirmed\"} 262144",
        "divvy_config_last_reload_successful 1",
        "divvy_drops_total{reason=\"ports_exhausted\"} 0",
        "divvy_events_total{reason=\"flow_new\"} 10",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    // It moves with the file.
    divvy.apply(&lab.config().with("metrics: \"127.0.0.1:9128\""));
    assert!(scrape("127.0.0.1:9128").is_ok());
    assert!(scrape("127.0.0.1:9127").is_err());
}
