//! Whose a packet is, and how many were lost.

use std::net::IpAddr;

use super::*;
use crate::config;

const YAML: &str = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    backends:
      - { name: web-1, address: "10.0.0.11:8080" }
      - { name: web-2, address: "10.0.0.12:8080" }
  - name: ports
    mode: route
    listen: ["203.0.113.10:8000-8100"]
    health_check: { port: 80 }
    backends: [{ name: any, address: 10.0.0.11 }]
  - name: direct
    mode: dsr
    listen: ["203.0.113.11:80"]
    backends: [{ name: near, address: "10.0.0.13:80" }]
  - name: far
    mode: gue
    protocol: udp
    listen: ["203.0.113.12:53"]
    health_check: { type: tcp, port: 53 }
    backends: [{ name: far-1, address: "10.9.0.1:53" }]
"#;
const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 13];

fn directory() -> Directory {
    let config = config::parse(YAML, "divvy.yaml").expect("valid");
    Directory::of(
        &config,
        |address| (address == ip("10.0.0.13")).then_some(NEAR),
        |ifindex| (ifindex == 2).then(|| "eth0".to_owned()),
        [2, 3].into_iter(),
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn packet(from: (&str, u16), to: (&str, u16), protocol: &str) -> Packet {
    let port = |port: u16| (port != 0).then_some(port);
    Packet {
        source: ip(from.0),
        source_port: port(from.1),
        destination: ip(to.0),
        destination_port: port(to.1),
        protocol: protocol.to_owned(),
        flags: String::new(),
        hops: 64,
        inner: None,
    }
}

/// The backend that a packet of this service is told to have; `None` for one that is not told.
fn told(
    service: &str,
    arrived: &Packet,
    left: Option<&Packet>,
    to: [u8; 6],
) -> Option<Option<String>> {
    let frame = [&to[..], &[0; 6], &[0x08, 0x00]].concat();
    let directory = directory();
    let party = directory.party(service, arrived, left, &frame)?;
    Some(party.backend.map(ToOwned::to_owned))
}

const CLIENT: (&str, u16) = ("198.51.100.7", 40_000);
const VIP: (&str, u16) = ("203.0.113.10", 80);
const LOCAL: (&str, u16) = ("10.0.0.5", 2_000);
const WEB_2: (&str, u16) = ("10.0.0.12", 8_080);
const ANYWHERE: [u8; 6] = [9; 6];

#[test]
fn clients_and_backends_are_told_by_vip_and_address() {
    let (forth, at_backend) = (packet(CLIENT, VIP, "tcp"), packet(LOCAL, WEB_2, "tcp"));
    let web_2 = Some(Some("web-2".to_owned()));
    assert_eq!(told("web", &forth, Some(&at_backend), ANYWHERE), web_2);
    assert_eq!(told("web", &forth, None, ANYWHERE), Some(None));
    let (back, at_client) = (packet(WEB_2, LOCAL, "tcp"), packet(VIP, CLIENT, "tcp"));
    assert_eq!(told("web", &back, Some(&at_client), ANYWHERE), web_2);
    // One that was dropped on its way back.
    assert_eq!(told("web", &back, None, ANYWHERE), web_2);
    // Others' packets, though addresses are alike.
    for service in ["ports", "direct", "far"] {
        assert_eq!(
            told(service, &forth, Some(&at_backend), ANYWHERE),
            None,
            "{service}"
        );
    }
    let udp = packet(CLIENT, VIP, "udp");
    assert_eq!(told("web", &udp, None, ANYWHERE), None);
}

#[test]
fn a_backend_may_have_any_port() {
    let arrived = packet(CLIENT, ("203.0.113.10", 8_050), "tcp");
    let left = packet(CLIENT, ("10.0.0.11", 8_050), "tcp");
    let any = Some(Some("any".to_owned()));
    assert_eq!(told("ports", &arrived, Some(&left), ANYWHERE), any);
    let beyond = packet(CLIENT, ("203.0.113.10", 8_101), "tcp");
    assert_eq!(told("ports", &beyond, Some(&left), ANYWHERE), None);
}

#[test]
fn where_addresses_stay_the_mac_address_tells() {
    let packet = packet(CLIENT, ("203.0.113.11", 80), "tcp");
    let near = Some(Some("near".to_owned()));
    assert_eq!(told("direct", &packet, Some(&packet), NEAR), near);
    assert_eq!(told("direct", &packet, Some(&packet), ANYWHERE), Some(None));
}

#[test]
fn in_a_tunnel_the_outer_address_tells() {
    let arrived = packet(CLIENT, ("203.0.113.12", 53), "udp");
    let left = Packet {
        inner: Some(Box::new(arrived.clone())),
        ..packet(("10.0.0.5", 50_000), ("10.9.0.1", 6_080), "udp")
    };
    let far = Some(Some("far-1".to_owned()));
    assert_eq!(told("far", &arrived, Some(&left), ANYWHERE), far);
    assert_eq!(directory().gue_ports(), [6_080]);
}

/// ICMP and later fragments have no port: the address of the vip tells.
#[test]
fn without_ports_the_address_tells() {
    for (protocol, expected) in [("icmp", true), ("tcp", true), ("udp", false)] {
        let arrived = packet(("198.51.100.7", 0), ("203.0.113.10", 0), protocol);
        let told = told("web", &arrived, None, ANYWHERE);
        assert_eq!(told.is_some(), expected, "{protocol}");
    }
}

#[test]
fn interfaces_have_names_or_numbers() {
    assert_eq!(directory().interface(2), "eth0");
    assert_eq!(directory().interface(3), "3");
}

#[test]
fn what_each_cpu_lost_is_added_up() {
    let record = |cpu, lost| Record {
        time_ns: 0,
        lost,
        ifindex: 2,
        action: 1,
        reason: 0,
        arrived_length: 0,
        left_length: 0,
        cpu,
        arrived: [0; SNAP],
        left: [0; SNAP],
    };
    let mut lost = Vec::new();
    for (cpu, so_far) in [(0, 1), (1, 5), (0, 3), (0, 3)] {
        note_lost(&mut lost, &record(cpu, so_far));
    }
    assert_eq!(lost.iter().map(|(_, lost)| lost).sum::<u64>(), 8);
}

#[test]
fn verdicts_are_told_by_action_and_reason() {
    for (action, reason, expected) in [
        (2, Some(Reason::NotOurs), "pass"),
        (3, None, "forward"),
        (4, Some(Reason::IcmpError), "forward"),
        (3, Some(Reason::NoFlow), "answer"),
        (1, Some(Reason::Land), "drop"),
        (0, None, "drop"),
    ] {
        assert_eq!(verdict(action, reason), expected, "{action} {reason:?}");
    }
}
