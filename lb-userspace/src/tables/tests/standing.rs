//! Who takes new flows, and whose flows go on: backups, drains, slow starts.

use super::*;
use crate::tables::{Decision, Hold, Overrides, maglev, next_change};

const THREE: &str = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    drain_timeout: 60s
    slow_start: 90s
    backends:
      - { name: a, address: "10.0.0.11:8080" }
      - { name: b, address: "10.0.0.12:8080", weight: 2 }
      - { name: c, address: "10.0.0.13:8080" }
"#;

fn with_backups(names: &[&str]) -> World {
    let mut yaml = THREE.to_owned();
    for name in names {
        yaml = yaml.replace(
            &format!("name: {name},"),
            &format!("name: {name}, backup: true,"),
        );
    }
    World::new(&yaml)
}

impl World {
    fn after(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.step();
    }

    fn drain(&mut self, backend: &str) {
        let id = self.identity(backend);
        self.overrides
            .insert(id, Overrides::held(Hold::Drain, self.now));
        self.step();
    }

    fn disable(&mut self, backend: &str) {
        let id = self.identity(backend);
        self.overrides
            .insert(id, Overrides::held(Hold::Maint, self.now));
        self.health.remove(&id);
        self.step();
    }

    fn weigh(&mut self, backend: &str, to: u16) {
        let id = self.identity(backend);
        let decision = Decision {
            to,
            since: self.now,
            uid: Some(0),
        };
        self.overrides.entry(id).or_default().weight = Some(decision);
        self.step();
    }

    fn comes_up(&mut self, backend: &str) {
        self.set_up(backend, true);
        let id = self.identity(backend);
        self.came_up.insert(id, self.now);
        self.step();
    }

    fn of(&self, backend: &str) -> &backend::Backend {
        self.entry(self.identity(backend)).expect("an entry").1
    }

    /// The share of the ring of each backend, in whole percent, rounded.
    fn shares(&self) -> [u32; 3] {
        ["a", "b", "c"].map(|name| {
            let (idx, _) = self.entry(self.identity(name)).expect("an entry");
            let slots = self.applied.rings[&0].slots.iter();
            let count = slots.filter(|slot| **slot == idx).count() as u32;
            (count * 100 + RING_SLOTS / 2) / RING_SLOTS
        })
    }

    fn next_change_in(&self) -> Option<u64> {
        let next = next_change(&inputs!(self))?;
        Some(next.duration_since(self.now).expect("to come").as_secs())
    }
}

#[test]
fn backups_take_over_when_nobody_else_is_up_and_hand_back() {
    let mut world = with_backups(&["b", "c"]);
    world.step();
    assert_eq!(world.shares(), [100, 0, 0]);
    assert_eq!(world.applied.services[&0].eligible, 1);
    let weights = |world: &World| ["a", "b", "c"].map(|name| world.of(name).weight);
    assert_eq!(
        weights(&world),
        [1, 0, 0],
        "whom affinity may send someone to"
    );
    world.set_up("a", false);
    world.step();
    assert_eq!(world.shares(), [0, 67, 33], "by weight");
    assert_eq!(world.applied.services[&0].eligible, 2);
    world.set_up("a", true);
    world.step();
    assert_eq!(world.shares(), [100, 0, 0]);
    // The flows they have live on.
    for backup in ["b", "c"] {
        let entry = world.of(backup);
        assert_eq!(
            (entry.state, entry.flows),
            (backend::state::UP, backend::flows::FORWARD)
        );
    }
}

#[test]
fn backups_take_over_from_backends_that_drain_or_have_no_weight() {
    let mut world = with_backups(&["b"]);
    world.step();
    world.drain("a");
    assert_eq!(world.shares(), [0, 0, 100]);
    world.drain("c");
    assert_eq!(world.shares(), [0, 100, 0]);

    let mut world = with_backups(&["b", "c"]);
    world.config.services[0].backends[0].weight = 0;
    world.step();
    assert_eq!(world.shares(), [0, 67, 33]);
}

#[test]
fn backups_alone_are_as_others() {
    let mut world = with_backups(&["a", "b", "c"]);
    world.step();
    assert_eq!(world.shares(), [25, 50, 25]);
}

#[test]
fn a_backup_of_one_family_does_not_wait_for_the_other() {
    let yaml = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80", "[2001:db8::10]:80"]
    backends:
      - { name: a, address: "10.0.0.11:8080" }
      - { name: b, address: "[2001:db8:1::11]:8080", backup: true }
"#;
    let mut world = World::new(yaml);
    world.step();
    assert!((world.applied.services.values()).all(|service| service.eligible == 1));
}

#[test]
fn a_drained_backend_keeps_its_flows_until_the_deadline() {
    let mut world = World::new(THREE);
    world.step();
    world.drain("b");
    assert_eq!(world.shares(), [50, 0, 50]);
    let entry = world.of("b");
    assert_eq!(
        (entry.state, entry.flows),
        (backend::state::DRAIN, backend::flows::FORWARD)
    );
    assert_eq!(entry.since_unix, 2000);
    assert_eq!(world.next_change_in(), Some(60));
    world.after(59);
    assert_eq!(world.of("b").flows, backend::flows::FORWARD);
    assert_eq!(world.next_change_in(), Some(1));
    world.after(1);
    let entry = world.of("b");
    assert_eq!(
        (entry.state, entry.flows),
        (backend::state::DRAIN, backend::flows::RESET)
    );
    assert_eq!(world.next_change_in(), None);
    // Enabled again.
    world.overrides.clear();
    world.step();
    let entry = world.of("b");
    assert_eq!(
        (entry.state, entry.flows),
        (backend::state::UP, backend::flows::FORWARD)
    );
    assert_eq!(world.shares(), [25, 50, 25]);
}

