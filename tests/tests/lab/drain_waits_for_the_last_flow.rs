//! `divvy drain --wait` returns when the last flow is gone or gets a reset; a limit or Ctrl-C ends the
//! waiting and not the drain.

use std::{process::Output, thread};

use lb_tests::lab::{Divvy, IdleConnections, Lab, URL4, wait_until};
use nix::sys::signal::Signal;

fn with_connections(title: &'static str, timeout: &str) -> (Lab, Divvy, IdleConnections, usize) {
    let lab = Lab::routed(title).backends(2).start();
    let timeout = format!("drain_timeout: {timeout}");
    let divvy = lab.divvy(&lab.config().with_default(&timeout));
    divvy.wait_for_all_up();
    let idle = IdleConnections::open(lab.client(), URL4, 40);
    let mine = idle.to_backend("web-1");
    assert!(mine > 1, "some went to web-1");
    (lab, divvy, idle, mine)
}

fn said(output: &Output, code: i32) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn and_returns_once_it_is_gone() {
    let (_lab, divvy, idle, mine) = with_connections("drain_wait", "1h");
    let waiting = divvy.start_cli(&["drain", "web/web-1", "--wait"]);
    divvy.wait_for_state("web/web-1", "drain");
    let output = thread::scope(|scope| {
        let waiting = scope.spawn(|| waiting.output());
        assert_eq!(divvy.backend("web/web-1")["active_flows"], mine);
        assert!(!waiting.is_finished(), "its connections are open");
        drop(idle);
        waiting.join().expect("it ends")
    });
    let said = said(&output, 0);
    assert!(said.contains("web/web-1 has no flows left"), "{said}");
}

#[test]
fn or_gets_a_reset_at_the_deadline() {
    let (_lab, divvy, mut idle, mine) = with_connections("drain_wait_over", "1s");
    let said = divvy.must(&["drain", "web/web-1", "--wait"]);
    let words = format!("each of its last {mine} flows is answered with a reset");
    assert!(said.contains(&words), "{said}");
    assert_eq!(idle.broken().len(), mine);
}

#[test]
fn but_no_longer_than_it_may() {
    let (_lab, divvy, mut idle, mine) = with_connections("drain_timeout", "1h");
    let output = divvy.cli(&["drain", "web/web-1", "--wait", "--timeout", "300ms"]);
    let said = said(&output, 1);
    let words = format!("web/web-1 still has {mine} flows after 300ms; it goes on draining");
    assert!(said.contains(&words), "{said}");
    assert_eq!(divvy.backend("web/web-1")["state"], "drain");
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn and_ctrl_c_leaves_the_drain_in_place() {
    let (_lab, divvy, _idle, mine) = with_connections("drain_ctrl_c", "1h");
    let waiting = divvy.start_cli(&["drain", "web/web-1", "--wait"]);
    divvy.wait_for_state("web/web-1", "drain");
    wait_until(
        "it listens to signals",
        std::time::Duration::from_secs(10),
        || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", waiting.id()));
            let caught = status.unwrap_or_default();
            // SIGINT is the second bit of a hexadecimal mask.
            let mask = caught.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .is_some_and(|mask| mask & 2 != 0)
        },
    );
    // The question under way is answered first.
    thread::sleep(std::time::Duration::from_millis(300));
    waiting.signal(Signal::SIGINT);
    let said = said(&waiting.output(), 1);
    let words = format!("goes on draining with {mine} flows");
    assert!(
        said.contains(&words) && said.contains("`divvy enable web/web-1`"),
        "{said}"
    );
    assert_eq!(divvy.backend("web/web-1")["state"], "drain");
}

#[test]
fn and_somebody_who_enables_it_ends_the_waiting() {
    let (_lab, divvy, _idle, _) = with_connections("drain_enabled", "1h");
    let waiting = divvy.start_cli(&["drain", "web/web-1", "--wait"]);
    divvy.wait_for_state("web/web-1", "drain");
    divvy.must(&["enable", "web/web-1"]);
    let said = said(&waiting.output(), 1);
    assert!(said.contains("does not drain any more"), "{said}");
}
