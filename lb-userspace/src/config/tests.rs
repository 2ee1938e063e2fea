//! What a file may say, and the exact words in which everything else is refused.

mod affinity;
mod arbitrary;
mod lists;
mod page;
mod reading;
mod schema;
mod tls;
mod vips;

use std::{fmt::Write as _, time::Duration};

use super::*;

/// The smallest file there is.
const GOOD: &str = r#"interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    backends:
      - { name: web-1, address: "10.0.0.11:8080" }
"#;

/// The design's example, without what this version does not have.
const FULL: &str = r#"
interfaces: [eth0, eth1]
xdp: generic
snat:
  addresses: [10.0.0.5]
  ports: 2000-30000
limits: { flows: 512k, half_open: 65536 }
metrics: "127.0.0.1:9127"
on_exit: detach
watch: true
announce: { addresses: true, interface: lo }
defaults:
  timeouts: { established: 1h, reset: 500ms }
  health_check: { type: tcp, interval: 5s, timeout: 1s, rise: 2, fall: 3, jitter: 0% }

services:
  - name: web
    listen: ["203.0.113.10:80", "198.51.100.10:80"]
    protocol: tcp
    mode: nat
    scheduler: maglev
    affinity: none
    on_down: keep
    drain_timeout: 1d
    slow_start: 30s
    timeouts: { established: 1m30s }
    health_check:
      type: http
      path: /healthz?full=1
      host: www.example.com
      expect: 200,301-302
    backends:
      - { name: web-1, address: "10.0.0.11:8080" }
      - { name: web-2, address: "10.0.0.12:8080", weight: 2 }
      - { name: web-3, address: "10.0.0.13:8080", weight: 0, backup: true }
  - name: web6
    listen: ["[2001:db8::10]:80"]
    backends: []
"#;