#[test]
fn on_down_keep_lets_a_drained_backends_flows_run() {
    let yaml = THREE.replace("    backends:", "    on_down: keep\n    backends:");
    let mut world = World::new(&yaml);
    world.step();
    world.drain("b");
    world.after(100);
    assert_eq!(world.of("b").flows, backend::flows::FORWARD);
    assert_eq!(world.shares(), [50, 0, 50]);
}

#[test]
fn a_drained_backend_that_dies_resets_its_flows_and_drains_on_when_it_is_well() {
    let mut world = World::new(THREE);
    world.step();
    world.drain("b");
    world.set_up("b", false);
    world.after(10);
    let entry = world.of("b");
    assert_eq!(
        (entry.state, entry.flows),
        (backend::state::DRAIN, backend::flows::RESET)
    );
    assert_eq!(entry.since_unix, 2000, "the drain goes on");
    world.comes_up("b");
    let entry = world.of("b");
    assert_eq!(
        (entry.state, entry.flows),
        (backend::state::DRAIN, backend::flows::FORWARD)
    );
    assert_eq!(world.shares(), [50, 0, 50]);
}

#[test]
fn a_disabled_backend_is_dead_to_its_flows_at_once() {
    for (on_down, flows) in [
        ("reset", backend::flows::RESET),
        ("keep", backend::flows::FORWARD),
    ] {
        let on_down = format!("    on_down: {on_down}\n    backends:");
        let mut world = World::new(&THREE.replace("    backends:", &on_down));
        world.step();
        world.disable("b");
        let entry = world.of("b");
        assert_eq!((entry.state, entry.flows), (backend::state::MAINT, flows));
        assert_eq!(entry.since_unix, 2000);
        assert_eq!(world.shares(), [50, 0, 50]);
        assert_eq!(world.next_change_in(), None, "it has no deadline");
    }
}

#[test]
fn a_weight_of_the_operators_is_in_force_in_place_of_the_files() {
    let mut world = World::new(THREE);
    world.step();
    world.weigh("a", 2);
    assert_eq!(world.of("a").weight, 2);
    assert_eq!(world.shares(), [40, 40, 20]);
    world.config.services[0].backends[0].weight = 7;
    assert_eq!(world.step(), 0, "the file's does not count");
    world.weigh("a", 0);
    assert_eq!(world.shares(), [0, 67, 33]);
    let entry = world.of("a");
    assert_eq!(
        (entry.state, entry.flows),
        (backend::state::UP, backend::flows::FORWARD)
    );
    world.config.services[0].backends[0].weight = 1;
    world.overrides.clear();
    world.step();
    assert_eq!(world.shares(), [25, 50, 25]);
}

#[test]
fn without_a_drain_timeout_flows_end_at_once() {
    let mut world = World::new(&THREE.replace("drain_timeout: 60s", "drain_timeout: 0s"));
    world.step();
    world.drain("b");
    assert_eq!(world.of("b").flows, backend::flows::RESET);
    assert_eq!(world.next_change_in(), None);
}

#[test]
fn a_backend_that_comes_up_gets_its_share_in_steps() {
    let mut world = World::new(THREE);
    world.set_up("b", false);
    world.step();
    world.comes_up("b");
    // 2 x 10 % beside 1 and 1.
    assert_eq!(world.shares(), [45, 9, 45]);
    assert_eq!(world.next_change_in(), Some(10));
    world.after(40);
    // 2 x 50 %.
    assert_eq!(world.shares(), [33, 33, 33]);
    world.after(50);
    assert_eq!(world.shares(), [25, 50, 25]);
    assert_eq!(world.next_change_in(), None);
    // As if there had been no slow start.
    let ring = world.applied.rings[&0].slots.clone();
    world.came_up.clear();
    world.step();
    assert_eq!(world.applied.rings[&0].slots, ring);
}

#[test]
fn a_step_moves_slots_to_the_backend_that_comes_up() {
    let mut world = World::new(THREE);
    world.set_up("a", false);
    world.step();
    world.comes_up("a");
    let (a, _) = world.entry(world.identity("a")).expect("an entry");
    for _ in 0..9 {
        let before = world.applied.rings[&0].slots.clone();
        world.after(10);
        let after = &world.applied.rings[&0].slots;
        assert_ne!(before, *after);
        let moved = (before.iter().zip(after.iter()))
            .filter(|(before, after)| before != after && **after != a)
            .count();
        assert!(moved < RING_SLOTS as usize / 100, "{moved} moved elsewhere");
    }
}

#[test]
fn backends_that_come_up_together_share_as_ever() {
    let mut world = World::new(THREE);
    world.step();
    let ring = world.applied.rings[&0].slots.clone();
    for backend in ["a", "b", "c"] {
        world.comes_up(backend);
    }
    assert_eq!(world.applied.rings[&0].slots, ring);
    // A backup that stands by does not count.
    let mut world = with_backups(&["c"]);
    world.step();
    let ring = world.applied.rings[&0].slots.clone();
    world.comes_up("a");
    world.comes_up("b");
    assert_eq!(world.applied.rings[&0].slots, ring);
}

#[test]
fn a_ring_of_weights_is_that_of_their_multiples() {
    let members = |factor: u32| -> Vec<maglev::Member> {
        (0..10)
            .map(|n| maglev::Member {
                backend_idx: n,
                identity: hash::mix(u64::from(n)),
                weight: factor * [1, 2, 7, 500, 1000][n as usize % 5],
            })
            .collect()
    };
    let ring = maglev::build(&members(1), RING_SLOTS);
    for factor in [10, 37, 100] {
        assert_eq!(maglev::build(&members(factor), RING_SLOTS), ring);
    }
}
