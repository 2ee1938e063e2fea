use super::*;
use crate::control::view::{BackendStatus, ServiceStatus};

/// A backend in this state, with its reason.
pub(super) fn backend(name: &str, state: &str) -> BackendStatus {
    serde_json::from_value(serde_json::json!({
        "name": name, "address": "10.0.0.11:8080", "state": state,
        "reason": match state { "down" => "HTTP 503, expected 200-299", _ => "HTTP 200" },
        "since": "2026-01-01T00:00:00Z", "probe": "ok", "last_error": null, "last_error_at": null,
        "weight": 1, "weight_configured": 1, "override": null,
        "backup": false, "active_flows": 7, "opening_flows": 0, "existing_flows": "forwarded",
        "flows_total": 1234, "packets_total": 0, "bytes_total": 0,
        "next_hop": "02:00:00:00:00:02 by interface 3",
    }))
    .expect("a backend's status")
}

pub(super) fn service(name: &str, backends: Vec<BackendStatus>) -> ServiceStatus {
    ServiceStatus {
        backends,
        ..serde_json::from_value(serde_json::json!({
            "name": name, "mode": "nat", "scheduler": "maglev", "protocol": "tcp",
            "vips": ["203.0.113.10:80"], "announced": [], "panic": false, "backends": [],
        }))
        .expect("a service's status")
    }
}

pub(super) fn view(services: Vec<ServiceStatus>) -> View {
    View {
        services,
        ..serde_json::from_value(serde_json::json!({
            "services": [], "interfaces": [{ "name": "eth0", "xdp": "native" }],
            "flows": { "confirmed": 3, "half_open": 0, "confirmed_max": 262144, "half_open_max": 65536 },
            "reasons": [{ "reason": "no_backend", "kind": "drop", "count": 12 }],
            "version": "0.1.0", "layout": 9, "started": "2026-01-01T00:00:00Z",
            "config": { "path": "/etc/divvy/divvy.yaml", "loaded": "2026-01-01T00:00:00Z", "last_error": null },
        }))
        .expect("a status")
    }
}

/// So many services of ten backends, all up.
pub(super) fn many(services: usize) -> View {
    view(
        (1..=services)
            .map(|s| {
                let backends = (1..=10).map(|b| backend(&format!("web-{b}"), "up"));
                service(&format!("service-{s}"), backends.collect())
            })
            .collect(),
    )
}

fn plain_style(width: Option<usize>) -> Style {
    Style {
        colour: false,
        width,
    }
}

#[test]
fn a_table_fits_the_terminal() {
    let mut down = backend("web-2", "down");
    "connection refused, and then a long story about what the kernel said of it all, and why"
        .clone_into(&mut down.reason);
    let view = view(vec![service("web", vec![backend("web-1", "up"), down])]);
    let whole = render(&view, false, plain_style(None));
    assert!(
        whole.contains("and why") && whole.contains("10.0.0.11:8080"),
        "{whole}"
    );
    for width in [60, 80, 100, 120] {
        let text = render(&view, false, plain_style(Some(width)));
        let (_, table) = text.split_once("BACKEND").expect("a table");
        let (table, _) = table.split_once("\n\n").expect("a footer");
        for line in table.lines().skip(1) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
        assert!(text.contains('…'), "{width}: {text}");
        for always in ["STATE", "down", "REASON", "connection"] {
            assert!(text.contains(always), "{width}: {text}");
        }
    }
    // What can best be spared goes first.
    let text = render(&view, false, plain_style(Some(80)));
    assert!(!text.contains("FLOWS") && text.contains("ACTIVE"), "{text}");
    let wide = render_wide(&view, plain_style(Some(60)));
    assert!(
        wide.contains("and why") && wide.contains("02:00:00:00:00:02"),
        "{wide}"
    );
}

#[test]
fn colours_are_printed_only_where_they_are_wanted() {
    crossterm::style::force_color_output(true);
    let states = ["up", "down", "drain", "maint"];
    let backends = states.map(|state| backend(&format!("web-{state}"), state));
    let view = view(vec![service("web", backends.to_vec())]);
    for text in [
        render(&view, false, plain_style(None)),
        render_wide(&view, plain_style(None)),
    ] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    let style = Style {
        colour: true,
        width: None,
    };
    let text = render(&view, false, style);
    for (state, colour) in states.iter().zip(["5;2", "5;1", "5;3", "5;8"]) {
        let line = text.lines().find(|l| l.contains(&format!("web-{state}")));
        let line = line.expect("a line");
        assert!(
            line.contains(&format!("\u{1b}[38;{colour}m{state}")),
            "{line:?}"
        );
    }
}

#[test]
fn nothing_that_a_backend_says_reaches_the_terminal_as_a_command() {
    let mut bad = backend("web-1", "down");
    "expected OK, got \u{1b}[2J\u{7}".clone_into(&mut bad.reason);
    let mut view = view(vec![service("web", vec![bad])]);
    view.config.last_error = Some("line 1: \u{1b}]0;x".to_owned());
    for text in [
        render(&view, false, plain_style(Some(200))),
        render_wide(&view, plain_style(None)),
    ] {
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(text.contains("expected OK, got"), "{text:?}");
    }
}

#[test]
fn of_many_services_those_come_first_that_are_not_in_order() {
    let mut view = many(1000);
    let text = render(&view, false, plain_style(None));
    assert!(
        text.starts_with("1,000 services, 10,000 backends: 10,000 up\n"),
        "{text}"
    );
    assert!(
        text.contains("1,000 services with every backend up"),
        "{text}"
    );
    assert!(text.lines().count() < 12, "{text}");

    view.services[700].backends[3] = backend("web-4", "down");
    view.services[800].panic = true;
    let text = render(&view, false, plain_style(None));
    assert!(
        text.starts_with("1,000 services, 10,000 backends: 9,999 up, 1 down\n\nservice-701  "),
        "{text}"
    );
    for part in [
        "web-4",
        "and 9 up",
        "9 of 10 up",
        "service-801  ",
        "998 services with",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("web-5"), "{text}");
    // One that was asked for is shown in full.
    only(&mut view, "service-701").expect("it is there");
    let text = render(&view, true, plain_style(None));
    assert!(
        text.starts_with("service-701  ") && text.contains("web-5"),
        "{text}"
    );

    // All that is down is still no more than can be read.
    let mut view = many(1000);
    for service in &mut view.services {
        service.backends = vec![backend("web-1", "down"); 10];
    }
    let text = render(&view, false, plain_style(None));
    assert!(
        text.contains("and 950 more services that are not in order"),
        "{text}"
    );
    // A dozen in order have a line each.
    let text = render(&many(12), false, plain_style(None));
    let lines = text.lines().filter(|line| line.contains("tcp/nat"));
    assert_eq!(lines.count(), 12, "{text}");
    assert!(text.contains("10 of 10"), "{text}");
}

#[test]
fn a_name_that_is_wrong_gets_no_thousand_others() {
    let failure = only(&mut many(1000), "wob").expect_err("there is none");
    let said = failure.message;
    assert!(
        said.contains("service-20 and 980 more") && !said.contains("service-21"),
        "{said}"
    );
}
