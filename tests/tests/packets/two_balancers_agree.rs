//! Two balancers with the same file send every connection to the same backend, whatever either went
//! through before, and whether or not it has seen the connection: an ECMP router may move flows from
//! one to the other. Their tables come from the daemon's own code.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lb_tests::{
    packet::{ETHERNET_LEN, Packet, flag::*, mac},
    rig::{INGRESS, Rig, SIZES},
};
use lb_userspace::{
    config::{self, Config},
    net::NextHop,
    tables::{
        Health, Hold, Inputs, Overrides, RingCache, Tables, backend_identity, compute,
        diff::difference, ids::Ids,
    },
};

use crate::scene::{BACK, FRONT, ROUTER};

const TUPLES: u32 = 100_000;
const WEB: &str = "203.0.113.10:80";
const MAIL: &str = "[2001:db8::25]:25";

/// A file with these backends, listed and with its services in this order.
fn file(web: &[u8], mail: &[u8], web_first: bool) -> Config {
    let list = |names: &[u8], address: fn(u8) -> String| -> String {
        (names.iter())
            .map(|n| {
                let weight = 1 + n % 3;
                format!(
                    "      - {{ name: b{n}, address: \"{}\", weight: {weight} }}\n",
                    address(*n)
                )
            })
            .collect()
    };
    let web = format!(
        "  - name: web\n    mode: dsr\n    listen: [\"{WEB}\"]\n    slow_start: 10s\n    backends:\n{}",
        list(web, |n| format!("10.0.0.{n}:80"))
    );
    let mail = format!(
        "  - name: mail\n    mode: ipip\n    listen: [\"{MAIL}\"]\n    backends:\n{}",
        list(mail, |n| format!("[fd00::{n:x}]:25"))
    );
    let (first, second) = if web_first { (web, mail) } else { (mail, web) };
    let yaml = format!("interfaces: [eth0]\nservices:\n{first}{second}");
    config::parse(&yaml, "divvy.yaml").unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// A daemon without its input and output.
struct Balancer {
    applied: Tables,
    ids: Ids,
    rings: RingCache,
    down: Vec<IpAddr>,
    drained: Vec<IpAddr>,
    came_up: Vec<(IpAddr, SystemTime)>,
    now: SystemTime,
}

impl Balancer {
    fn new() -> Self {
        Self {
            applied: Tables::empty(),
            ids: Ids::default(),
            rings: RingCache::default(),
            down: Vec::new(),
            drained: Vec::new(),
            came_up: Vec::new(),
            now: UNIX_EPOCH + Duration::from_secs(1_000_000),
        }
    }

    /// Time goes on, and the tables become what this file calls for.
    fn apply(&mut self, config: &Config) {
        self.now += Duration::from_secs(1);
        let mut health = HashMap::new();
        let mut overrides = HashMap::new();
        let mut came_up = HashMap::new();
        let mut next_hops = HashMap::new();
        for service in &config.services {
            for backend in &service.backends {
                let (id, ip) = (
                    backend_identity(service, backend.address),
                    backend.address.ip(),
                );
                let up = !self.down.contains(&ip);
                health.insert(
                    id,
                    Health {
                        up,
                        since: self.now,
                    },
                );
                if self.drained.contains(&ip) {
                    overrides.insert(id, Overrides::held(Hold::Drain, self.now));
                }
                let arrived = self.came_up.iter().rev().find(|(who, _)| *who == ip);
                came_up.extend(arrived.map(|(_, when)| (id, *when)));
                next_hops.insert(ip, next_hop(ip));
            }
        }
        let inputs = Inputs {
            config,
            health: &health,
            overrides: &overrides,
            came_up: &came_up,
            now: self.now,
            next_hops: &next_hops,
            interfaces: &BTreeMap::new(),
            on_veth: false,
        };
        let desired = compute(&inputs, &self.applied, &mut self.ids, &mut self.rings)
            .expect("the tables have room");
        assert!(
            !difference(&self.applied, &desired).is_empty(),
            "a step changes something"
        );
        self.applied = desired;
    }

    /// Another daemon takes over what is in the tables.
    fn restart(&mut self) {
        self.ids = Ids::adopt(&self.applied);
        self.rings = RingCache::default();
    }

    fn load(&self) -> Rig {
        let mut rig = Rig::load(SIZES);
        rig.take(&self.applied);
        rig
    }
}

fn last(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    }
}