fn good(yaml: &str) -> Config {
    parse(yaml, "f.yaml").unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn errors(yaml: &str) -> String {
    parse(yaml, "f.yaml").expect_err(yaml).to_string()
}

#[test]
fn the_smallest_file_gets_every_default() {
    let expected = Config {
        interfaces: vec!["eth0".into()],
        xdp: XdpMode::Auto,
        snat: Snat {
            addresses: vec![],
            ports: PortRange {
                first: 1024,
                last: 32_767,
            },
        },
        limits: Limits {
            flows: 262_144,
            half_open: 65_536,
        },
        metrics: None,
        on_exit: OnExit::Keep,
        watch: false,
        announce: Announce {
            addresses: false,
            interface: None,
        },
        services: vec![Service {
            name: "web".into(),
            listen: vec![Vip {
                address: "203.0.113.10".parse().unwrap(),
                ports: PortRange {
                    first: 80,
                    last: 80,
                },
            }],
            protocol: Protocol::Tcp,
            mode: Mode::Nat,
            tunnel: Tunnel {
                sources: vec![],
                port: 6080,
                variant: GueVariant::Header,
            },
            scheduler: Scheduler::Maglev,
            affinity: None,
            on_down: OnDown::Reset,
            drain_timeout: Duration::from_secs(300),
            slow_start: Duration::ZERO,
            panic_threshold_percent: 0,
            timeouts: Timeouts {
                half_open: Duration::from_secs(60),
                established: Duration::from_secs(900),
                fin: Duration::from_secs(120),
                reset: Duration::from_secs(10),
                udp: Duration::from_secs(60),
            },
            health_check: HealthCheck {
                probe: Probe::Tcp,
                port: None,
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(1),
                rise: 2,
                fall: 3,
                jitter_percent: 10,
                through: false,
                fast_interval: Duration::from_secs(2),
                damping: None,
            },
            sources: Sources::default(),
            backends: vec![Backend {
                name: "web-1".into(),
                address: "10.0.0.11:8080".parse().unwrap(),
                weight: 1,
                backup: false,
                max_flows: None,
            }],
        }],
    };
    assert_eq!(good(GOOD), expected);
    assert_eq!(expected.snat.ports.count(), 31_744);
}

#[test]
fn a_full_file_is_read_and_defaults_merge_key_by_key() {
    let config = good(FULL);
    assert_eq!(config.limits.flows, 524_288);
    assert_eq!(config.xdp, XdpMode::Generic);
    assert_eq!(config.on_exit, OnExit::Detach);
    assert!(config.announce.addresses);
    assert_eq!(config.announce.interface.as_deref(), Some("lo"));
    let [web, web6] = &config.services[..] else {
        panic!("two services")
    };
    assert_eq!(web.on_down, OnDown::Keep);
    assert_eq!(web.drain_timeout, Duration::from_secs(86_400));
    assert_eq!(web.slow_start, Duration::from_secs(30));
    assert_eq!(web.backends[2].weight, 0);
    assert!(web.backends[2].backup && !web.backends[1].backup);
    assert_eq!(web.timeouts.established, Duration::from_secs(90));
    assert_eq!(web.timeouts.reset, Duration::from_millis(500));
    assert_eq!(web.timeouts.fin, Duration::from_secs(120));
    assert_eq!(web.health_check.interval, Duration::from_secs(5));
    assert_eq!(web.health_check.jitter_percent, 0);
    let http = Probe::Http(HttpProbe {
        path: "/healthz?full=1".into(),
        host: Some("www.example.com".into()),
        expect: vec![200..=200, 301..=302],
    });
    assert_eq!(web.health_check.probe, http);
    assert_eq!(web6.health_check.probe, Probe::Tcp);
    assert_eq!(web6.timeouts.established, Duration::from_secs(3600));
    assert_eq!(web6.backends, []);
}

#[test]
fn a_service_takes_the_path_from_the_defaults_and_the_type_from_itself() {
    let yaml = GOOD
        .replace(
            "services:",
            "defaults: { health_check: { path: /up } }\nservices:",
        )
        .replace("    listen", "    health_check: { type: http }\n    listen");
    let http = Probe::Http(HttpProbe {
        path: "/up".into(),
        host: None,
        expect: vec![200..=299],
    });
    assert_eq!(good(&yaml).services[0].health_check.probe, http);

    // The other way round: what the defaults say of http does not trouble a service without.
    let yaml = GOOD
        .replace(
            "services:",
            "defaults: { health_check: { type: http, path: /up } }\nservices:",
        )
        .replace("    listen", "    health_check: { type: none }\n    listen");
    assert_eq!(good(&yaml).services[0].health_check.probe, Probe::None);
}

#[test]
fn aliases_and_merge_keys_stand_for_what_they_name() {
    let config = good(
        r#"
interfaces: [eth0]
services:
  - &web
    name: web
    listen: [203.0.113.10:80]
    on_down: keep
    backends: &pool
      - { name: a, address: 10.0.0.1:80 }
  - name: plain
    listen: [203.0.113.10:81]
    backends: *pool
  - <<: [{ on_down: reset }, *web]
    name: merged
    listen: [203.0.113.10:82]
"#,
    );
    let [web, plain, merged] = &config.services[..] else {
        panic!("three services")
    };
    assert_eq!(plain.backends, web.backends);
    assert_eq!(merged.backends, web.backends);
    assert_eq!(merged.on_down, OnDown::Reset);

    // A problem inside an alias stands where the alias is used.
    let yaml = "interfaces: &a [0]\nservices:\n  - *a\n  - <<: *b\n";
    assert_eq!(
        errors(yaml),
        "f.yaml:4: unknown anchor at line 4 column 9; correct the YAML"
    );
    let yaml = "interfaces: [eth0]\nservices:\n  - &a [{ x: 1 }]\n  - *a\n";
    assert_eq!(
        errors(yaml),
        "f.yaml:3: services[0]: is a list; give a mapping of keys to values\n\
         f.yaml:4: services[1]: is a list; give a mapping of keys to values"
    );
}

#[test]
fn bad_input_is_refused_in_these_words() {
    let cases = include_str!("tests/refusals.txt").split("\n\n");
    let mut checked = 0;
    for case in cases.filter(|case| case.starts_with('-')) {
        let part = |mark| {
            let lines = case.lines().filter_map(|line| line.strip_prefix(mark));
            lines.collect::<Vec<_>>().join("\n")
        };
        let old = part("-");
        assert!(GOOD.contains(&old), "not in GOOD: {old}");
        let yaml = GOOD.replacen(&old, &part("+"), 1);
        assert_eq!(errors(&yaml), part("! "), "{yaml}");
        checked += 1;
    }
    assert!(checked > 50);
}

#[test]
fn all_problems_are_reported_at_once() {
    let yaml = r#"interfaces: [eth0, "eth 1"]
xdp: fast
limits: { flows: 1 }
colour: blue
defaults:
  timeouts: { fin: 5 }
services:
  - name: web
    listen: ["203.0.113.10:80", "203.0.113.10:0"]
    mode: direct
    backends:
      - { name: a, address: 10.0.0.1:80, weight: 2000 }
      - { name: a, address: 10.0.0.2:80 }
  - listen: ["203.0.113.10:80"]
    health_check: { interval: 0s }
"#;
    let expected = "\
f.yaml:1: interfaces[1]: `eth 1` cannot be an interface; `ip link` lists those there are
f.yaml:2: xdp: `fast` is not known; use `auto`, `native` or `generic`
f.yaml:3: limits.flows: 1 is out of range, use 64-16777216
f.yaml:4: colour: is not a known key; use one of interfaces, xdp, snat, limits, metrics, on_exit, \
watch, announce, defaults, services
f.yaml:6: defaults.timeouts.fin: `5` has no unit; give one, for example 2s
f.yaml:9: services[0].listen[1]: `203.0.113.10:0` has port 0; use 1-65535
f.yaml:10: services[0].mode: `direct` is not known; use `nat`, `route`, `dsr`, `ipip` or `gue`
f.yaml:12: services[0].backends[0].weight: 2000 is out of range, use 0-1000
f.yaml:13: services[0].backends[1].name: `a` is also services[0].backends[0].name; keep one of the \
two
f.yaml:14: services[1].name: is missing; add it
f.yaml:14: services[1].listen[0]: `203.0.113.10:80` is also services[0].listen[0]; keep one of the \
two
f.yaml:14: services[1].backends: is missing; add it
f.yaml:15: services[1].health_check.interval: 0s is out of range, use 100ms-1h";
    assert_eq!(errors(yaml), expected);

    let Err(ConfigError::Invalid { problems, .. }) = parse(yaml, "f.yaml") else {
        panic!("invalid")
    };
    assert_eq!(problems[7].path, "services[0].backends[0].weight");
    assert_eq!(problems[7].line, Some(12));
    assert_eq!(problems[7].message, "2000 is out of range, use 0-1000");
}

#[test]
fn more_than_the_tables_hold_is_refused() {
    let mut yaml = "interfaces: [eth0]\nservices:\n".to_owned();
    for service in 0..1025 {
        writeln!(yaml, "- name: s{service}\n  listen:").unwrap();
        for port in 1..=4 {
            writeln!(yaml, "  - 10.9.{}.{}:{port}", service / 256, service % 256).unwrap();
        }
        writeln!(yaml, "  backends:").unwrap();
        for backend in 0..16 {
            writeln!(
                yaml,
                "  - {{ name: b{backend}, address: 10.0.0.1:{} }}",
                backend + 1
            )
            .unwrap();
        }
    }
    assert_eq!(
        errors(&yaml),
        "f.yaml:2: services: 1025 services are too many, use at most 1024\n\
         f.yaml:2: services: 16400 backends in all are too many, use at most 16384\n\
         f.yaml:2: services: 4100 IPv4 vips are too many, use at most 4096"
    );

    let mut yaml = GOOD.replace("services:", "snat:\n  addresses:\nservices:");
    let addresses: String = (0..257)
        .map(|n| format!("    - 10.1.{}.{}\n", n / 256, n % 256))
        .collect();
    yaml = yaml.replace("addresses:\n", &format!("addresses:\n{addresses}"));
    assert_eq!(
        errors(&yaml),
        "f.yaml:3: snat.addresses: 257 addresses are too many, use at most 256"
    );
}
