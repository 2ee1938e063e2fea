//! What tests of refusals ask of each.

use std::{fs, path::PathBuf, process::Output};

use lb_tests::lab::{Divvy, Lab};

/// The errors that `divvy` printed, one a line. Beside them it printed nothing but its log.
pub fn said(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let is_log = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let lines = text.lines().filter(|line| !is_log(line));
    lines
        .map(|line| {
            assert!(line.starts_with("divvy: "), "{line:?} stands in {text}");
            line.to_owned()
        })
        .collect()
}

/// It ended with this exit code and one line that holds all these words.
#[track_caller]
pub fn refused(output: &Output, code: i32, words: &[&str]) {
    let lines = said(output);
    assert_eq!(lines.len(), 1, "not one line: {lines:#?}");
    assert_eq!(output.status.code(), Some(code), "{}", lines[0]);
    for word in words {
        assert!(
            lines[0].contains(word),
            "`{word}` is missing in: {}",
            lines[0]
        );
    }
}

/// As if it had never been started: no run directory, no mount, no program on an interface.
#[track_caller]
pub fn untouched(lab: &Lab, divvy: &Divvy) {
    let run_dir = divvy.run_dir();
    assert!(!run_dir.exists(), "{} is left", run_dir.display());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("proc is mounted");
    let run_dir = run_dir.display().to_string();
    assert!(!mounts.contains(&run_dir), "a mount is left: {mounts}");
    let links = lab.balancer().must_run(&["ip", "link"]);
    assert!(!links.contains("xdp"), "something is attached: {links}");
    let settings = accept_local(lab);
    assert!(
        settings.iter().all(|(_, value)| value == "0"),
        "a setting is left: {settings:?}"
    );
}

/// `net.ipv4.conf.*.accept_local` in the balancer, which a daemon sets where it attaches.
pub fn accept_local(lab: &Lab) -> Vec<(PathBuf, String)> {
    lab.balancer().inside(|| {
        let interfaces = fs::read_dir("/proc/sys/net/ipv4/conf").expect("proc is mounted");
        let mut settings: Vec<_> = interfaces
            .flatten()
            .map(|entry| entry.path().join("accept_local"))
            .map(|path| {
                let value = fs::read_to_string(&path).expect("every interface has it");
                (path, value.trim().to_owned())
            })
            .collect();
        settings.sort();
        settings
    })
}
