//! What the tables hold for a configuration, and what stays the same over changes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lb_common::{NO_BACKEND, RING_SLOTS, backend, hash, unmapped};

use super::{
    Family, Health, Inputs, Panic, RingCache, Tables, backend_identity, compute,
    diff::{Changes, difference},
    identity,
    ids::Ids,
    words,
};
use crate::{
    config::{self, Config},
    net::NextHop,
};

const TWO_BACKENDS: &str = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    backends:
      - { name: a, address: "10.0.0.11:8080" }
      - { name: b, address: "10.0.0.12:8080" }
"#;

/// What a world's tables are made of; no method, because it borrows only a part of the world.
macro_rules! inputs {
    ($world:expr) => {
        Inputs {
            config: &$world.config,
            health: &$world.health,
            overrides: &$world.overrides,
            came_up: &$world.came_up,
            now: $world.now,
            next_hops: &$world.next_hops,
            interfaces: &$world.interfaces,
            on_veth: false,
        }
    };
}

mod affinity;
mod interfaces;
mod kept;
mod modes;
mod panic;
mod schedulers;
mod sources;
mod standing;
mod vips;
mod world;

use self::world::{World, parse};

#[test]
fn backends_that_are_up_share_the_ring() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    let ring = &world.applied.rings[&0].slots;
    assert_eq!(ring.len(), RING_SLOTS as usize);
    for name in ["a", "b"] {
        let (idx, entry) = world.entry(world.identity(name)).expect("an entry");
        let slots = ring.iter().filter(|slot| **slot == idx).count();
        assert!(
            (32_767..=32_770).contains(&slots),
            "{name} has {slots} slots"
        );
        assert_eq!(entry.state, backend::state::UP);
        assert_eq!(entry.flows, backend::flows::FORWARD);
        assert_eq!((entry.ifindex, entry.snat_count), (7, 1));
    }
    assert_eq!(world.applied.services[&0].eligible, 2);
    assert_eq!(
        world.applied.snat,
        [words("10.0.0.5".parse().expect("an address"))]
    );
}

#[test]
fn the_same_inputs_need_no_writes() {
    let mut world = World::new(TWO_BACKENDS);
    assert!(world.step() > 0);
    assert_eq!(world.step(), 0);
}

#[test]
fn a_backend_that_goes_down_leaves_the_ring_and_resets_its_flows() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    world.set_up("a", false);
    world.step();
    let (idx, entry) = world.entry(world.identity("a")).expect("an entry");
    assert_eq!(entry.state, backend::state::DOWN);
    assert_eq!(entry.flows, backend::flows::RESET);
    assert!(!world.applied.rings[&0].slots.contains(&idx));
    assert_eq!(world.applied.services[&0].eligible, 1);
}

#[test]
fn on_down_keep_leaves_the_flows_alone() {
    let yaml = TWO_BACKENDS.replace("    backends:", "    on_down: keep\n    backends:");
    let mut world = World::new(&yaml);
    world.set_up("a", false);
    world.step();
    let (_, entry) = world.entry(world.identity("a")).expect("an entry");
    assert_eq!(entry.flows, backend::flows::FORWARD);
}

#[test]
fn a_new_ring_is_not_written_over_the_one_in_force() {
    let mut world = World::new(TWO_BACKENDS);
    let mut halves = Vec::new();
    for up in [true, false, false, true] {
        world.set_up("a", up);
        world.step();
        let half = world.applied.rings[&0].half;
        assert_eq!(world.applied.services[&0].ring_half, half);
        halves.push(half);
    }
    assert_eq!(halves, [0, 1, 1, 0], "it changes when the ring does");
}

#[test]
fn a_backend_of_weight_0_has_no_slot() {
    let mut world = World::new(&TWO_BACKENDS.replace(
        r#"name: a, address: "10.0.0.11:8080""#,
        r#"name: a, weight: 0, address: "10.0.0.11:8080""#,
    ));
    world.step();
    let (idx, entry) = world.entry(world.identity("a")).expect("an entry");
    assert_eq!(entry.state, backend::state::UP);
    assert!(!world.applied.rings[&0].slots.contains(&idx));
    assert_eq!(world.applied.services[&0].eligible, 1);
}

#[test]
fn without_a_backend_up_the_ring_is_empty() {
    let mut world = World::new(TWO_BACKENDS);
    world.set_up("a", false);
    world.set_up("b", false);
    world.step();
    assert_eq!(world.applied.services[&0].eligible, 0);
    assert!(
        world.applied.rings[&0]
            .slots
            .iter()
            .all(|slot| *slot == NO_BACKEND)
    );
}

