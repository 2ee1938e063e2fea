//! What the host lacks is named in one line with its remedy, with the agreed exit code, and nothing
//! is left changed.

use std::{net::TcpListener, process::Output};

use lb_tests::lab::{Divvy, Lab};

/// The one line of an error.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("divvy: "))
        .collect();
    assert_eq!(errors.len(), 1, "not one line: {text}");
    errors[0].to_owned()
}

fn refused(divvy: &Divvy, code: i32, words: &[&str]) {
    let output = divvy.run_to_its_end();
    let line = said(&output);
    assert_eq!(output.status.code(), Some(code), "{line}");
    for word in words {
        assert!(line.contains(word), "{word} is missing in: {line}");
    }
}

#[test]
fn what_the_host_lacks() {
    let lab = Lab::routed("lacks").backends(1).start();
    let good = lab.config().yaml();
    let untouched = |divvy: &Divvy| {
        assert!(
            !divvy.run_dir().join("bpf/v1").exists(),
            "something is pinned"
        );
        let links = lab.balancer().must_run(&["ip", "link"]);
        assert!(!links.contains("xdp"), "something is attached: {links}");
    };

    let divvy = lab.divvy_not_running(&good.replace("interfaces: [", "interfaces: [nosuch0, "));
    refused(
        &divvy,
        3,
        &["nosuch0", "interfaces[0]", "does not exist", "lo"],
    );
    untouched(&divvy);

    let divvy = lab.divvy_not_running("");
    refused(&divvy, 3, &["empty"]);
    untouched(&divvy);

    let divvy = lab.divvy_not_running(&good);
    std::fs::remove_file(divvy.config_path()).expect("removed");
    refused(&divvy, 3, &["divvy.yaml", "No such file"]);
    untouched(&divvy);

    let divvy = lab.divvy_not_running(&format!("metrics: \"127.0.0.1:9200\"\n{good}"));
    let taken = lab
        .balancer()
        .inside(|| TcpListener::bind("127.0.0.1:9200"));
    refused(&divvy, 1, &["127.0.0.1:9200", "metrics", "in use"]);
    untouched(&divvy);
    drop(taken);

    // A run directory where no folder can be made.
    let divvy = lab.divvy_not_running(&good);
    std::fs::write(divvy.run_dir(), "a file").expect("written");
    refused(&divvy, 1, &["run", "--run-dir"]);
}

#[test]
fn a_second_daemon_on_the_same_folder() {
    let lab = Lab::routed("second").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    let output = divvy.run_to_its_end();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("another divvy runs"),
        "{}",
        said(&output)
    );
    // The first one is none the worse.
    divvy.wait_for_all_up();
}

#[test]
fn no_root() {
    let lab = Lab::routed("no_root").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let output = divvy.run_without_rights();
    assert_eq!(output.status.code(), Some(1));
    let line = said(&output);
    assert!(line.contains("CAP_BPF") && line.contains("root"), "{line}");
}

#[test]
fn a_foreign_pin() {
    let lab = Lab::routed("foreign").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    assert!(divvy.terminate().success());
    // Another map of the wrong kind in its place.
    let pins = divvy.run_dir().join("bpf/v1");
    std::fs::remove_file(pins.join("snat")).expect("unpinned");
    std::fs::rename(pins.join("rst_budget"), pins.join("snat")).expect("renamed");
    let output = divvy.run_to_its_end();
    assert_eq!(output.status.code(), Some(1));
    let line = said(&output);
    assert!(
        line.contains("snat") && line.contains("divvy detach"),
        "{line}"
    );
    divvy.must(&["detach"]);
    divvy.start_again();
    divvy.wait_for_all_up();
}

#[test]
fn another_xdp_program_on_the_interface() {
    let lab = Lab::routed("busy").backends(1).start();
    let first = lab.divvy(&lab.config());
    let second = lab.divvy_not_running(&lab.config().yaml());
    refused(&second, 1, &["another XDP program", "ip link set dev"]);
    first.wait_for_all_up();
}
