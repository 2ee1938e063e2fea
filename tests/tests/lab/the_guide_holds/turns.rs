//! The wrong turns of the page: each is taken, and what the page says is what one sees.

use std::{collections::BTreeSet, net::TcpListener};

use lb_tests::lab::{Lab, wait_until};

use super::{PATIENCE, edge::Edge, page::shown};

const FILE: &str = "/etc/divvy/divvy.yaml";
const GOOD: &str = r#"interfaces: [eth0]
services:
  - name: web
    listen: ["10.0.0.1:80"]
    backends:
      - { name: web-1, address: "10.0.0.11:80" }
"#;

/// The rows of the table: what happened, and what one sees then.
fn rows(page: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let (_, part) = page
        .split_once("\n## Wrong turns\n")
        .expect("the page has this part");
    (part.lines().filter(|line| line.starts_with("| ")).skip(2))
        .map(|line| {
            let (what, seen) = line.trim_matches(['|', ' ']).split_once(" | ").expect(line);
            let spans = seen.split("``").skip(1).step_by(2).map(str::trim);
            (what, spans.collect())
        })
        .collect()
}

pub fn all_of(page: &'static str) {
    let lab = Lab::one_arm("turns").backends(1).start();
    let mut edge = Edge::new(&lab);
    edge.must("mkdir -p /etc/divvy");
    edge.install("install -m 755 divvy /usr/bin/divvy");
    let rows = rows(page);
    let mut taken = BTreeSet::new();
    for (what, seen) in &rows {
        edge.write(FILE, GOOD);
        let said = take(what, &lab, &mut edge);
        println!("{what}:\n{said}");
        assert!(!seen.is_empty(), "{what}");
        for line in seen {
            assert!(shown(line, &said), "{what}: {line} is not in\n{said}");
        }
        edge.stop();
        edge.run("divvy detach");
        assert!(taken.insert(*what), "{what} stands twice");
    }
    assert_eq!(taken.len(), 16, "all that is tried is on the page");
}

/// Takes a wrong turn; returns what one sees.
fn take(what: &str, lab: &Lab, edge: &mut Edge) -> String {
    let with = |edge: &Edge, old: &str, new: &str| {
        assert!(GOOD.contains(old), "{old}");
        edge.write(FILE, &GOOD.replacen(old, new, 1));
    };
    let running = |edge: &mut Edge| {
        edge.start("divvy run");
        wait_until("the daemon answers", PATIENCE, || {
            edge.run("divvy status").0
        });
    };
    match what {
        "there is no file yet" => {
            edge.must(&format!("rm {FILE}"));
            edge.run("divvy check").1
        }
        "a tab in the file" => {
            with(edge, "    listen", "\tlisten");
            edge.run("divvy check").1
        }
        "a key misspelt" => {
            with(edge, "listen", "lisen");
            edge.run("divvy check").1
        }
        "a vip without a port" => {
            with(edge, "10.0.0.1:80", "10.0.0.253");
            edge.run("divvy check").1
        }
        "an interface misspelt, at `divvy run`" => {
            with(edge, "eth0", "ehto");
            edge.run("divvy run").1
        }
        "the same, by `divvy doctor`" => {
            with(edge, "eth0", "ehto");
            edge.run("divvy doctor").1
        }
        "the daemon does not run" => edge.run("divvy status").1,
        "it runs already" => {
            running(edge);
            edge.run("divvy run").1
        }
        "not root, at `divvy run`" => {
            edge.run("setpriv --inh-caps=-all --bounding-set=-all divvy run")
                .1
        }
        "not root, at `divvy status`" => {
            running(edge);
            edge.run("setpriv --reuid=65534 --regid=65534 --clear-groups divvy status")
                .1
        }
        "a server of the host on the vip's port" => {
            let _server =
                (lab.balancer()).inside(|| TcpListener::bind("0.0.0.0:80").expect("free"));
            edge.run("divvy doctor").1
        }
        "a vip that nobody leads here" => {
            with(edge, "10.0.0.1:80", "10.0.0.253:80");
            edge.run("divvy doctor").1
        }
        "the kernel does not forward" => {
            lab.balancer().set("ipv4/ip_forward", "0");
            let (_, said) = edge.run("divvy doctor");
            lab.balancer().set("ipv4/ip_forward", "1");
            said
        }
        "a server that is off" => {
            with(edge, "10.0.0.11", "10.0.0.99");
            edge.run("divvy doctor").1
        }
        "the example's servers left as they were" => {
            with(edge, "10.0.0.11", "192.0.2.11");
            edge.run("divvy doctor").1
        }
        "a file that others may write" => {
            edge.must(&format!("chmod 666 {FILE}"));
            let (_, said) = edge.run("divvy run");
            edge.must(&format!("chmod 644 {FILE}"));
            said
        }
        other => panic!("nobody knows how to take this turn: {other}"),
    }
}
