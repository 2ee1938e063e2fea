//! The page, as Markdown.

use serde_json::Value as Json;

use super::keys::Key;

/// What stands above the keys.
const HEAD: &str = "\
# Configuration

Every key of the file, `/etc/divvy/divvy.yaml` unless `--config` names another. This page is made from the schema
that `divvy schema` prints; each default, range and example on it is tried by a test.

The smallest file there is:

```yaml
interfaces: [eth0]
services:
  - name: web
    listen: [\"203.0.113.10:80\"]
    backends:
      - { name: web-1, address: \"10.0.0.11:8080\" }
```

`divvy check` tells every problem of a file, each with its line and the path of its key; `divvy diff` what a reload would
change; `divvy reload` applies it, all of it or nothing.

## Values

| kind | written as |
| --- | --- |
| duration | a number with its unit, or several: `500ms`, `2s`, `1m30s`, `7days`; a bare number is refused |
| size | a count, alone or in units of 1,024 (`k`) or 1,048,576 (`M`): `65536`, `64k`, `1M` |
| percentage | a whole number with its sign: `10%` |
| name | 1 to 63 letters, digits, `.`, `_` and `-` |
| interface | the name of a network interface, as `ip link` lists it: 1 to 15 bytes |
| address | an IPv4 or IPv6 address without a port |
| prefix | the same with the number of bits that count: `10.0.0.0/8`; without it, one address |
| switch | `true` or `false` |

IPv6 addresses with a port are in brackets. Quote what has a colon, brackets or braces in it: `\"[2001:db8::10]:80\"`.
";

pub(super) fn page(keys: &[Key]) -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "The file", keys, "");
    for key in keys.iter().filter(|key| key.is_section()) {
        let title = format!("`{}`", key.path);
        page.push_str(&format!("\n## {title}\n\n{}\n", linked(key.about())));
        if key.is_word_too() {
            entry_facts(&mut page, key);
        }
        keys_of(&mut page, keys, &key.path);
    }
    page
}

fn section(page: &mut String, title: &str, keys: &[Key], path: &str) {
    page.push_str(&format!("\n## {title}\n"));
    keys_of(page, keys, path);
}

/// The keys right below a path.
fn keys_of(page: &mut String, keys: &[Key], path: &str) {
    let below = |key: &&Key| match key.path.rsplit_once('.') {
        Some((above, _)) => above == path,
        None => path.is_empty(),
    };
    for key in keys.iter().filter(below) {
        if key.is_section() {
            let anchor: String = (key.path.chars())
                .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let name = last(&key.path);
            let needed = if key.is_required() { ", required" } else { "" };
            page.push_str(&format!(
                "\n### `{name}`\n\nA {}{needed}: [below](#{anchor}).\n",
                if key.path.ends_with("[]") {
                    "list of sections"
                } else {
                    "section"
                }
            ));
            continue;
        }
        page.push_str(&format!(
            "\n### `{}`\n\n{}\n",
            key.path,
            linked(key.about())
        ));
        entry_facts(page, key);
    }
}

fn last(path: &str) -> &str {
    let name = path.rsplit('.').next().unwrap_or(path);
    name.trim_end_matches("[]")
}

/// Type, default, what is allowed, and an example.
fn entry_facts(page: &mut String, key: &Key) {
    page.push_str(&format!("\n- type: {}\n", kind(key)));
    match key.default() {
        Some(default) => page.push_str(&format!("- default: `{}`\n", plain(&default))),
        None if key.is_required() => page.push_str("- required\n"),
        None => page.push_str("- default: none\n"),
    }
    if let Some((least, most)) = key.range() {
        page.push_str(&format!(
            "- allowed: `{}` to `{}`\n",
            plain(&least),
            plain(&most)
        ));
    }
    let of = key.of();
    if !of.is_empty() {
        let of: Vec<String> = of.iter().map(|kind| format!("`{kind}`")).collect();
        page.push_str(&format!("- only with type {}\n", of.join(", ")));
    }
    let told = key.words_told();
    for (word, told) in key.words().iter().zip(&told) {
        page.push_str(&format!("- `{word}`: {}\n", linked(told)));
    }
    if let Some(example) = key.example() {
        page.push_str(&format!("\n```yaml\n{}\n```\n", fragment(key, &example)));
    }
}

