//! `divvy status --watch`: what the live view shows is so, its keys do what they say, and it leaves the
//! terminal as it was.

use std::time::Duration;

use lb_tests::lab::{IdleConnections, Lab, Load, Terminal, URL4, wait_until};
use nix::sys::signal::Signal;

const WATCH: [&str; 4] = ["status", "--watch", "--interval", "200ms"];
const SOON: Duration = Duration::from_secs(10);

/// The figures of a line: active flows, then new flows, packets and bits a second.
fn figures(terminal: &Terminal, name: &str) -> Vec<String> {
    let line = terminal.line_with(name).unwrap_or_default();
    let (_, rest) = line.split_once(name).unwrap_or_default();
    let words: Vec<&str> = rest.split_whitespace().collect();
    // First comes the state: one word, or `2/2 up`.
    let state = if words.get(1) == Some(&"up") { 2 } else { 1 };
    let figures = words.iter().skip(state).take(4);
    figures.map(|word| (*word).to_owned()).collect()
}

/// Whether the rates of a line are known and 0.
fn is_idle(terminal: &Terminal, name: &str) -> bool {
    figures(terminal, name).get(1..) == Some(&["0", "0", "0"].map(str::to_owned))
}

#[test]
fn what_it_shows_moves_with_the_load() {
    let lab = Lab::routed("watched").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut terminal = divvy.on_terminal(&WATCH, 80, 24);
    terminal.wait_for("2 services, 4 backends: 4 up");
    terminal.wait_until("there are rates", |_| is_idle(&terminal, "▾ web "));

    let idle = IdleConnections::open(lab.client(), URL4, 30);
    for backend in ["web-1", "web-2"] {
        let active = idle.to_backend(backend).to_string();
        terminal.wait_until("connections are counted", |_| {
            figures(&terminal, backend).first() == Some(&active)
        });
    }
    terminal.wait_until("they are over all", |text| text.contains("30 active"));
    let load = Load::on(URL4).per_second(200).from(lab.client());
    for name in ["▾ web ", "web-1", "web-2"] {
        terminal.wait_until("rates rise", |_| {
            let figures = figures(&terminal, name);
            figures.len() == 4
                && figures[1..]
                    .iter()
                    .all(|figure| figure != "0" && figure != "·")
        });
    }
    terminal.wait_until("bars rise", |_| {
        terminal
            .line_with("web-1")
            .is_some_and(|line| line.contains(['▅', '▆', '▇', '█']))
    });
    drop(load);
    terminal.wait_until("rates fall", |_| is_idle(&terminal, "▾ web "));

    // A dead backend is seen, with the reason.
    lab.backend("web-1").kill();
    terminal.wait_for("1/2 up");
    assert_eq!(terminal.colour_of("down "), Some(1), "{}", terminal.text());
    terminal.type_keys("j");
    let text = terminal.wait_for("web/web-1: down for");
    assert!(text.contains("connection refused"), "{text}");
    terminal.type_keys("c");
    terminal.wait_for("web/web-1  up → down");
}

#[test]
fn its_keys_decide_after_a_question() {
    let lab = Lab::routed("watch_keys").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut terminal = divvy.on_terminal(&WATCH, 80, 24);
    terminal.wait_for("q quit");
    terminal.type_keys("jd");
    terminal.wait_for("Drain web/web-1? Its");
    terminal.type_keys("n");
    terminal.wait_for("web/web-1 stays as it is");
    assert_eq!(divvy.backend("web/web-1")["state"], "up");
    assert!(divvy.backend("web/web-1")["override"].is_null());
    terminal.type_keys("dy");
    divvy.wait_for_state("web/web-1", "drain");
    terminal.wait_until("it is shown", |_| {
        terminal
            .line_with("web-1 ")
            .is_some_and(|line| line.contains("drain"))
    });
    let report = lab.client().get_many(20, URL4);
    assert_eq!(report.answered_by("web-2"), 20, "{report}");
    terminal.type_keys("ey");
    divvy.wait_for_state("web/web-1", "up");
    terminal.type_keys("w9\r");
    wait_until("it has the weight", SOON, || {
        divvy.backend("web/web-1")["weight"] == 9
    });
    // Details, by their own window.
    terminal.type_keys("\r");
    // They may open before the next look has the weight.
    terminal.wait_until("details tell", |text| {
        [" esc closes ", "next hop", "9, 1 in the file"]
            .iter()
            .all(|words| text.contains(words))
    });
    terminal.type_keys("q?");
    terminal.wait_for("drain the selected backend (asks)");
    terminal.type_keys("\u{1b}");
    // Searching leaves the rest out; `web-2` is in both services.
    terminal.wait_until("the help is closed", |text| !text.contains("(asks)"));
    terminal.type_keys("/web-2\r");
    terminal.wait_until("only that is left", |text| {
        !text.contains("web-1") && text.matches("  web-2 ").count() == 2
    });
    assert!(divvy.backend("web/web-2")["override"].is_null());
}

