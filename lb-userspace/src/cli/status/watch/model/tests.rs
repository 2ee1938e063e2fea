//! The view as its reader has it: what is selected, found, sorted and asked.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::{
    cli::status::{
        tests::{backend, many, service, view},
        watch::keys::{Wish, take},
    },
    control::view::ServiceStatus,
};

fn model(view: Status) -> Model {
    Model::new(view, Instant::now(), Duration::from_secs(1), true)
}

fn press(model: &mut Model, keys: &str) -> Wish {
    let mut last = Wish::None;
    for c in keys.chars() {
        let code = match c {
            '⏎' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '←' => KeyCode::Left,
            '→' => KeyCode::Right,
            '⌫' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        last = take(model, &Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
    last
}

/// Services and backends in the list, by name.
fn listed(model: &Model) -> Vec<String> {
    (model.rows.iter())
        .map(|row| match row {
            Row::Service(s) => model.view.services[*s].name.clone(),
            Row::Backend(s, b) => format!("  {}", model.view.services[*s].backends[*b].name),
        })
        .collect()
}

fn two() -> Vec<ServiceStatus> {
    vec![
        service(
            "web",
            vec![backend("web-1", "up"), backend("web-2", "down")],
        ),
        service("api", vec![backend("api-1", "up")]),
    ]
}

#[test]
fn few_services_begin_open_and_many_closed() {
    let mut few = model(view(two()));
    assert_eq!(
        listed(&few),
        ["web", "  web-1", "  web-2", "api", "  api-1"]
    );
    press(&mut few, "jj←");
    assert_eq!(listed(&few), ["web", "api", "  api-1"]);
    assert_eq!(
        few.row(),
        Some(Row::Service(0)),
        "the service is selected then"
    );
    press(&mut few, " ");
    assert_eq!(few.rows.len(), 5);
    let mut thousand = model(many(1000));
    assert_eq!(thousand.rows.len(), 1000);
    press(&mut thousand, "G→");
    assert_eq!(thousand.rows.len(), 1010);
    press(&mut thousand, "a");
    assert_eq!(thousand.rows.len(), 11_000);
    press(&mut thousand, "a");
    assert_eq!(thousand.rows.len(), 1000);
}

#[test]
fn what_is_selected_stays_so_when_lines_move() {
    let mut model = model(view(two()));
    press(&mut model, "↓↓");
    assert_eq!(
        model.backend().map(|(p, _)| p.to_string()).as_deref(),
        Some("web/web-2")
    );
    let mut services = two();
    services.reverse();
    let reading = Reading::Status(Box::new(view(services)), Instant::now());
    model.take(reading);
    assert_eq!(
        model.backend().map(|(p, _)| p.to_string()).as_deref(),
        Some("web/web-2")
    );
    // It goes: the selection stays within the list.
    model.take(Reading::Status(Box::new(view(vec![])), Instant::now()));
    assert_eq!((model.row(), model.selected), (None, 0));
    press(&mut model, "jkG⏎de←→ ");
    assert_eq!(model.mode, Mode::List);
}

#[test]
fn searching_shows_what_is_found() {
    let mut model = model(many(100));
    press(&mut model, "/SERVICE-77");
    assert_eq!(listed(&model), ["service-77"]);
    press(&mut model, "⎋");
    assert_eq!(model.rows.len(), 100);
    // By a backend: its service opens, with the others left out.
    let mut view = many(100);
    "connection refused".clone_into(&mut view.services[4].backends[6].reason);
    model.take(Reading::Status(Box::new(view), Instant::now()));
    press(&mut model, "/refusedx⌫⏎");
    assert_eq!(listed(&model), ["service-5", "  web-7"]);
    // q is a letter here, and quits after it.
    press(&mut model, "/q");
    assert_eq!(model.search, "q");
    assert!(model.rows.is_empty());
    press(&mut model, "⏎");
    assert_eq!(press(&mut model, "q"), Wish::Quit);
}

#[test]
fn sorting_and_problems() {
    let mut services = two();
    services.reverse();
    services[1].backends[1].active_flows = 100;
    let mut model = model(view(services));
    assert_eq!(listed(&model)[0], "api");
    press(&mut model, "s");
    assert_eq!(
        (model.order, &*listed(&model)[1]),
        (Order::State, "  web-2")
    );
    press(&mut model, "ss");
    assert_eq!(
        (model.order, &*listed(&model)[1]),
        (Order::Active, "  web-2")
    );
    press(&mut model, "s");
    assert_eq!((model.order, &*listed(&model)[0]), (Order::Name, "api"));
    press(&mut model, "s");
    assert_eq!(model.order, Order::File);
    press(&mut model, "p");
    assert_eq!(listed(&model), ["web", "  web-2"]);
}

#[test]
fn nothing_is_decided_unasked() {
    let mut model = model(view(two()));
    // A service is none.
    assert_eq!(press(&mut model, "dy"), Wish::None);
    assert!(model.said.as_ref().is_some_and(|said| !said.1));
    press(&mut model, "↓");
    for no in ["dn", "dq", "d⎋", "d⏎", "dx⎋", "en"] {
        assert_eq!(press(&mut model, no), Wish::None, "{no}");
        assert_eq!(model.mode, Mode::List, "{no}");
    }
    let place = || "web/web-1".parse().expect("a place");
    for (keys, to) in [
        ("dy", Override::Drain),
        ("ey", Override::Enable),
        ("w250⏎", Override::Weight(250)),
        ("w09⌫0⏎", Override::Weight(0)),
        ("⏎dy", Override::Drain),
    ] {
        assert_eq!(press(&mut model, keys), Wish::Decide(place(), to), "{keys}");
    }
    for keys in ["w⏎", "w1001⏎", "w5⎋", "wx⏎"] {
        assert_eq!(press(&mut model, keys), Wish::None, "{keys}");
    }
    // The question is about the backend that was asked for, though the selection moves on.
    press(&mut model, "d");
    let mut services = two();
    services.remove(0);
    model.take(Reading::Status(Box::new(view(services)), Instant::now()));
    assert_eq!(
        press(&mut model, "y"),
        Wish::Decide(place(), Override::Drain)
    );
    let quit = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for keys in ["", "/", "d", "?"] {
        press(&mut model, keys);
        assert_eq!(take(&mut model, &Event::Key(quit)), Wish::Quit, "{keys}");
        press(&mut model, "⎋");
    }
}

#[test]
fn a_daemon_that_is_away_is_told_since_when() {
    let mut model = model(view(two()));
    let away = |why: &str, since| Away {
        since,
        reachable: false,
        why: why.to_owned(),
    };
    let (first, later) = (SystemTime::UNIX_EPOCH, SystemTime::now());
    model.take(Reading::Failed(away("refused", first)));
    model.take(Reading::Failed(away("still", later)));
    assert_eq!(model.away, Some(away("still", first)));
    assert_eq!(model.rows.len(), 5, "what was known is shown on");
    model.take(Reading::Status(Box::new(view(two())), Instant::now()));
    assert_eq!(model.away, None);
}

#[test]
fn drops_are_told_by_their_most_frequent_reason() {
    let counted = |no_backend: u64, other: u64| {
        let mut view = view(two());
        view.reasons[0].count = no_backend;
        let mut more = view.reasons[0].clone();
        "ports_exhausted".clone_into(&mut more.reason);
        more.count = other;
        view.reasons.push(more);
        view
    };
    let second = Duration::from_secs(1);
    let found = drops(&counted(10, 5), &counted(12, 13), second * 2);
    assert_eq!(found, Some((5.0, "ports_exhausted".to_owned())));
    assert_eq!(drops(&counted(10, 5), &counted(10, 5), second), None);
    assert_eq!(
        drops(&counted(10, 5), &counted(0, 6), second),
        None,
        "counters anew"
    );
}

#[test]
fn the_selected_line_is_always_among_those_drawn() {
    let mut model = model(many(1000));
    for (keys, lines) in [
        ("G", 20),
        ("gj", 20),
        ("", 3),
        ("G", 1),
        ("k", 0),
        ("g", 500),
    ] {
        press(&mut model, keys);
        model.scroll(lines);
        let seen = model.top..model.top + lines.max(1);
        assert!(
            seen.contains(&model.selected),
            "{keys}: {} in {seen:?}",
            model.selected
        );
        assert!(model.top + lines.max(1) <= 1000, "no empty lines below");
    }
}
