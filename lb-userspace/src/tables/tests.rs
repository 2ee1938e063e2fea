//! What the tables hold for a configuration, and what stays the same over changes.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lb_common::{NO_BACKEND, RING_SLOTS, backend, hash, unmapped};

use super::{
    Family, Health, Inputs, RingCache, Tables, backend_identity, compute,
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
            drained: &$world.drained,
            came_up: &$world.came_up,
            now: $world.now,
            next_hops: &$world.next_hops,
            on_veth: false,
        }
    };
}

mod affinity;
mod kept;
mod modes;
mod schedulers;
mod sources;
mod standing;
mod vips;

/// A world in which the tables are computed again and again.
struct World {
    config: Config,
    health: HashMap<u64, Health>,
    drained: HashMap<u64, SystemTime>,
    came_up: HashMap<u64, SystemTime>,
    now: SystemTime,
    next_hops: HashMap<IpAddr, NextHop>,
    applied: Tables,
    ids: Ids,
    rings: RingCache,
}

impl World {
    fn new(yaml: &str) -> Self {
        let config = parse(yaml);
        let mut world = Self {
            config,
            health: HashMap::new(),
            drained: HashMap::new(),
            came_up: HashMap::new(),
            now: UNIX_EPOCH + Duration::from_secs(2000),
            next_hops: HashMap::new(),
            applied: Tables::empty(),
            ids: Ids::default(),
            rings: RingCache::default(),
        };
        world.all_up();
        world
    }

    fn all_up(&mut self) {
        for service in &self.config.services {
            for backend in &service.backends {
                self.health.insert(
                    backend_identity(service, backend.address),
                    Health {
                        up: true,
                        since: UNIX_EPOCH + Duration::from_secs(1000),
                    },
                );
                self.next_hops.insert(backend.address.ip(), next_hop());
            }
        }
    }

    fn set_up(&mut self, backend: &str, up: bool) {
        let id = self.identity(backend);
        self.health.get_mut(&id).expect("a known backend").up = up;
    }

    fn identity(&self, backend: &str) -> u64 {
        let service = &self.config.services[0];
        let address = (service.backends.iter())
            .find(|b| b.name == backend)
            .expect("a configured backend")
            .address;
        backend_identity(service, address)
    }

    fn entry(&self, identity: u64) -> Option<(u32, &backend::Backend)> {
        (self.applied.backends.iter())
            .find(|(_, entry)| entry.identity == identity)
            .map(|(idx, entry)| (*idx, entry))
    }

    /// The filter lets packets through that need this bit.
    fn admits(&self, bit: usize) -> bool {
        self.applied.settings.filter[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Computes and takes over; returns how much had to be written.
    fn step(&mut self) -> usize {
        let inputs = inputs!(self);
        let desired = compute(&inputs, &self.applied, &mut self.ids, &mut self.rings)
            .expect("the tables have room");
        let changes = difference(&self.applied, &desired);
        write(&mut self.applied, &changes);
        assert_eq!(self.applied, desired, "the difference leads there");
        changes.len()
    }
}

/// What the maps hold once these changes are written.
fn write(tables: &mut Tables, changes: &Changes) {
    fn ordered<V: Clone>(entries: &mut BTreeMap<u32, V>, changes: &[(u32, Option<V>)]) {
        for (idx, value) in changes {
            match value {
                Some(value) => drop(entries.insert(*idx, value.clone())),
                None => drop(entries.remove(idx).expect("it was there")),
            }
        }
    }
    fn hashed<K: Copy + Eq + Hash>(entries: &mut HashMap<K, u32>, changes: &[(K, Option<u32>)]) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(entries.insert(*key, *value)),
                None => drop(entries.remove(key).expect("it was there")),
            }
        }
    }
    if let Some(settings) = &changes.settings {
        tables.settings = settings.clone();
    }
    for (idx, address) in &changes.snat {
        match tables.snat.get_mut(*idx as usize) {
            Some(before) => *before = *address,
            None => tables.snat.push(*address),
        }
    }
    ordered(&mut tables.backends, &changes.backends);
    ordered(&mut tables.tunnels, &changes.tunnels);
    ordered(&mut tables.rings, &changes.rings);
    ordered(&mut tables.services, &changes.services);
    hashed(&mut tables.vips4, &changes.vips4);
    hashed(&mut tables.vips6, &changes.vips6);
    hashed(&mut tables.vip_ranges4, &changes.vip_ranges4);
    hashed(&mut tables.vip_ranges6, &changes.vip_ranges6);
    sources::write(&mut tables.sources4, &changes.sources4);
    sources::write(&mut tables.sources6, &changes.sources6);
}

fn parse(yaml: &str) -> Config {
    config::parse(yaml, "test.yaml").expect("a valid configuration")
}

fn next_hop() -> NextHop {
    NextHop {
        ifindex: 7,
        local_mac: [2, 0, 0, 0, 0, 1],
        peer_mac: Some([2, 0, 0, 0, 0, 2]),
        source: "10.0.0.5".parse().expect("an address"),
        gateway: None,
        mtu: 1500,
    }
}

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
    assert!(world.applied.vips4.keys().all(|vip| vip.protocol == 17));
    assert_eq!(world.applied.vips4.len(), 1);
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
