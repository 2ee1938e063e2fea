//! Ports of vips and backends, in every form that there is.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use lb_common::MAX_VIP_PREFIXES;

use super::{super::*, GOOD, errors, good};

/// The smallest file with this list of vips and this backend.
fn file(listen: &str, backend: &str) -> String {
    GOOD.replace(r#""203.0.113.10:80""#, listen)
        .replace(r#""10.0.0.11:8080""#, backend)
}

#[test]
fn vips_are_shown_as_they_are_written() {
    for (written, shown, first, last) in [
        ("203.0.113.10:80", "203.0.113.10:80", 80, 80),
        (
            "203.0.113.10:8000-8100",
            "203.0.113.10:8000-8100",
            8000,
            8100,
        ),
        ("203.0.113.10:8000-8000", "203.0.113.10:8000", 8000, 8000),
        ("203.0.113.10:*", "203.0.113.10:*", 1, 65_535),
        ("203.0.113.10:1-65535", "203.0.113.10:*", 1, 65_535),
        ("[2001:db8::10]:80", "[2001:db8::10]:80", 80, 80),
        (
            "[2001:db8::10]:2-65535",
            "[2001:db8::10]:2-65535",
            2,
            65_535,
        ),
        ("[2001:db8::10]:*", "[2001:db8::10]:*", 1, 65_535),
    ] {
        let backend = if written.starts_with('[') {
            "[fd00::11]:80"
        } else {
            "10.0.0.11:80"
        };
        let config = good(&file(&format!("{written:?}"), &format!("{backend:?}")));
        let [vip] = config.services[0].listen[..] else {
            panic!("one vip")
        };
        assert_eq!(vip.ports, PortRange { first, last }, "{written}");
        assert_eq!(vip.to_string(), shown);
    }
}

#[test]
fn a_backend_may_have_no_port() {
    for (vip, written, shown) in [
        ("203.0.113.10:80", "10.0.0.11", "10.0.0.11"),
        ("203.0.113.10:80", "10.0.0.11:*", "10.0.0.11"),
        ("203.0.113.10:80", "10.0.0.11:81", "10.0.0.11:81"),
        ("[2001:db8::10]:80", "fd00::11", "fd00::11"),
        ("[2001:db8::10]:80", "[fd00::11]", "fd00::11"),
        ("[2001:db8::10]:80", "[fd00::11]:*", "fd00::11"),
        ("[2001:db8::10]:80", "[fd00::11]:81", "[fd00::11]:81"),
    ] {
        let config = good(&file(&format!("{vip:?}"), &format!("{written:?}")));
        let address = config.services[0].backends[0].address;
        assert_eq!(backend_text(address), shown, "{written}");
    }
}

#[test]
fn the_port_to_probe_is_the_checks_or_the_backends_or_that_of_all_vips() {
    let one = r#""203.0.113.10:80", "203.0.113.11:80""#;
    let range = r#""203.0.113.10:*""#;
    let probed = |listen, backend, check: &str| {
        let yaml = file(listen, backend).replace(
            "    backends:",
            &format!("    health_check: {check}\n    backends:"),
        );
        let config = good(&yaml);
        let service = &config.services[0];
        service.probe_port(&service.backends[0])
    };
    for (listen, backend, check, port) in [
        (one, "10.0.0.11", "{ type: tcp }", Some(80)),
        (one, "10.0.0.11:81", "{ type: tcp }", Some(81)),
        (one, "10.0.0.11:81", "{ type: tcp, port: 82 }", Some(82)),
        (range, "10.0.0.11:81", "{ type: tcp }", Some(81)),
        (range, "10.0.0.11", "{ type: tcp, port: 82 }", Some(82)),
        (range, "10.0.0.11", "{ type: none }", None),
    ] {
        assert_eq!(
            probed(listen, backend, check),
            port,
            "{listen} {backend} {check}"
        );
    }
}

#[test]
fn one_way_modes_take_any_port_of_a_range_or_none() {
    for backend in ["10.0.0.11", "10.0.0.11:8000", "10.0.0.11:8100"] {
        let yaml = file(r#""203.0.113.10:8000-8100""#, backend).replace(
            "    backends:",
            "    mode: dsr\n    health_check: { port: 80 }\n    backends:",
        );
        assert_eq!(good(&yaml).services[0].mode, Mode::Dsr);
    }
}

#[test]
fn ranges_lie_within_or_beside_one_another() {
    let vips = [
        "203.0.113.10:*",
        "203.0.113.10:8000-8100",
        "203.0.113.10:8000-8050",
        "203.0.113.10:8050",
        "203.0.113.10:8051-8100",
        "203.0.113.10:7999",
        "203.0.113.11:8050-8200",
    ];
    let listen = vips.map(|vip| format!("{vip:?}")).join(", ");
    let config = good(&file(&listen, "10.0.0.11:80"));
    let shown: Vec<String> = (config.services[0].listen.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, vips);
}

#[test]
fn more_ranges_than_the_tables_hold_are_refused() {
    // Each takes 29 entries.
    let listen = |count: u32| {
        let vips = (0..count).map(|n| format!("10.9.{}.{}:3-65534", n / 256, n % 256));
        let quoted: Vec<String> = vips.map(|vip| format!("{vip:?}")).collect();
        quoted.join(", ")
    };
    let most = MAX_VIP_PREFIXES / 29;
    good(&file(&listen(most), "10.0.0.11:80"));
    assert_eq!(
        errors(&file(&listen(most + 1), "10.0.0.11:80")),
        "f.yaml:2: services: the IPv4 vips that are ranges of ports take 16385 entries in the tables, \
         which have room for 16384: a range takes one for each power of two that it is made of, `*` \
         one; use fewer ranges, or such as 8000-8191 (one entry)"
    );
}

/// Rules between vips and backends are not a matter of each against each.
#[test]
fn very_many_vips_of_one_address_are_checked_fast() {
    let mut yaml = "interfaces: [eth0]\nservices:\n".to_owned();
    for service in 0..30 {
        writeln!(
            yaml,
            "- name: s{service}\n  health_check: {{ type: none }}\n  listen:"
        )
        .unwrap();
        for port in 1..=2_000 {
            writeln!(yaml, "  - 10.9.0.1:{}", service * 2_000 + port).unwrap();
        }
        writeln!(yaml, "  backends:\n  - {{ name: b, address: 10.9.0.1 }}").unwrap();
    }
    let start = Instant::now();
    assert!(errors(&yaml).contains("services[29].backends[0].address: has no port"));
    assert!(start.elapsed() < Duration::from_secs(60));
}
