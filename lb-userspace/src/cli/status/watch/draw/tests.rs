use std::time::{Duration, Instant};

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::cli::status::{
    tests::{backend, many, service, view},
    watch::model::{Away, Reading},
};

fn model() -> Model {
    let mut backup = backend("web-3", "maint");
    backup.backup = true;
    let services = vec![
        service(
            "web",
            vec![backend("web-1", "up"), backend("web-2", "down"), backup],
        ),
        service("empty", vec![]),
    ];
    Model::new(view(services), Instant::now(), Duration::from_secs(1), true)
}

fn drawn(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(model, frame)).expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn every_size_and_every_mode_can_be_drawn() {
    let place: crate::control::view::BackendPlace = "web/web-1".parse().expect("a place");
    let modes = [
        Mode::List,
        Mode::Search,
        Mode::Help,
        Mode::Details,
        Mode::Changes,
        Mode::Confirm(place.clone(), Override::Drain),
        Mode::Weight(place, "12".to_owned()),
    ];
    for mode in modes {
        let mut model = model();
        model.mode = mode;
        model.select(1);
        for width in (1..140).step_by(7) {
            for height in [1, 2, 3, 4, 5, 8, 24, 33, 60] {
                drawn(&mut model, width, height);
            }
        }
    }
}

#[test]
fn a_usual_terminal_shows_what_matters() {
    let mut model = model();
    model.select(2);
    let text = drawn(&mut model, 80, 24);
    for part in [
        "2 services, 3 backends: 1 up, 1 down, 1 maint",
        "sort: file  every 1s",
        "▾ web",
        "1/3 up",
        "  web-2",
        "ACTIVE",
        "NEW/S",
        "PKT/S",
        "BIT/S",
        "WHY",
        "web-3 ⁺",
        "no backends",
        "web/web-2: down for",
        "HTTP 503, expected 200-299",
        "d drain",
        "q quit",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains("10.0.0.11"), "{text}");
    let wide = drawn(&mut model, 150, 24);
    for part in ["10.0.0.11:8080", "SINCE", "WEIGHT", "tcp/nat"] {
        assert!(wide.contains(part), "{part} is missing:\n{wide}");
    }
}

#[test]
fn rates_of_each_backend_and_of_its_service() {
    let mut model = model();
    let start = Instant::now();
    let mut next = model.view.clone();
    model.take(Reading::Status(Box::new(next.clone()), start));
    for (backend, packets) in next.services[0].backends.iter_mut().zip([1000, 500, 0]) {
        (
            backend.packets_total,
            backend.bytes_total,
            backend.flows_total,
        ) = (packets, packets * 1000, 1234 + packets / 100);
    }
    model.take(Reading::Status(
        Box::new(next),
        start + Duration::from_secs(1),
    ));
    let text = drawn(&mut model, 80, 24);
    let line = |name: &str| {
        let found = text.lines().find(|line| line.contains(name));
        found
            .unwrap_or_else(|| panic!("no {name}:\n{text}"))
            .to_owned()
    };
    for (name, figures) in [
        ("▾ web", "    21   15.0  1.50k  12.0M"),
        ("web-1", "     7   10.0  1.00k  8.00M"),
        ("web-2", "     7    5.0    500  4.00M"),
        ("web-3", "     7      0      0      0"),
        (
            "packets/s",
            " 1.50k packets/s  12.0M bits/s  15.0 new/s  21 active",
        ),
    ] {
        assert!(line(name).contains(figures), "{name}: {figures}\n{text}");
    }
    assert!(
        line("web-1").contains('█') && line("web-2").contains('▅'),
        "{text}"
    );
}

#[test]
fn a_daemon_that_is_away_is_seen() {
    let mut model = model();
    let at = humantime::parse_rfc3339("2026-11-29T10:58:42Z").expect("a time");
    for (reachable, label) in [(false, "NOT REACHABLE"), (true, "NO STATUS")] {
        model.take(Reading::Failed(Away {
            since: at,
            reachable,
            why: "it says so".to_owned(),
        }));
        let text = drawn(&mut model, 80, 24);
        let words = format!("{label} since 10:58:42 (");
        assert!(
            text.contains(&words) && text.contains("it says so"),
            "{text}"
        );
    }
}

#[test]
fn a_thousand_services_are_a_list_to_scroll() {
    let mut model = Model::new(many(1000), Instant::now(), Duration::from_secs(1), false);
    let text = drawn(&mut model, 80, 24);
    assert!(
        text.contains("1,000 services, 10,000 backends: 10,000 up"),
        "{text}"
    );
    assert!(
        text.contains("▸ service-1 ") && text.contains("10/10 up"),
        "{text}"
    );
    model.select(999);
    let text = drawn(&mut model, 80, 24);
    assert!(text.contains("▸ service-1000"), "{text}");
}

#[test]
fn changes_are_kept_in_sight_where_there_is_room() {
    let mut model = model();
    let mut next = model.view.clone();
    "up".clone_into(&mut next.services[0].backends[1].state);
    model.take(Reading::Status(Box::new(next), Instant::now()));
    let text = drawn(&mut model, 100, 40);
    assert!(text.contains("web/web-2  down → up"), "{text}");
    let text = drawn(&mut model, 80, 24);
    assert!(!text.contains("→ up"), "{text}");
    model.mode = Mode::Changes;
    let text = drawn(&mut model, 80, 24);
    assert!(text.contains("web/web-2  down → up"), "{text}");
}
