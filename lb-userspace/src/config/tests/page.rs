//! `docs/config.md` is made from the schema, and what it says is what the parser does: defaults, ranges and
//! examples are each tried. `cargo xtask docs` writes it anew.

mod keys;
mod render;

use std::{env, fs, path::PathBuf};

use serde_json::{Value, json};

use self::keys::{Key, keys};
use super::*;

/// Set by `cargo xtask docs`.
const WRITE: &str = "DIVVY_WRITE_DOCS";

#[test]
fn the_page_is_what_the_schema_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let page = render::page(&keys());
    if env::var_os(WRITE).is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/config.md is not current: run `cargo xtask docs`, and look at what it changed"
    );
}

#[test]
fn every_key_is_described() {
    for key in keys() {
        assert!(!key.about().is_empty(), "{} has no description", key.path);
        assert!(
            key.is_section() || key.example().is_some(),
            "{} has no example",
            key.path
        );
        let words = key.words().len();
        if words > 0 {
            assert_eq!(
                key.words_told().len(),
                words,
                "{}: a word without meaning",
                key.path
            );
        }
    }
}

/// A file with what this key needs to have an effect.
fn base(key: &Key) -> Value {
    let mut file = json!({
        "interfaces": ["eth0"],
        "services": [{
            "name": "web",
            "listen": ["203.0.113.10:80"],
            "backends": [{ "name": "web-1", "address": "10.0.0.11:80" }],
        }],
    });
    let service = &mut file["services"][0];
    let path = key.path.as_str();
    if path.contains(".tunnel.") {
        service["mode"] = json!("gue");
    } else if path.ends_with(".through") {
        service["mode"] = json!("dsr");
    } else if path.contains(".affinity.") && !path.ends_with(".type") {
        service["affinity"] = json!({ "type": "client_ip" });
    } else if path.contains(".damping.") {
        service["health_check"]["damping"] = json!({ "changes": 2, "within": "9s", "hold": "9s" });
    }
    if let Some(kind) = key.of().first() {
        let mut check = json!({ "type": kind });
        if *kind == "udp" {
            check["send"] = json!("a question");
        }
        if *kind == "https" && !path.ends_with(".verify") {
            check["verify"] = json!(false);
        }
        service["health_check"] = check;
    }
    file
}

/// The same with this value at the key.
fn with(key: &Key, value: &Value) -> Value {
    let mut file = base(key);
    let mut place = &mut file;
    for name in key.path.split('.') {
        place = match name.strip_suffix("[]") {
            Some(list) => &mut place[list][0],
            None => &mut place[name],
        };
    }
    *place = value.clone();
    file
}

/// What the parser makes of a file: JSON is YAML.
fn parsed(file: &Value) -> Result<Config, String> {
    parse(&file.to_string(), "f.yaml").map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_those_of_the_parser() {
    let mut tried = 0;
    for key in keys() {
        let Some(default) = key.default() else {
            continue;
        };
        let (without, given) = (parsed(&base(&key)), parsed(&with(&key, &default)));
        assert_eq!(without, given, "{}: the default is not {default}", key.path);
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn the_examples_are_good_and_change_something() {
    for key in keys() {
        let Some(example) = key.example() else {
            continue;
        };
        let (without, given) = (parsed(&base(&key)), parsed(&with(&key, &example)));
        match given {
            Err(words) if key.is_file() => assert!(words.contains("cannot read"), "{words}"),
            // Names and addresses of the file itself stay what they are.
            Ok(given) if key.is_required() => drop(given),
            Ok(given) => assert_ne!(Ok(given), without, "{}: {example} is the default", key.path),
            Err(words) => panic!("{}: {example}: {words}", key.path),
        }
    }
}

#[test]
fn the_ranges_are_those_of_the_parser() {
    let mut tried = 0;
    for key in keys() {
        let Some((least, most)) = key.range() else {
            continue;
        };
        let beyond = match (&most, most.as_i64()) {
            (_, Some(number)) => json!(number + 1),
            (Value::String(text), _) if text.ends_with('%') => json!("101%"),
            _ => json!("1000days"),
        };
        let text = |value: &Value| value.to_string().replace('"', "");
        let words = parsed(&with(&key, &beyond)).expect_err(&key.path);
        let expected = format!("use {}-{}", text(&least), text(&most));
        // To the end of the line: `1h` is not `1h 1m`.
        assert!(
            words.lines().any(|line| line.ends_with(&expected)),
            "{}: {expected} is not {words}",
            key.path
        );
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
}
