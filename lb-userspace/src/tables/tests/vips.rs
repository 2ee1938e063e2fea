//! Vips that are ranges of ports, and backends without a port.

use lb_common::service::{NO_SERVICE, PortKey, PortPrefix, VipKey, setting};
use proptest::{collection::vec, prelude::*};

use super::{
    super::vips::{admit, service_of},
    *,
};
use crate::config::{PortRange, Vip, backend_text};

const ADDRESS: &str = "203.0.113.10";

fn vip(ports: PortRange) -> Vip {
    let address = ADDRESS.parse().expect("an address");
    Vip { address, ports }
}

/// What the program finds for a port of the address: exactly it, else the longest prefix.
fn found(tables: &Tables, port: u16) -> Option<u32> {
    let address = unmapped(&words(ADDRESS.parse().expect("an address")));
    let exact = (tables.vips4.iter())
        .find(|(key, _)| key.address == address && key.port_be == port.to_be())
        .map(|(_, service_idx)| *service_idx);
    let prefix = |bits: u32| {
        let left_out = PortKey::<[u32; 1]>::BITS - bits;
        let first = u32::from(port) >> left_out << left_out;
        let key = PortKey {
            address,
            protocol: 6,
            pad: 0,
            port_be: u16::try_from(first)
                .expect("it is at most the port")
                .to_be(),
        };
        tables.vip_ranges4.get(&PortPrefix { bits, key }).copied()
    };
    let all = PortKey::<[u32; 1]>::BITS;
    exact.or_else(|| (all - 16..=all).rev().find_map(prefix))
}

