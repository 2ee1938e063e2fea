//! A start that fails half-way takes back what it made, and leaves what was there before it.

use std::fs;

use lb_tests::lab::{Lab, Refusal, bpf};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::statfs::statfs,
};

use crate::refusal::{accept_local, refused};

#[test]
fn of_two_interfaces_one_is_taken() {
    let lab = Lab::routed("busy").backends(1).start();
    let good = lab.config().yaml();
    let only_last = good.replace("interfaces: [client, ", "interfaces: [");
    assert_ne!(only_last, good);
    let first = lab.divvy_not_running(&only_last);
    first.start_again();
    let links = || lab.balancer().must_run(&["ip", "-o", "link"]);
    let before = (accept_local(&lab), links());

    let second = lab.divvy_not_running(&good);
    refused(
        &second.run_to_its_end(),
        1,
        &[
            "another XDP program",
            "web-1",
            "ip link set dev web-1 xdp off",
        ],
    );
    assert!(!second.run_dir().exists(), "its run directory is left");
    assert_eq!((accept_local(&lab), links()), before);
    first.wait_for_all_up();
}

#[test]
fn a_bpffs_and_a_folder_of_the_operators_stay() {
    let lab = Lab::routed("operators").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let bpffs = divvy.run_dir().join("bpf");
    fs::create_dir_all(&bpffs).expect("made");
    mount(
        Some("bpf"),
        &bpffs,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .expect("mounted");
    let before = statfs(&bpffs).expect("it is there").filesystem_id();
    fs::create_dir(bpffs.join("mine")).expect("made");
    let refusal = Refusal::of_bpf_command(bpf::LINK_CREATE, Errno::EPERM);
    refused(&divvy.run_refused(refusal), 1, &["does not permit"]);
    assert_eq!(statfs(&bpffs).expect("it is there").filesystem_id(), before);
    assert!(bpffs.join("mine").exists(), "the operator's folder is gone");
    assert!(
        !bpffs
            .join(format!("v{}", lb_common::LAYOUT_VERSION))
            .exists(),
        "something is pinned"
    );
    assert!(!divvy.run_dir().join("lock").exists(), "the lock is left");
}

#[test]
fn what_an_earlier_daemon_left_runs_on() {
    let lab = Lab::routed("earlier").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    divvy.kill9();
    let pinned = || {
        let entries = fs::read_dir(divvy.pins()).expect("it is there");
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = pinned();
    for refusal in [
        Refusal::of_bpf(Errno::ENOSYS),
        Refusal::of_bpf_command(bpf::PROG_LOAD, Errno::EPERM),
        Refusal::of_bpf_command(bpf::MAP_LOOKUP_BATCH, Errno::EINVAL),
    ] {
        let output = divvy.run_refused(refusal);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(pinned(), before);
        let answers = lab.client().get_many(10, lb_tests::lab::URL4);
        assert_eq!(answers.answered(), 10, "{answers}");
    }
    divvy.start_again();
    divvy.wait_for_all_up();
}
