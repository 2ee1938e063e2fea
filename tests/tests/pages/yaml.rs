//! Parts of a divvy.yaml are completed to a whole one, and judged as `divvy check` judges.

use lb_userspace::config;
use serde_yaml::{Mapping, Value};

use crate::page::Block;

/// What a file has beside services.
const TOP: [&str; 9] = [
    "interfaces",
    "xdp",
    "snat",
    "limits",
    "metrics",
    "on_exit",
    "watch",
    "announce",
    "defaults",
];
/// A service for what is a part of one, whose backend any mode can have.
const SERVICE: &str = "{ name: web, listen: [\"203.0.113.10:80\"] }";
const BACKENDS: &str = "[{ name: web-1, address: \"10.0.0.11:80\" }]";

/// What is wrong with a block.
pub(crate) fn problem(block: &Block) -> Option<String> {
    let given: Value = match serde_yaml::from_str(&block.text) {
        Ok(given) => given,
        Err(error) => return Some(error.to_string()),
    };
    if block
        .note
        .as_deref()
        .is_some_and(|note| note.starts_with("yaml of "))
    {
        return None;
    }
    let Some(keys) = given.as_mapping() else {
        return Some("it is no section of divvy.yaml".to_owned());
    };
    // As it stands, where it is whole: then the very text is judged.
    let text = match keys.contains_key("interfaces") && keys.contains_key("services") {
        true => block.text.clone(),
        false => serde_yaml::to_string(&completed(keys)).expect("it was YAML"),
    };
    let error = config::parse(&text, "f.yaml").err()?.to_string();
    // Files that an example names are not here.
    let problems: Vec<&str> = (error.lines())
        .filter(|line| !line.contains("cannot read /etc/"))
        .collect();
    (!problems.is_empty()).then(|| problems.join("\n"))
}

fn completed(keys: &Mapping) -> Value {
    let is_top = |key: &Value| {
        key.as_str()
            .is_some_and(|key| key == "services" || is_known(key))
    };
    let mut whole = match keys.keys().all(is_top) {
        true => keys.clone(),
        false => {
            let mut service: Mapping = mapping(SERVICE);
            service.extend(keys.iter().map(|(key, value)| (key.clone(), value.clone())));
            if !service.contains_key("backends") {
                service.insert("backends".into(), value(BACKENDS));
            }
            Mapping::from_iter([("services".into(), Value::Sequence(vec![service.into()]))])
        }
    };
    if !whole.contains_key("interfaces") {
        whole.insert("interfaces".into(), value("[eth0]"));
    }
    if !whole.contains_key("services") {
        let mut service: Mapping = mapping(SERVICE);
        service.insert("backends".into(), value(BACKENDS));
        whole.insert("services".into(), Value::Sequence(vec![service.into()]));
    }
    whole.into()
}

fn is_known(key: &str) -> bool {
    TOP.contains(&key)
}

fn value(text: &str) -> Value {
    serde_yaml::from_str(text).expect("it is YAML")
}

fn mapping(text: &str) -> Mapping {
    serde_yaml::from_str(text).expect("it is a section")
}

#[test]
fn parts_are_judged_in_their_place() {
    let judged = |text: &str, note: Option<&str>| {
        problem(&Block {
            file: "p.md".to_owned(),
            line: 1,
            kind: "yaml".to_owned(),
            note: note.map(str::to_owned),
            text: text.to_owned(),
        })
    };
    for good in [
        "limits: { flows: 1M }",
        "mode: dsr",
        "    health_check:\n      interval: 3s\n",
        "backends:\n  - { name: a, address: \"10.0.0.1:80\", weight: 3 }",
        "health_check: { type: https, ca: /etc/divvy/ca.pem }",
    ] {
        assert_eq!(judged(good, None), None, "{good}");
    }
    for (bad, said) in [
        ("limits: { flow: 1M }", "flow"),
        ("mode: warp", "warp"),
        ("scrape_configs: []", "scrape_configs"),
        ("health_check: { interval: 3 }", "no unit"),
        ("- a", "no section"),
    ] {
        let words = judged(bad, None).unwrap_or_else(|| panic!("{bad} is good"));
        assert!(words.contains(said), "{bad}: {words}");
    }
    assert_eq!(
        judged("scrape_configs: []", Some("yaml of prometheus")),
        None
    );
    assert!(judged("a: [", Some("yaml of prometheus")).is_some());
}