#[test]
fn it_waits_for_a_daemon_that_is_away() {
    let lab = Lab::routed("watch_away").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let idle = IdleConnections::open(lab.client(), URL4, 7);
    let terminal = divvy.on_terminal(&WATCH, 80, 24);
    terminal.wait_for("7 active");
    divvy.kill9();
    let text = terminal.wait_for("NOT REACHABLE since");
    assert!(text.contains("▾ web "), "what was known stays: {text}");
    divvy.start_again();
    let text = terminal.wait_until("it goes on", |text| {
        !text.contains("NOT REACHABLE") && text.contains("7 active")
    });
    assert!(
        !text.contains('-') || !text.contains(" -"),
        "no negative rate: {text}"
    );
    drop(idle);
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let lab = Lab::routed("watch_ends").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    type End = fn(&mut Terminal);
    let ends: [(&str, End); 5] = [
        ("q", |terminal| terminal.type_keys("q")),
        ("ctrl-c", |terminal| terminal.type_keys("\u{3}")),
        ("SIGTERM", |terminal| terminal.signal(Signal::SIGTERM)),
        ("SIGINT", |terminal| terminal.signal(Signal::SIGINT)),
        ("SIGHUP", |terminal| terminal.signal(Signal::SIGHUP)),
    ];
    for (name, end) in ends {
        let mut terminal = divvy.on_terminal(&WATCH, 80, 24);
        terminal.wait_for("q quit");
        assert!(terminal.is_taken(), "{name}");
        end(&mut terminal);
        assert!(terminal.wait().success(), "{name}");
        wait_until("the terminal is given back", SOON, || !terminal.is_taken());
        assert!(
            !terminal.text().contains("q quit"),
            "{name}: {}",
            terminal.text()
        );
    }
    // The daemon is none the worse.
    divvy.wait_for_all_up();
}

#[test]
fn it_is_for_terminals_and_says_so() {
    let lab = Lab::routed("watch_pipe").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    let refused = |words: &[&str], code: i32, said: &str| {
        let output = divvy.cli(words);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(text.contains(said), "{words:?}: {text}");
    };
    refused(
        &["status", "--watch"],
        1,
        "this is none; `divvy status` prints once",
    );
    refused(
        &["status", "--watch", "--interval", "1ms"],
        1,
        "use 100ms to 1m",
    );
    refused(
        &["status", "--watch", "-o", "json"],
        2,
        "cannot be used with",
    );
    refused(&["status", "--interval", "2s"], 2, "--watch");
    // A daemon that is not there is told as by any other verb, before the screen is taken.
    let nowhere = lab.divvy_not_running(&lab.config().yaml());
    let mut terminal = nowhere.on_terminal(&WATCH, 80, 24);
    assert_eq!(terminal.wait().code(), Some(4));
    terminal.wait_for("no daemon answers");
    let mut terminal = divvy.on_terminal(&["status", "wob", "--watch"], 80, 24);
    assert_eq!(terminal.wait().code(), Some(1));
    terminal.wait_for("no service is called wob");
}
