//! `divvy status` on a terminal and in a pipe: colours, widths and columns.

use lb_tests::lab::{Lab, Terminal};
use serde_json::Value;

/// What the program wrote to the terminal until its end.
fn to_the_end(mut terminal: Terminal) -> String {
    assert!(terminal.wait().success(), "{}", terminal.text());
    terminal.wait_for("half-open");
    String::from_utf8(terminal.bytes()).expect("text")
}

#[test]
fn colours_are_for_terminals() {
    let lab = Lab::routed("colours").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    divvy.must(&["drain", "web/web-1"]);
    divvy.must(&["disable", "web/web-2"]);
    lab.backend("web-3").kill();
    divvy.wait_for_state("web/web-3", "down");

    let terminal = divvy.on_terminal(&["status", "web"], 120, 50);
    terminal.wait_for("half-open");
    for (state, colour) in [("drain ", 3), ("maint ", 8), ("down ", 1)] {
        assert_eq!(
            terminal.colour_of(state),
            Some(colour),
            "{state}: {}",
            terminal.text()
        );
    }
    assert_eq!(terminal.colour_of("BACKEND"), None);
    for words in [
        ["--color", "never"].as_slice(),
        &["--color=never", "-o", "wide"],
        &["-o", "json"],
    ] {
        let words = [&["status"], words].concat();
        let mut terminal = divvy.on_terminal(&words, 120, 50);
        assert!(terminal.wait().success());
        assert!(!terminal.bytes().contains(&0x1b), "{words:?}");
    }
    // Into a pipe none comes, unless it is asked for.
    for words in [
        ["status"].as_slice(),
        &["status", "-o", "wide"],
        &["status", "-o", "json"],
    ] {
        assert!(!divvy.must(words).contains('\u{1b}'), "{words:?}");
    }
    let forced = divvy.must(&["status", "--color", "always"]);
    assert!(forced.contains("\u{1b}[38;5;1mdown"), "{forced:?}");
    // https://no-color.org
    for (value, coloured) in [("1", false), ("", true)] {
        let set = format!("NO_COLOR={value}");
        let terminal = divvy.on_terminal_by(&["env", &set], &["status"], 120, 50);
        assert_eq!(to_the_end(terminal).contains('\u{1b}'), coloured, "{set}");
    }
}

#[test]
fn a_table_fits_the_window_and_wide_tells_all() {
    let lab = Lab::routed("widths").backends(2).start();
    let divvy = lab.divvy(&lab.config().weight("web-2", 3));
    divvy.wait_for_all_up();
    divvy.must(&["weight", "web/web-2", "7"]);
    lab.backend("web-1").kill();
    for place in ["web/web-1", "web6/web-1"] {
        divvy.wait_for_state(place, "down");
    }
    for columns in [80, 100, 140] {
        let text = to_the_end(divvy.on_terminal(&["status", "--color=never"], columns, 50));
        let widest = text
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max();
        assert!(widest <= Some(usize::from(columns)), "{columns}: {text}");
        assert!(
            text.starts_with("2 services, 4 backends: 2 up, 2 down"),
            "{text}"
        );
        for part in ["weight 7 (file: 3)", "REASON", "STATE"] {
            assert!(text.contains(part), "{columns}: {part}: {text}");
        }
    }
    let wide = divvy.must(&["status", "-o", "wide"]);
    let status = divvy.status();
    for backend in status["services"][0]["backends"]
        .as_array()
        .expect("a list")
    {
        for field in [
            "name", "address", "state", "reason", "since", "next_hop", "probe",
        ] {
            let Value::String(value) = &backend[field] else {
                panic!("{field}: {backend}")
            };
            assert!(wide.contains(value), "{field} {value}: {wide}");
        }
    }
    for part in [
        "tcp/nat",
        "PACKETS",
        "BYTES",
        "7 (file: 3)",
        "by uid 0",
        "LAST ERROR",
        "OPENING",
    ] {
        assert!(wide.contains(part), "{part}: {wide}");
    }
}
