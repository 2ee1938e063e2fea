//! Files and texts that are no configuration at all: one error each, and a fast one.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    super::{
        MAX_FILE_BYTES,
        field::MAX_TOLD,
        load,
        shape::{MARKS, MAX_MARKS, MAX_VALUES},
    },
    GOOD, errors, good,
};

#[test]
fn what_is_no_document_is_one_error() {
    for (yaml, expected) in [
        ("", "f.yaml: is empty; it needs `interfaces` and `services`"),
        (
            "# nothing\n",
            "f.yaml: is empty; it needs `interfaces` and `services`",
        ),
        (
            "---\n~\n",
            "f.yaml: is empty; it needs `interfaces` and `services`",
        ),
        ("hello", "f.yaml: is text; give a mapping of keys to values"),
        (
            "a: 1\n---\nb: 2",
            "f.yaml: goes on after the end of its YAML document; correct the YAML",
        ),
        (
            "a: [1, 2\nb: 3",
            "f.yaml:2: did not find expected ',' or ']' at line 2 column 2, while parsing a flow \
             sequence at line 1 column 4; correct the YAML",
        ),
        (
            "a:\n\t- 1",
            "f.yaml:2: a tab stands where YAML wants spaces; indent with spaces only",
        ),
        (
            "a:\n  b: 1\n \t c: 2",
            "f.yaml:3: a tab stands where YAML wants spaces; indent with spaces only",
        ),
        (
            "a: &a [*a]",
            "f.yaml:1: recursion limit exceeded at line 1 column 4; correct the YAML",
        ),
        (
            "a: \0",
            "f.yaml:1: control characters are not allowed at position 3; correct the YAML",
        ),
    ] {
        assert_eq!(errors(yaml), expected);
    }
}

#[test]
fn what_is_made_to_exhaust_the_reader_is_refused_fast() {
    let start = Instant::now();
    let too_many = format!(
        "f.yaml: holds more than {MAX_VALUES} values once each alias (`*name`) is replaced by \
         what it stands for; make it smaller"
    );
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let list = format!(
        "a: &a [{}]\nb: [{}]\n",
        "x, ".repeat(9_999),
        "*a, ".repeat(9_999)
    );
    let text = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(999_999),
        "*a, ".repeat(9_999)
    );
    let values = "- 1\n".repeat(MAX_VALUES);
    for yaml in [laughs, list, text, values] {
        assert_eq!(errors(&yaml), too_many);
    }
    for open in ["[", "{a: ", "- ", "? ", "[{"] {
        let expected = "f.yaml:1: is nested more than 64 deep; the format needs six";
        assert_eq!(errors(&open.repeat(100_000)), expected);
    }
    let marks = "[a:,a:,\n".repeat(MAX_MARKS / 5 + 1);
    assert_eq!(
        errors(&marks),
        format!(
            "f.yaml: holds more than {MAX_MARKS} brackets, commas, colons and the like; make it \
             smaller"
        )
    );
    let large = " ".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(
        errors(&large),
        "f.yaml: is larger than 4 MiB; is it a configuration?"
    );
    // Seconds where the limits work, hours where they do not.
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_largest_configuration_is_no_excess() {
    let services: Vec<String> = (0..1024)
        .map(|service| {
            let backends: Vec<String> = (0..16)
                .map(|backend| {
                    format!(
                        r#"{{"name":"backend-{backend}","address":"[2001:db8:1:2:3:4:{service:x}:{backend:x}]:8080","weight":10,"backup":false}}"#
                    )
                })
                .collect();
            let listen: Vec<String> = (1..=4)
                .map(|port| format!(r#""[2001:db8:9:9:9:9:9:{service:x}]:{port}""#))
                .collect();
            format!(
                r#"{{"name":"service-{service}","listen":[{}],"protocol":"tcp","mode":"nat","scheduler":"maglev","on_down":"reset","timeouts":{{"half_open":"60s","established":"900s","fin":"120s","reset":"10s"}},"health_check":{{"type":"http","path":"/","host":"a.example.com","expect":"200-299","port":80,"interval":"2s","timeout":"1s","rise":2,"fall":3,"jitter":"10%"}},"backends":[{}]}}"#,
                listen.join(","),
                backends.join(",")
            )
        })
        .collect();
    let json = format!(
        r#"{{"interfaces":["eth0"],"services":[{}]}}"#,
        services.join(",")
    );
    assert_eq!(good(&json).services.len(), 1024);
    let marks = (json.bytes().filter(|byte| MARKS.contains(byte))).count();
    assert!(marks > MAX_MARKS * 3 / 4, "the limit may be lower: {marks}");
}

#[test]
fn of_very_many_problems_the_first_are_told_and_the_rest_counted() {
    let yaml = format!("{GOOD}{}", "  - {}\n".repeat(10_000));
    let text = errors(&yaml);
    assert_eq!(text.lines().count(), MAX_TOLD + 1);
    // Each lacks name, listen and backends, and there are 8,977 services too many.
    assert!(
        text.ends_with("\nf.yaml: has 29001 more problems; correct these first"),
        "{}",
        text.lines().last().unwrap_or_default()
    );
}

#[test]
fn messages_stay_on_one_line_and_short() {
    let yaml = format!(
        "\"a\\n\\u2028{}\": 1\ninterfaces: [\"b\\r\\0\"]\n",
        "k".repeat(900)
    );
    let text = errors(&yaml);
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().all(|line| line.len() < 300), "{text}");
}

#[test]
fn a_file_is_loaded_or_the_reason_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A long name, to be repeated in full.
    let path = folder.path().join("divvy-".repeat(20) + ".yaml");
    let name = path.display().to_string();
    let error = |path: &Path| load(path).expect_err("refused").to_string();

    assert_eq!(
        error(&path),
        format!(
            "{name}: cannot be read: No such file or directory (os error 2); \
             write it (`divvy init` does), or name another with --config"
        )
    );
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(load(&path).unwrap(), good(GOOD));
    std::fs::write(&path, b"interfaces:\n  - \"eth\xff\"\n").unwrap();
    assert_eq!(
        error(&path),
        format!("{name}:2: is not UTF-8; save the file in that encoding")
    );
    std::fs::write(&path, vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
    assert!(error(&path).ends_with("is larger than 4 MiB; is it a configuration?"));
    assert!(error(folder.path()).ends_with("Is a directory (os error 21); name a file in it"));
    assert!(error(Path::new("/dev/zero")).contains("is larger than"));
}