/// Ranges of which any two lie within or beside one another, in no order.
fn nested() -> impl Strategy<Value = Vec<PortRange>> {
    let small = prop_oneof![1..=64_u16, 8_000..8_200_u16, 65_500..=65_535_u16];
    let port = prop_oneof![1..=u16::MAX, small];
    let range = (port.clone(), port).prop_map(|(a, b)| PortRange {
        first: a.min(b),
        last: a.max(b),
    });
    let range = prop_oneof![9 => range, 1 => Just(PortRange::ALL)];
    vec(range, 1..40).prop_map(|ranges| {
        let mut nested: Vec<PortRange> = Vec::new();
        for range in ranges {
            let fits = |other: &PortRange| {
                *other != range
                    && (!range.meets(*other) || range.contains(*other) || other.contains(range))
            };
            if nested.iter().all(fits) {
                nested.push(range);
            }
        }
        nested
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_smallest_range_with_a_port_has_it(ranges in nested()) {
        let mut tables = Tables::empty();
        let vips = (0..).zip(&ranges).map(|(service_idx, ports)| (vip(*ports), 6, service_idx));
        admit(&mut tables, vips.collect());
        for port in 1..=u16::MAX {
            let smallest = (0..)
                .zip(&ranges)
                .filter(|(_, ports)| ports.contains(PortRange::one(port)))
                .min_by_key(|(_, ports)| ports.count())
                .map(|(service_idx, _)| service_idx);
            prop_assert_eq!(found(&tables, port), smallest, "port {} of {:?}", port, ranges);
        }
    }
}

/// Two services, one with ports within those of the other.
const RANGES: &str = r#"
interfaces: [eth0]
services:
  - name: wide
    listen: ["203.0.113.10:*", "[2001:db8::10]:*"]
    mode: route
    health_check: { port: 80 }
    backends:
      - { name: a, address: 10.0.0.11 }
      - { name: b, address: "fd00::11" }
  - name: narrow
    listen: ["203.0.113.10:8000-8100", "203.0.113.10:22"]
    backends:
      - { name: c, address: "10.0.0.12:8080" }
"#;

#[test]
fn each_port_leads_to_its_service() {
    let mut world = World::new(RANGES);
    world.step();
    let service = |name| {
        let identity = identity::service(name, Family::Inet);
        let mut services = world.applied.services.iter();
        let found = services.find(|(_, service)| service.identity == identity);
        found.map(|(idx, _)| *idx)
    };
    for (ports, name) in [
        ([1, 21, 7_999, 8_101, 65_535], "wide"),
        ([22, 8_000, 8_050, 8_099, 8_100], "narrow"),
    ] {
        for port in ports {
            let address = ADDRESS.parse().expect("an address");
            let told = service_of(&world.applied, address, port, 6);
            assert_eq!(
                (found(&world.applied, port), told),
                (service(name), service(name)),
                "port {port}"
            );
        }
    }
    assert_eq!(world.applied.vip_ranges6.len(), 1);
    assert_eq!(world.step(), 0);
}

#[test]
fn the_filter_admits_all_ports_of_a_ranges_address() {
    let [v4, v6]: [IpAddr; 2] =
        [ADDRESS, "2001:db8::10"].map(|text| text.parse().expect("an address"));
    let mut world = World::new(RANGES);
    world.step();
    assert!(world.admits(hash::vip_bit(unmapped(&words(v4)), 0, 6)));
    assert!(world.admits(hash::vip_bit(words(v6), 0, 6)));
    let flags = setting::RANGES | setting::ROUTE | setting::ROUTE_ANY_PORT;
    assert_eq!(world.applied.settings.flags, flags);
    // A backend of mode `route` without a port may answer from any.
    for (backend, v4) in [("10.0.0.11", true), ("fd00::11", false)] {
        let words = words(backend.parse().expect("an address"));
        let bit = if v4 {
            hash::reply_bit(unmapped(&words), 0, 6)
        } else {
            hash::reply_bit(words, 0, 6)
        };
        assert!(world.admits(bit), "{backend}");
    }

    // Nothing of it where there are no ranges and all backends have ports.
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    assert_eq!(world.applied.settings.flags, 0);
}

/// Their flows are found by way of the filter too.
#[test]
fn a_range_that_is_gone_is_still_admitted_while_backends_are_left() {
    let mut world = World::new(&TWO_BACKENDS.replace(":80\"", ":*\""));
    world.step();
    world.config = parse(TWO_BACKENDS);
    world.step();
    assert!(world.applied.vip_ranges4.is_empty());
    let address = words(ADDRESS.parse().expect("an address"));
    assert!(world.admits(hash::vip_bit(unmapped(&address), 0, 6)));
    assert_eq!(world.applied.settings.flags, setting::RANGES);
}

#[test]
fn a_backend_without_a_port_has_port_0() {
    let mut world = World::new(RANGES);
    world.step();
    let shown: Vec<String> = (world.applied.backends.values())
        .map(|entry| backend_text(super::super::address_of(entry)))
        .collect();
    assert_eq!(shown, ["10.0.0.11", "fd00::11", "10.0.0.12:8080"]);
}

/// Once, however many vips have it.
#[test]
fn each_address_of_a_vip_is_known() {
    let address = |text: &str| words(text.parse().expect("an address"));
    let mut world = World::new(RANGES);
    world.step();
    let of_v4 = VipKey::of_address(&unmapped(&address(ADDRESS)));
    let of_v6 = VipKey::of_address(&address("2001:db8::10"));
    assert_eq!(world.applied.vips4.get(&of_v4), Some(&NO_SERVICE));
    assert_eq!(world.applied.vips6.get(&of_v6), Some(&NO_SERVICE));
    assert_eq!(world.applied.vips4.len(), 2, "it and port 22");
    assert_eq!(world.applied.vips6.len(), 1);
    assert!(world.admits(hash::vip_bit(of_v4.address, 0, 1)));
    assert!(world.admits(hash::vip_bit(of_v6.address, 0, 58)));

    world.config = parse(&RANGES.replace(ADDRESS, "203.0.113.20"));
    world.step();
    assert!(!world.applied.vips4.contains_key(&of_v4));
    assert_eq!(world.applied.vips4.len(), 2);
}
