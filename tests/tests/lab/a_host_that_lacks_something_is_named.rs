//! On a kernel that has no bpffs, no eBPF, not all of it, or does not permit it, the daemon ends
//! with exit code 1 and one line that blames the right thing, and nothing is changed.

use lb_tests::lab::{Lab, Refusal, bpf};
use nix::errno::Errno;

use crate::refusal::{refused, untouched};

const OLD_KERNEL: &str = "divvy needs Linux 6.1 or newer";
const FORBIDDEN: &str = "the kernel does not permit eBPF";

#[test]
fn by_name_and_nothing_is_changed() {
    let lab = Lab::routed("lacking").backends(1).start();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is mounted");
    let this = format!("this is Linux {}", release.trim());
    let of = Refusal::of_bpf_command;
    let cases: [(Refusal, &[&str]); 12] = [
        (
            Refusal::of_mount(Errno::ENODEV),
            &["a bpffs", "/run/bpf", "CONFIG_BPF_SYSCALL", &this],
        ),
        (
            Refusal::of_mount(Errno::EPERM),
            &[
                "cannot mount a bpffs at",
                "/run/bpf",
                "CAP_SYS_ADMIN",
                "mount -t bpf bpf",
            ],
        ),
        (
            Refusal::of_bpf(Errno::ENOSYS),
            &["bpf(2)", "CONFIG_BPF_SYSCALL", OLD_KERNEL, &this],
        ),
        (Refusal::of_bpf(Errno::EPERM), &[FORBIDDEN, "seccomp"]),
        (
            of(bpf::PROG_LOAD, Errno::EINVAL),
            &["programs of the type XDP", OLD_KERNEL, &this],
        ),
        (of(bpf::PROG_LOAD, Errno::EPERM), &[FORBIDDEN, "seccomp"]),
        (
            of(bpf::MAP_CREATE, Errno::EINVAL),
            &["maps of the type Array", OLD_KERNEL, &this],
        ),
        (
            of(bpf::MAP_CREATE, Errno::ENOMEM),
            &["maps of the type Array", "Cannot allocate memory", "dmesg"],
        ),
        (of(bpf::OBJ_PIN, Errno::EPERM), &[FORBIDDEN]),
        // A kernel before 5.6; by then everything has been pinned.
        (
            of(bpf::MAP_LOOKUP_BATCH, Errno::EINVAL),
            &["the table ", "Invalid argument", OLD_KERNEL, &this],
        ),
        // A kernel before 5.9; by then the tables have been filled.
        (
            of(bpf::LINK_CREATE, Errno::EINVAL),
            &["cannot attach XDP to ", "Invalid argument", "5.9"],
        ),
        (of(bpf::LINK_CREATE, Errno::EPERM), &[FORBIDDEN]),
    ];
    for (refusal, words) in cases {
        println!("{refusal:?}");
        let divvy = lab.divvy_not_running(&lab.config().yaml());
        refused(&divvy.run_refused(refusal), 1, words);
        untouched(&lab, &divvy);
    }
}

#[test]
fn and_a_check_does_not_need_it() {
    let lab = Lab::routed("unneeded").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    for refusal in [
        Refusal::of_mount(Errno::ENODEV),
        Refusal::of_bpf(Errno::ENOSYS),
    ] {
        let output = divvy.refused("check", refusal);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        untouched(&lab, &divvy);
    }
}