fn kind(key: &Key) -> String {
    let named = |kind: &str| match kind {
        "percent" => "percentage".to_owned(),
        "boolean" => "switch".to_owned(),
        "integer" => "whole number".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    };
    if key.is_word_too() {
        return "word or section".to_owned();
    }
    if !key.words().is_empty() {
        return "word".to_owned();
    }
    match key.kind() {
        "array" => match key.items() {
            "text" => "list of texts".to_owned(),
            "prefix" => "list of prefixes".to_owned(),
            "address" => "list of addresses".to_owned(),
            items => format!("list of {items}s"),
        },
        "object" => "section".to_owned(),
        "" => "text or whole number".to_owned(),
        kind => named(kind),
    }
}

/// A value in a line of text.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => flow(other),
    }
}

/// The key with this value, below those that it stands in and beside those that it needs; of a service or a
/// backend, as a part of that.
fn fragment(key: &Key, value: &Json) -> String {
    if let Some(name) = key.path.strip_prefix("services[].backends[].") {
        let mut entry = vec![
            ("name", "web-1".to_owned()),
            ("address", "\"10.0.0.11:8080\"".to_owned()),
        ];
        match entry.iter_mut().find(|(known, _)| *known == name) {
            Some((_, there)) => *there = flow(value),
            None => entry.push((name, flow(value))),
        }
        let entry: Vec<String> = (entry.iter())
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        return format!("backends:\n  - {{ {} }}", entry.join(", "));
    }
    let path = key.path.strip_prefix("services[].").unwrap_or(&key.path);
    let Some((above, name)) = path.rsplit_once('.') else {
        return format!("{path}: {}", flow(value));
    };
    let mut lines = Vec::new();
    // A tunnel is of two modes.
    lines.extend((above == "tunnel").then(|| "mode: gue".to_owned()));
    for (depth, section) in above.split('.').enumerate() {
        lines.push(format!("{}{section}:", "  ".repeat(depth)));
    }
    let indent = "  ".repeat(above.split('.').count());
    let of = key.of();
    let beside = match (above, of.first(), name) {
        ("affinity", _, "type") => Vec::new(),
        ("affinity", ..) => vec![("type", "client_ip")],
        ("health_check.damping", _, "changes") => vec![("within", "1m"), ("hold", "5m")],
        ("health_check.damping", _, "within") => vec![("changes", "6"), ("hold", "5m")],
        ("health_check.damping", ..) => vec![("changes", "6"), ("within", "1m")],
        (_, Some(kind), _) => vec![("type", kind.as_str())],
        _ => Vec::new(),
    };
    lines.extend(
        beside
            .iter()
            .map(|(key, value)| format!("{indent}{key}: {value}")),
    );
    lines.push(format!("{indent}{name}: {}", flow(value)));
    // One certificate takes two files.
    let other = match name {
        "client_cert" => Some("client_key: /etc/divvy/client.key"),
        "client_key" => Some("client_cert: /etc/divvy/client.pem"),
        _ => None,
    };
    lines.extend(other.map(|other| format!("{indent}{other}")));
    lines.join("\n")
}

/// The text with links to the pages that it names.
fn linked(text: &str) -> String {
    let words = text.split_inclusive([' ', ';', ',', ')']);
    let link = |word: &str| match word.find(".md") {
        Some(end) if word.starts_with("docs/") => {
            let (page, rest) = word.split_at(end + ".md".len());
            let page = page.trim_start_matches("docs/");
            format!("[{page}]({page}){rest}")
        }
        _ => word.to_owned(),
    };
    words.map(link).collect()
}

/// A value in one line of YAML.
fn flow(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(keys) => {
            let keys: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}: {}", flow(value)))
                .collect();
            format!("{{ {} }}", keys.join(", "))
        }
        Json::String(text) if text.contains('\\') => format!("'{text}'"),
        Json::String(text) if text.contains([':', '[', ']', '{', '}', ',', '#', '*', '%']) => {
            format!("\"{text}\"")
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
