//! The JSON Schema and the validator agree.

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;

use super::{super::SCHEMA, *};

/// What no schema can tell: rules between values, other files, how large a quantity with a unit is, and
/// what an address is good for. Each is a part of the validator's words.
const BEYOND: &[&str] = &[
    " is also ",
    "is empty; put the lower port first",
    "is out of range, use",
    "which stands for no host",
    "which no other host reaches",
    "is a link-local address",
    "is a multicast address",
    "is the broadcast address",
    "no backend of the service is",
    "no vip of the service",
    "but every vip is",
    "has no effect",
    "is only for health checks of type",
    "has nothing to send",
    "cannot read /x",
    "neither lies within the other",
    "shares ports with `snat`",
    "the address is the vip",
    "nothing says on which port it is probed",
];

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).expect("it is JSON");
    jsonschema::meta::validate(&schema).expect("it is a schema");
    jsonschema::validator_for(&schema).expect("it is one that is known")
}

/// The document as an editor has it; `None` where it is no YAML, or has a key twice.
fn document(yaml: &str) -> Option<Value> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(yaml).ok()?;
    value.apply_merge().ok()?;
    serde_json::to_value(value).ok()
}

/// The edits of refusals.txt, each with what the validator says of it.
fn refusals() -> Vec<(String, String)> {
    let cases = include_str!("refusals.txt").split("\n\n");
    (cases.filter(|case| case.starts_with('-')))
        .map(|case| {
            let part = |mark| {
                let lines = case.lines().filter_map(|line| line.strip_prefix(mark));
                lines.collect::<Vec<_>>().join("\n")
            };
            (GOOD.replacen(&part("-"), &part("+"), 1), part("! "))
        })
        .collect()
}

#[test]
fn what_the_validator_refuses_the_schema_refuses_where_a_schema_can() {
    let schema = schema();
    let (mut caught, mut beyond) = (0, 0);
    let mut missed = Vec::new();
    let mut said = String::new();
    for (yaml, words) in refusals() {
        match document(&yaml) {
            Some(document) if schema.is_valid(&document) => {
                beyond += 1;
                said.push_str(&words);
                let known = |line: &str| BEYOND.iter().any(|part| line.contains(part));
                if !words.lines().all(known) {
                    missed.push(words);
                }
            }
            _ => caught += 1,
        }
    }
    println!("{caught} caught, {beyond} beyond a schema");
    assert_eq!(missed, Vec::<String>::new());
    for part in BEYOND {
        assert!(said.contains(part), "nothing says `{part}` any more");
    }
    assert!(caught > beyond, "{caught} caught, {beyond} not");
}

#[test]
fn and_good_files_are_good() {
    let schema = schema();
    for yaml in [GOOD, FULL] {
        let document = document(yaml).expect("it is YAML");
        let errors: Vec<String> = (schema.iter_errors(&document))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{yaml}");
    }
}

/// Each section knows the same keys.
#[test]
fn and_both_know_the_same_keys() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("it is JSON");
    let keys = |pointer: &str| -> Vec<String> {
        let properties = schema.pointer(&format!("{pointer}/properties"));
        let properties = properties.and_then(Value::as_object).expect(pointer);
        let mut keys: Vec<String> = properties.keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    let places = [
        ("", "interfaces: [eth0]", "interfaces: [eth0]\nqqqqqqqq: 1"),
        (
            "/properties/snat",
            "interfaces: [eth0]",
            "interfaces: [eth0]\nsnat: { qqqqqqqq: 1 }",
        ),
        (
            "/properties/limits",
            "interfaces: [eth0]",
            "interfaces: [eth0]\nlimits: { qqqqqqqq: 1 }",
        ),
        (
            "/properties/announce",
            "interfaces: [eth0]",
            "interfaces: [eth0]\nannounce: { qqqqqqqq: 1 }",
        ),
        (
            "/properties/defaults",
            "interfaces: [eth0]",
            "interfaces: [eth0]\ndefaults: { qqqqqqqq: 1 }",
        ),
        (
            "/$defs/timeouts",
            "interfaces: [eth0]",
            "interfaces: [eth0]\ndefaults: { timeouts: { qqqqqqqq: 1 } }",
        ),
        (
            "/$defs/tunnel",
            "interfaces: [eth0]",
            "interfaces: [eth0]\ndefaults: { tunnel: { qqqqqqqq: 1 } }",
        ),
        (
            "/$defs/health_check",
            "interfaces: [eth0]",
            "interfaces: [eth0]\ndefaults: { health_check: { qqqqqqqq: 1 } }",
        ),
        (
            "/$defs/health_check/properties/damping/oneOf/1",
            "interfaces: [eth0]",
            "interfaces: [eth0]\ndefaults: { health_check: { damping: { changes: 2, within: 9s, hold: 9s, qqqqqqqq: 1 } } }",
        ),
        (
            "/$defs/affinity/oneOf/1",
            "interfaces: [eth0]",
            "interfaces: [eth0]\ndefaults: { affinity: { qqqqqqqq: 1 } }",
        ),
        (
            "/$defs/service",
            "  - name: web",
            "  - name: web\n    qqqqqqqq: 1",
        ),
        (
            "/$defs/backend",
            "name: web-1,",
            "name: web-1, qqqqqqqq: 1,",
        ),
    ];
    for (pointer, old, new) in places {
        assert!(GOOD.contains(old), "{old}");
        let words = errors(&GOOD.replacen(old, new, 1));
        let (_, list) = words
            .split_once("is not a known key; use one of ")
            .expect(&words);
        let mut known: Vec<String> = list.split(", ").map(str::to_owned).collect();
        known.sort_unstable();
        assert_eq!(known, keys(pointer), "{pointer}: {words}");
    }
}

proptest! {
    /// Whatever the validator accepts.
    #[test]
    fn and_a_schema_is_never_stricter(config in arbitrary::config()) {
        let yaml = arbitrary::written(&config);
        let document = document(&yaml).expect("it is YAML");
        let schema = schema();
        let errors: Vec<String> = (schema.iter_errors(&document))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        prop_assert!(errors.is_empty(), "{errors:?}\n{yaml}");
    }
}
