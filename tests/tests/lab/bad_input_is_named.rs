//! What the host lacks is named in one line with its remedy, with the agreed exit code, and nothing
//! is left changed.

use std::net::TcpListener;

use lb_tests::lab::{Lab, WITHOUT_RIGHTS};

use crate::refusal::{refused, untouched};

#[test]
fn what_the_host_lacks() {
    let lab = Lab::routed("lacks").backends(1).start();
    let good = lab.config().yaml();
    let divvy = lab.divvy_not_running(&good.replace("interfaces: [", "interfaces: [nosuch0, "));
    refused(
        &divvy.run_to_its_end(),
        3,
        &["nosuch0", "interfaces[0]", "does not exist", "lo"],
    );
    untouched(&lab, &divvy);

    let divvy = lab.divvy_not_running(&format!("metrics: \"127.0.0.1:9200\"\n{good}"));
    let taken = lab
        .balancer()
        .inside(|| TcpListener::bind("127.0.0.1:9200"));
    refused(
        &divvy.run_to_its_end(),
        1,
        &["127.0.0.1:9200", "metrics", "in use", "free the port"],
    );
    untouched(&lab, &divvy);
    drop(taken);

    // A run directory where no folder can be made.
    let divvy = lab.divvy_not_running(&good);
    std::fs::write(divvy.run_dir(), "a file").expect("written");
    refused(
        &divvy.run_to_its_end(),
        1,
        &["/run: it is a file", "--run-dir"],
    );
    let kept = std::fs::read_to_string(divvy.run_dir());
    assert_eq!(kept.expect("still a file"), "a file");
}

#[test]
fn a_second_daemon_on_the_same_folder() {
    let lab = Lab::routed("second").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    refused(
        &divvy.run_to_its_end(),
        1,
        &["another divvy runs", "stop it first", "--run-dir"],
    );
    // The first one is none the worse.
    divvy.wait_for_all_up();
}

#[test]
fn no_root() {
    let lab = Lab::routed("no_root").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    refused(
        &divvy.run_without_rights(),
        1,
        &["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF", "run as root"],
    );
    untouched(&lab, &divvy);
    // Looking at a file takes no rights.
    divvy.must(&["check"]);
    let output = divvy.to_its_end("check", &WITHOUT_RIGHTS);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_foreign_pin() {
    let lab = Lab::routed("foreign").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    assert!(divvy.terminate().success());
    // Another map of the wrong kind in its place.
    let pins = divvy.pins();
    std::fs::remove_file(pins.join("snat")).expect("unpinned");
    std::fs::rename(pins.join("budgets"), pins.join("snat")).expect("renamed");
    refused(&divvy.run_to_its_end(), 1, &["snat", "divvy detach"]);
    divvy.must(&["detach"]);
    divvy.start_again();
    divvy.wait_for_all_up();
}
