//! Which keys have other values.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::{
    config::{Backend, Config, Service},
    control::view::diff::Setting,
};

/// The keys outside of services.
pub(super) fn of_config(before: &Config, after: &Config) -> Vec<Setting> {
    let mut settings = differences(Some(before), Some(after), &["services"]);
    for setting in &mut settings {
        if setting.key.starts_with("limits.") {
            setting.note = Some("takes effect after `divvy detach` and a new start".to_owned());
        }
    }
    settings
}

/// The keys of a service but its backends; none of one that comes or goes.
pub(super) fn of_service(before: Option<&Service>, after: Option<&Service>) -> Vec<Setting> {
    differences(before, after, &["name", "backends"])
}

/// The keys of a backend; none of one that comes or goes.
pub(super) fn of_backend(before: Option<&Backend>, after: Option<&Backend>) -> Vec<Setting> {
    differences(before, after, &["address"])
}

fn differences<T: Serialize>(
    before: Option<&T>,
    after: Option<&T>,
    apart: &[&str],
) -> Vec<Setting> {
    let (Some(before), Some(after)) = (before, after) else {
        return Vec::new();
    };
    let told = |value: &T| {
        let mut value = serde_json::to_value(value).expect("a configuration has text for keys");
        if let Some(keys) = value.as_object_mut() {
            keys.retain(|key, _| !apart.contains(&key.as_str()));
        }
        word(&mut value);
        value
    };
    let mut settings = Vec::new();
    walk(String::new(), &told(before), &told(after), &mut settings);
    settings
}

/// Times and ranges become the file's words: `5m`, `200-299`.
fn word(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(word),
        Value::Object(keys) => {
            let number = |key: &str| keys.get(key).and_then(Value::as_u64);
            let text = match (keys.len(), number("secs"), number("nanos")) {
                (2, Some(secs), Some(nanos)) => {
                    let time = Duration::from_secs(secs) + Duration::from_nanos(nanos);
                    Some(humantime::format_duration(time).to_string())
                }
                _ => match (keys.len(), number("start"), number("end")) {
                    (2, Some(start), Some(end)) if start == end => Some(start.to_string()),
                    (2, Some(start), Some(end)) => Some(format!("{start}-{end}")),
                    _ => None,
                },
            };
            match text {
                Some(text) => *value = Value::String(text),
                None => keys.values_mut().for_each(word),
            }
        }
        _ => {}
    }
}

/// Goes down where both sides have keys.
fn walk(key: String, before: &Value, after: &Value, found: &mut Vec<Setting>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        found.push(Setting {
            key,
            before: before.clone(),
            after: after.clone(),
            note: None,
        });
        return;
    };
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let path = if key.is_empty() {
            name.clone()
        } else {
            format!("{key}.{name}")
        };
        let of =
            |side: &serde_json::Map<String, Value>| side.get(name).cloned().unwrap_or_default();
        walk(path, &of(old), &of(new), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const YAML: &str = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    deny: [192.0.2.0/24]
    health_check: { type: http, path: /a, expect: 200-299 }
    backends: [{ name: a, address: "10.0.0.11:80", weight: 2 }]
"#;

    fn told(changes: &[(&str, &str)]) -> Vec<String> {
        let parse = |yaml: &str| config::parse(yaml, "test.yaml").expect("valid");
        let mut yaml = YAML.to_owned();
        for (old, new) in changes {
            assert!(yaml.contains(old), "{old}");
            yaml = yaml.replace(old, new);
        }
        let (before, after) = (parse(YAML), parse(&yaml));
        let (old, new) = (&before.services[0], &after.services[0]);
        let all = [
            of_config(&before, &after),
            of_service(Some(old), Some(new)),
            of_backend(Some(&old.backends[0]), Some(&new.backends[0])),
        ];
        (all.concat().iter())
            .map(|setting| format!("{}: {} -> {}", setting.key, setting.before, setting.after))
            .collect()
    }

    #[test]
    fn keys_have_the_names_and_the_words_of_the_file() {
        assert_eq!(told(&[]), Vec::<String>::new());
        let top = "limits: { flows: 1024 }\non_exit: detach\nmetrics: \"127.0.0.1:9127\"\n\
                   interfaces: [eth0, eth1]";
        assert_eq!(
            told(&[("interfaces: [eth0]", top)]),
            [
                r#"interfaces: ["eth0"] -> ["eth0","eth1"]"#,
                "limits.flows: 262144 -> 1024",
                r#"metrics: null -> "127.0.0.1:9127""#,
                r#"on_exit: "keep" -> "detach""#,
            ]
        );
        let service = "timeouts: { established: 2h }\n    drain_timeout: 0s\n    \
                       scheduler: least_conn\n    affinity: client_ip\n    mode: dsr\n    backends";
        assert_eq!(
            told(&[
                ("    backends", &format!("    {service}")),
                ("expect: 200-299", "expect: \"200,204-206\""),
                ("path: /a", "path: /b, interval: 500ms"),
                ("192.0.2.0/24", "198.51.100.0/24"),
            ]),
            [
                r#"affinity: null -> {"prefix4":32,"prefix6":128,"timeout":"10m"}"#,
                r#"deny: ["192.0.2.0/24"] -> ["198.51.100.0/24"]"#,
                r#"drain_timeout: "5m" -> "0s""#,
                r#"health_check.expect: ["200-299"] -> ["200","204-206"]"#,
                r#"health_check.fast_interval: "2s" -> "500ms""#,
                r#"health_check.interval: "2s" -> "500ms""#,
                r#"health_check.path: "/a" -> "/b""#,
                "health_check.through: false -> true",
                r#"mode: "nat" -> "dsr""#,
                r#"scheduler: "maglev" -> "least_conn""#,
                r#"timeouts.established: "15m" -> "2h""#,
            ]
        );
        assert_eq!(
            told(&[
                ("name: a,", "name: b, backup: true, max_flows: 7,"),
                (", weight: 2", "")
            ]),
            [
                "backup: false -> true",
                "max_flows: null -> 7",
                r#"name: "a" -> "b""#,
                "weight: 2 -> 1",
            ]
        );
    }
}
