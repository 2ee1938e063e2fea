//! The lists `allow` and `deny`, and what they come to.

use std::fmt::Write as _;

use super::{super::Access, *};

/// The rules of a service as text, IPv4 first.
fn rules(service: &Service) -> Vec<String> {
    let sources = &service.sources;
    (sources.v4.iter().chain(sources.v6.iter()))
        .map(|(prefix, access)| match access {
            Access::Allow => format!("allow {prefix}"),
            Access::Deny => format!("deny {prefix}"),
        })
        .collect()
}

fn with(lists: &str) -> Config {
    good(&GOOD.replace("    listen", &format!("{lists}    listen")))
}

#[test]
fn an_allow_list_keeps_all_others_out_of_both_families() {
    let config = with("    allow: [198.51.100.7, 192.0.2.0/24]\n    deny: [192.0.2.128/25]\n");
    let expected = [
        "deny 0.0.0.0/0",
        "allow 192.0.2.0/24",
        "deny 192.0.2.128/25",
        "allow 198.51.100.7/32",
        "deny ::/0",
    ];
    assert_eq!(rules(&config.services[0]), expected);
}

#[test]
fn a_deny_list_alone_keeps_nobody_else_out() {
    let config = with("    deny: [\"2001:db8::/32\"]\n");
    assert_eq!(rules(&config.services[0]), ["deny 2001:db8::/32"]);
}

#[test]
fn a_prefix_of_all_addresses_takes_the_place_of_the_rest() {
    let config = with("    allow: [\"0.0.0.0/0\"]\n    deny: [10.0.0.0/8]\n");
    let expected = ["allow 0.0.0.0/0", "deny 10.0.0.0/8", "deny ::/0"];
    assert_eq!(rules(&config.services[0]), expected);
}

#[test]
fn a_list_of_a_service_replaces_the_inherited_one() {
    let config = good(
        r#"
interfaces: [eth0]
defaults:
  allow: [192.0.2.0/24]
  deny: [192.0.2.7]
services:
  - { name: a, listen: ["203.0.113.10:80"], backends: [] }
  - { name: b, listen: ["203.0.113.10:81"], backends: [], allow: [] }
  - { name: c, listen: ["203.0.113.10:82"], backends: [], deny: [] }
  - { name: d, listen: ["203.0.113.10:83"], backends: [], allow: [], deny: [] }
"#,
    );
    let of: Vec<Vec<String>> = config.services.iter().map(rules).collect();
    let others = ["deny 0.0.0.0/0", "allow 192.0.2.0/24"];
    assert_eq!(
        of[0],
        [&others[..], &["deny 192.0.2.7/32", "deny ::/0"]].concat()
    );
    assert_eq!(of[1], ["deny 192.0.2.7/32"]);
    assert_eq!(of[2], [&others[..], &["deny ::/0"]].concat());
    assert!(of[3].is_empty());
}

/// So many addresses, each on a line of its own.
fn addresses(key: &str, indent: &str, count: u32) -> String {
    let mut yaml = format!("{indent}{key}:\n");
    for n in 0..count {
        writeln!(
            yaml,
            "{indent}- 10.{}.{}.{}",
            n >> 16,
            n >> 8 & 255,
            n & 255
        )
        .unwrap();
    }
    yaml
}

#[test]
fn as_many_sources_as_the_tables_hold_are_read() {
    let config = with(&addresses("deny", "    ", 65_536));
    assert_eq!(config.services[0].sources.v4.len(), 65_536);
}

/// An inherited list counts for each service that has it.
#[test]
fn more_sources_than_the_tables_hold_are_refused() {
    let mut yaml = "interfaces: [eth0]\ndefaults:\n".to_owned();
    yaml += &addresses("allow", "  ", 4_000);
    yaml += "services:\n";
    for n in 0..20 {
        writeln!(
            yaml,
            "- {{ name: s{n}, listen: [203.0.113.10:{}], backends: [] }}",
            n + 1
        )
        .unwrap();
    }
    assert_eq!(
        errors(&yaml),
        "f.yaml:4004: services: 80020 IPv4 sources in all are too many, use at most 65536"
    );
}