fn next_hop(ip: IpAddr) -> NextHop {
    NextHop {
        ifindex: INGRESS,
        local_mac: BACK,
        peer_mac: Some(mac(last(ip))),
        source: match ip {
            IpAddr::V4(_) => Ipv4Addr::new(10, 0, 0, 200).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 200).into(),
        },
        gateway: None,
        mtu: 1500,
    }
}

/// The backends that both have in the end.
const WEB_BACKENDS: [u8; 7] = [11, 12, 13, 14, 15, 16, 17];
const MAIL_BACKENDS: [u8; 5] = [31, 32, 33, 34, 35];

/// One that was started with the file as it is.
fn fresh() -> Balancer {
    let mut balancer = Balancer::new();
    balancer.apply(&file(&WEB_BACKENDS, &MAIL_BACKENDS, true));
    balancer
}

/// One that has been through a lot.
fn seasoned() -> Balancer {
    let v4 = |n: u8| IpAddr::from([10, 0, 0, n]);
    let mut balancer = Balancer::new();
    balancer.apply(&file(&[18, 15, 13], &[35, 36], false));
    balancer.apply(&file(&[17, 13, 18, 12, 15], &[35, 36, 31], false));
    balancer.down.push(v4(13));
    balancer.apply(&file(&[17, 13, 18, 12, 15], &[35, 31], false));
    balancer.restart();
    let (web, mail) = ([17, 11, 16, 13, 12, 15, 14], [34, 35, 31, 33, 32]);
    balancer.apply(&file(&web, &mail, true));
    balancer.down.clear();
    balancer.came_up.push((v4(13), balancer.now));
    balancer.drained.push(v4(12));
    let config = file(&web, &mail, false);
    balancer.apply(&config);
    balancer.drained.clear();
    balancer.apply(&config);
    balancer.now += Duration::from_secs(10);
    balancer.apply(&config);
    balancer
}

/// A connection: its client, and the vip.
fn tuple(n: u32) -> (SocketAddr, SocketAddr) {
    let port = 1024 + (n % 60_000) as u16;
    let host = n / 7;
    match n % 2 {
        0 => {
            let client = Ipv4Addr::new(198, 18, (host >> 8) as u8, host as u8);
            (
                SocketAddr::new(client.into(), port),
                WEB.parse().expect("a vip"),
            )
        }
        _ => {
            let client = Ipv6Addr::new(
                0x2001,
                0xdb8,
                0xc,
                0,
                0,
                0,
                (host >> 16) as u16,
                host as u16,
            );
            (
                SocketAddr::new(client.into(), port),
                MAIL.parse().expect("a vip"),
            )
        }
    }
}

/// The last byte of the address of the backend that gets this frame: by the MAC address, and in a
/// tunnel by the outer destination too.
fn backend(rig: &Rig, packet: &Packet, tunnel: bool) -> u8 {
    /// Of the last byte of an IPv6 header.
    const DESTINATION_END: usize = ETHERNET_LEN + 39;
    let out = rig
        .forwarded(&packet.build())
        .expect("it is sent to a backend");
    let n = out[5];
    assert_eq!(out[..6], mac(n));
    if tunnel {
        assert_eq!(out[DESTINATION_END], n);
    }
    n
}

#[test]
fn on_every_connection_whatever_their_history() {
    let (fresh, seasoned) = (fresh(), seasoned());
    // Not by having the same tables.
    let addresses = |balancer: &Balancer| -> Vec<[u32; 4]> {
        (balancer.applied.backends.values())
            .map(|entry| entry.address)
            .collect()
    };
    assert_ne!(
        addresses(&fresh),
        addresses(&seasoned),
        "their indices differ"
    );
    let (opened, never_seen) = (fresh.load(), seasoned.load());
    let mut counts = BTreeMap::<u8, u32>::new();
    for n in 0..TUPLES {
        let (client, vip) = tuple(n);
        let packet = Packet::tcp(client, vip).macs(ROUTER, FRONT);
        let tunnel = vip.is_ipv6();
        let chosen = backend(&opened, &packet.clone().flags(SYN), tunnel);
        let ack = packet.flags(ACK);
        assert_eq!(backend(&opened, &ack, tunnel), chosen, "{client} to {vip}");
        // The other balancer has no flow of it.
        assert_eq!(
            backend(&never_seen, &ack, tunnel),
            chosen,
            "{client} to {vip}"
        );
        *counts.entry(chosen).or_default() += 1;
    }
    let everyone: Vec<u8> = (WEB_BACKENDS.into_iter()).chain(MAIL_BACKENDS).collect();
    assert_eq!(
        counts.keys().copied().collect::<Vec<_>>(),
        everyone,
        "{counts:?}"
    );
}
