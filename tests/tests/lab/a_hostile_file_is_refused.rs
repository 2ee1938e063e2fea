//! A file that is made to exhaust its reader is refused in one line, with little memory.

use std::{fmt::Write as _, fs, os::unix::fs::symlink};

use lb_tests::lab::Lab;

use crate::refusal::{refused, said, untouched};

/// Address space of the process, bytes. The worst file that is read at all takes 282 MiB, by a
/// table that doubles; without limits it takes over 1 GiB, or all there is.
const ADDRESS_SPACE: usize = 768 << 20;
const MIB: usize = 1 << 20;

/// Ten lists, each of nine times the one before: a thousand million values.
fn laughs() -> String {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(yaml, "a{level}: &a{level} [{aliases}]").expect("a string takes all");
    }
    yaml
}

/// The same by merge keys.
fn merges() -> String {
    let mut yaml = "a0: &a0 { k: x }\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        writeln!(
            yaml,
            "a{level}: &a{level} {{ <<: [*a{before}, *a{before}], k{level}: *a{before} }}"
        )
        .expect("a string takes all");
    }
    yaml
}

fn indented() -> String {
    (0..2_000).map(|depth| " ".repeat(depth) + "a:\n").collect()
}

#[test]
fn whatever_is_in_it() {
    let lab = Lab::routed("hostile").backends(1).start();
    let fill = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(MIB), fill("*a, ", 40_000));
    let (deep, values) = (
        "is nested more than 64 deep",
        "holds more than 300000 values",
    );
    let marks = "holds more than 750000 brackets, commas, colons";
    let cases: [(&str, String, &str); 16] = [
        ("laughs", laughs(), values),
        ("merges", merges(), values),
        ("one long text again and again", text, values),
        ("{a: ", fill("{a: ", MIB), deep),
        ("{a: , more", fill("{a: ", 4 * MIB), marks),
        ("[", fill("[", MIB / 4), deep),
        ("- ", fill("- ", 4 * MIB - 2), deep),
        ("? ", fill("? ", MIB / 4), deep),
        ("indented", indented(), deep),
        ("one list", format!("[{}", fill("a:,", 4 * MIB - 3)), marks),
        (
            "as many marks as are read",
            format!("[{}", fill("a:,", 1_120_000)),
            values,
        ),
        ("list after list", fill("[a:,a:,\n", 4 * MIB), marks),
        ("commas", format!("a: [{}", fill("1,", 900_000)), values),
        ("keys", fill("a: 1\n", 2 * MIB), values),
        ("no documents", fill("---\n", 4 * MIB), values),
        ("spaces", " ".repeat(4 * MIB + 1), "is larger than 4 MiB"),
    ];
    let limit = format!("--as={ADDRESS_SPACE}");
    for (name, yaml, words) in cases {
        let divvy = lab.divvy_not_running(&yaml);
        for verb in ["check", "run"] {
            println!("{verb}: {name}");
            let output = divvy.to_its_end(verb, &["prlimit", &limit]);
            refused(&output, 3, &["divvy.yaml:", words]);
            untouched(&lab, &divvy);
        }
    }
}

#[test]
fn however_many_problems_it_has() {
    let lab = Lab::routed("problems").backends(1).start();
    let keys: Vec<String> = (0..100_000).map(|n| format!("key{n}: 1\n")).collect();
    let divvy = lab.divvy_not_running(&keys.concat());
    let output = divvy.to_its_end("check", &["prlimit", &format!("--as={ADDRESS_SPACE}")]);
    assert_eq!(output.status.code(), Some(3));
    let lines = said(&output);
    assert_eq!(lines.len(), 1_001);
    let rest = "divvy.yaml: has 99002 more problems; correct these first";
    assert!(lines[1_000].ends_with(rest), "{}", lines[1_000]);
}

#[test]
fn even_without_an_end() {
    let lab = Lab::routed("endless").backends(1).start();
    for device in ["/dev/zero", "/dev/full"] {
        let divvy = lab.divvy_not_running("");
        fs::remove_file(divvy.config_path()).expect("removed");
        symlink(device, divvy.config_path()).expect("linked");
        for verb in ["check", "run"] {
            let limit = format!("--as={ADDRESS_SPACE}");
            let output = divvy.to_its_end(verb, &["prlimit", &limit]);
            refused(&output, 3, &["divvy.yaml: is larger than 4 MiB"]);
            untouched(&lab, &divvy);
        }
    }
}
