//! A file that is no configuration is refused by `check` and by `run`: with exit code 3, in a line
//! for each problem that names file, line and key and says what to do, and nothing is changed.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

use lb_tests::lab::{Divvy, Lab, WITHOUT_RIGHTS};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::refusal::{refused, said, untouched};

/// Both verbs say so of the file as a whole, or of a place in it.
#[track_caller]
fn is_named(lab: &Lab, divvy: &Divvy, words: &[&str]) {
    let file = format!("divvy: {}:", divvy.config_path().display());
    let words: Vec<&str> = words.iter().copied().chain([&*file]).collect();
    for verb in ["check", "run"] {
        refused(&divvy.to_its_end(verb, &[]), 3, &words);
        untouched(lab, divvy);
    }
}

#[test]
fn what_is_wrong_in_it() {
    let lab = Lab::routed("bad_file").backends(1).start();
    let good = lab.config().yaml();
    let with = |old: &str, new: &str| {
        let bad = good.replacen(old, new, 1);
        assert_ne!(bad, good, "{old} is not in {good}");
        bad
    };
    let cases: [(String, &[&str]); 11] = [
        (
            with("10.0.1.2:80", "10.0.1.256:80"),
            &[
                ":9: services[0].backends[0].address: `10.0.1.256:80` is no address",
                "write for example 10.0.0.11:8080",
            ],
        ),
        (
            with("203.0.113.10:80", "203.0.113.10"),
            &[
                ":7: services[0].listen[0]: `203.0.113.10` has no port",
                "203.0.113.10:80",
            ],
        ),
        (
            with("10.0.1.2:80", "web-1.example.com:80"),
            &[":9: services[0].backends[0].address: ", "write for example"],
        ),
        (
            with("203.0.113.10:80", "203.0.113.10:80000"),
            &[
                ":7: services[0].listen[0]: `203.0.113.10:80000` does not end in a port",
                "use 1-65535",
            ],
        ),
        (
            with("203.0.113.10:80", "203.0.113.10:8100-8000"),
            &[":7: services[0].listen[0]: ", "put the lower port first"],
        ),
        (
            with("    listen:", "    on_donw: keep\n    listen:"),
            &[":7: services[0].on_donw: ", "not a known key", "`on_down`"],
        ),
        (
            with("defaults:", "colour: blue\ndefaults:"),
            &[":2: colour: is not a known key; use one of interfaces,"],
        ),
        (
            with(
                "[2001:db8:ffff::10]:80",
                "203.0.113.10:80\", \"[2001:db8::1]:80",
            ),
            &[
                ":11: services[1].listen[0]: `203.0.113.10:80` is also services[0].listen[0]",
                "keep one",
            ],
        ),
        (
            with("interval: 200ms", "interval: 0s"),
            &[
                ":4: defaults.health_check.interval: 0s is out of range",
                "use 100ms-1h",
            ],
        ),
        (
            with("interval: 200ms", "interval: 0"),
            &[
                ":4: defaults.health_check.interval: `0` has no unit",
                "for example 2s",
            ],
        ),
        (with("\n    listen: [", "\n    listen: [["), &[": ", "YAML"]),
    ];
    for (yaml, words) in cases {
        let divvy = lab.divvy_not_running(&yaml);
        is_named(&lab, &divvy, words);
    }
}

#[test]
fn all_that_is_wrong_at_once() {
    let lab = Lab::routed("all_wrong").backends(1).start();
    let bad = (lab.config().yaml())
        .replace("interval: 200ms", "interval: 0s")
        .replace("10.0.1.2:80", "10.0.1:80")
        .replace("defaults:", "colour: blue\ndefaults:");
    let divvy = lab.divvy_not_running(&bad);
    for verb in ["check", "run"] {
        let output = divvy.to_its_end(verb, &[]);
        assert_eq!(output.status.code(), Some(3));
        let lines = said(&output);
        let places = [
            "2: colour: ",
            "5: defaults.health_check.interval: ",
            "10: services[0].backends[0].address: ",
        ];
        assert_eq!(lines.len(), places.len(), "{lines:#?}");
        for (line, place) in lines.iter().zip(places) {
            let start = format!("divvy: {}:{place}", divvy.config_path().display());
            assert!(line.starts_with(&start), "{start} does not begin {line}");
        }
        untouched(&lab, &divvy);
    }
}

#[test]
fn that_it_cannot_be_read() {
    let lab = Lab::routed("unreadable").backends(1).start();
    let good = lab.config().yaml();
    // What is made in the file's place, and what is said of it.
    type Make<'a> = &'a dyn Fn(&Divvy);
    let cases: [(Make<'_>, &[&str]); 7] = [
        (&|_| {}, &["No such file", "write it", "--config"]),
        (
            &|divvy| fs::create_dir(divvy.config_path()).expect("made"),
            &["Is a directory", "name a file"],
        ),
        (
            &|divvy| divvy.write_config(""),
            &["is empty", "`interfaces` and `services`"],
        ),
        (
            &|divvy| divvy.write_config("# later\n"),
            &["is empty", "`interfaces` and `services`"],
        ),
        (
            &|divvy| fs::write(divvy.config_path(), b"# one\n# caf\xe9\n").expect("written"),
            &[".yaml:2: is not UTF-8", "save the file in that encoding"],
        ),
        // A pipe without a writer would be waited for for ever.
        (
            &|divvy| mkfifo(divvy.config_path(), Mode::S_IRWXU).expect("made"),
            &["is empty", "`interfaces` and `services`"],
        ),
        (
            &|divvy| drop(UnixListener::bind(divvy.config_path()).expect("bound")),
            &["cannot be read", "check the file"],
        ),
    ];
    for (make, words) in cases {
        let divvy = lab.divvy_not_running(&good);
        fs::remove_file(divvy.config_path()).expect("removed");
        make(&divvy);
        is_named(&lab, &divvy, words);
    }

    // Root's name alone does not open what belongs to another.
    let divvy = lab.divvy_not_running(&good);
    fs::set_permissions(divvy.config_path(), Permissions::from_mode(0o600)).expect("set");
    std::os::unix::fs::chown(divvy.config_path(), Some(65_534), None).expect("given away");
    for verb in ["check", "run"] {
        let output = divvy.to_its_end(verb, &WITHOUT_RIGHTS);
        refused(
            &output,
            3,
            &["divvy.yaml: cannot be read: Permission denied", "root"],
        );
        untouched(&lab, &divvy);
    }
}