#[test]
fn a_removed_backend_stays_as_removed_and_its_index_is_not_given_away() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    let gone = world.identity("a");
    let (gone_idx, _) = world.entry(gone).expect("an entry");
    world.config = parse(&TWO_BACKENDS.replace("10.0.0.11", "10.0.0.13"));
    world.all_up();
    world.step();
    let (idx, entry) = world.entry(gone).expect("still an entry");
    assert_eq!(idx, gone_idx);
    assert_eq!(entry.state, backend::state::REMOVED);
    assert_eq!(entry.flows, backend::flows::RESET);
    let (new_idx, _) = world.entry(world.identity("a")).expect("an entry");
    assert_ne!(new_idx, gone_idx);
    assert!(!world.applied.rings[&0].slots.contains(&gone_idx));
}

#[test]
fn a_backend_that_comes_back_gets_its_index_again() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    let before = world.applied.clone();
    world.config = parse(&TWO_BACKENDS.replace("10.0.0.11", "10.0.0.13"));
    world.all_up();
    world.step();
    world.config = parse(TWO_BACKENDS);
    world.step();
    let id = world.identity("a");
    assert_eq!(world.entry(id).map(|(idx, _)| idx), {
        let entry = before
            .backends
            .iter()
            .find(|(_, entry)| entry.identity == id);
        entry.map(|(idx, _)| *idx)
    });
}

#[test]
fn a_restarted_daemon_with_services_in_another_order_changes_no_index() {
    let second = r#"
  - name: mail
    listen: ["203.0.113.11:25"]
    backends:
      - { name: m, address: "10.0.0.21:25" }
"#;
    let mut world = World::new(&format!("{}{second}", TWO_BACKENDS.trim_end()));
    world.step();
    // A new daemon knows only what the maps hold.
    world.ids = Ids::adopt(&world.applied);
    world.rings = RingCache::default();
    world.config.services.reverse();
    assert_eq!(world.step(), 0);
}

#[test]
fn both_families_of_a_service_have_rings_of_their_own() {
    let yaml = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80", "[2001:db8::10]:80"]
    backends:
      - { name: a, address: "10.0.0.11:8080" }
      - { name: b, address: "[2001:db8:1::11]:8080" }
"#;
    let mut world = World::new(yaml);
    world.step();
    for (name, family) in [("a", Family::Inet), ("b", Family::Inet6)] {
        let (idx, _) = world.entry(world.identity(name)).expect("an entry");
        let service = identity::service("web", family);
        let (service_idx, _) = (world.applied.services.iter())
            .find(|(_, entry)| entry.identity == service)
            .expect("a service entry");
        assert!(
            world.applied.rings[service_idx]
                .slots
                .iter()
                .all(|slot| *slot == idx)
        );
    }
}

#[test]
fn the_filter_admits_vips_and_sources() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    let vip: SocketAddr = "203.0.113.10:80".parse().expect("an address");
    assert!(world.admits(hash::vip_bit(
        unmapped(&words(vip.ip())),
        vip.port().to_be(),
        6
    )));
    let source = words("10.0.0.5".parse().expect("an address"));
    assert!(world.admits(hash::snat_bit(unmapped(&source))));
}

#[test]
fn an_unresolved_next_hop_leaves_the_way_to_the_kernel() {
    let mut world = World::new(TWO_BACKENDS);
    for hop in world.next_hops.values_mut() {
        hop.peer_mac = None;
    }
    world.step();
    assert!(
        world
            .applied
            .backends
            .values()
            .all(|entry| entry.ifindex == 0)
    );
    assert!(
        world
            .applied
            .backends
            .values()
            .all(|entry| entry.snat_count == 1)
    );
}

#[test]
fn a_udp_service_has_its_protocol_and_its_one_timeout() {
    let yaml = TWO_BACKENDS.replace(
        "    backends:",
        "    protocol: udp\n    timeouts: { udp: 7s, half_open: 8s, established: 9s }\n    backends:",
    );
    let mut world = World::new(&yaml);
    world.step();
    let mut vips: Vec<u8> = (world.applied.vips4.keys().map(|vip| vip.protocol)).collect();
    vips.sort_unstable();
    assert_eq!(vips, [1, 17], "the address and the vip");
    let service = world.applied.services.values().next().expect("one");
    let timeouts = service.timeouts;
    assert_eq!(
        (timeouts.half_open_ms, timeouts.established_ms),
        (7_000, 7_000)
    );
    let protocols: Vec<u8> = (world.applied.backends.values())
        .map(|backend| backend.protocol)
        .collect();
    assert_eq!(protocols, [17, 17]);
}
