//! docs/guide.md holds: its commands are taken from the page and run in a lab, in order, and what the page
//! shows of their output is what they print. Every block is run, or says why it is not.
//!
//! A comment before a block tells what it is:
//!
//! | marker | the block |
//! | --- | --- |
//! | `install: deb`, `binary` | is run with the package or the binary under test in the working directory |
//! | `on: edge`, `client`, `web-2` | is run by a shell of that host |
//! | `…, until` | again and again, until it prints what the next block shows |
//! | `…, in the background` | goes on while the rest of the page is run |
//! | `…, stops its server` | stands for what the lab does to that server; `starts` as well |
//! | `edit: FILE` | has lines that are replaced in the file of the edge host |
//! | `file: FILE` | is the file's new content |
//! | `not run: WHY` | is not run |
//!
//! A block of `text` after it is what the command prints: each of its lines is one of the output, where `…`
//! stands for anything.

mod edge;
mod page;
mod turns;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use lb_tests::lab::Lab;

use self::{
    edge::Edge,
    page::{Step, shown, steps},
};

const PAGE: &str = "../docs/guide.md";
const PATIENCE: Duration = Duration::from_secs(30);

/// Read when the test runs, so that a change of the page is tried without building anything.
fn page() -> &'static str {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .leak()
}

#[test]
fn from_nothing_to_a_balanced_service() {
    let lab = Lab::one_arm("guide").backends(2).start();
    lab.balancer().set("ipv4/ip_forward", "0");
    // A login goes on: somebody greets on port 22.
    let mut edge = Edge::new(&lab);
    let _ssh = edge::greet(lab.balancer(), 22, "SSH-2.0-OpenSSH_9.2\r\n");
    let mut not_run = Vec::new();
    for step in steps(page()) {
        println!("{step:?}");
        match step {
            Step::Install { script } => edge.install(script),
            Step::NotRun { why } => not_run.push(why.to_owned()),
            Step::Edit { file, diff } => edge.edit(file, diff),
            Step::File { file, text } => edge.write(file, text),
            Step::Server { host, up: true } => lab.backend(host).start(),
            Step::Server { host, up: false } => lab.backend(host).kill(),
            Step::Background { script } => edge.start(script),
            Step::Run {
                host,
                until,
                script,
                shows,
            } => {
                let begun = Instant::now();
                loop {
                    let (succeeded, said) = match host {
                        "edge" => edge.run(script),
                        "client" => edge::said(lab.client().run(&["sh", "-e", "-c", script])),
                        other => {
                            edge::said(lab.backend(other).host().run(&["sh", "-e", "-c", script]))
                        }
                    };
                    let missing: Vec<&&str> =
                        shows.iter().filter(|line| !shown(line, &said)).collect();
                    if succeeded && missing.is_empty() {
                        println!("{said}");
                        break;
                    }
                    assert!(
                        until && begun.elapsed() < PATIENCE,
                        "{script}\ndoes not print {missing:?}, but ({succeeded})\n{said}\n{}",
                        edge.log()
                    );
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
    println!("not run: {not_run:?}");
    assert!(not_run.len() <= 1, "{not_run:?}");
}

#[test]
fn and_wrong_turns_are_named() {
    turns::all_of(page());
}
