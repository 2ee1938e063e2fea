//! When too few backends are up, all are used.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{world::next_hop, *};
use crate::{
    config::OnDown,
    tables::{Hold, Overrides, identity_of},
};

/// Four backends of one weight, and two backups.
const FOUR: &str = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    panic_threshold: 50%
    backends:
      - { name: a, address: "10.0.0.11:8080" }
      - { name: b, address: "10.0.0.12:8080" }
      - { name: c, address: "10.0.0.13:8080" }
      - { name: d, address: "10.0.0.14:8080" }
"#;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl World {
    fn with_up(yaml: &str, up: &[&str]) -> Self {
        let mut world = Self::new(yaml);
        for backend in world.config.services[0].backends.clone() {
            world.set_up(&backend.name, up.contains(&backend.name.as_str()));
        }
        world.step();
        world
    }

    /// Who has slots of the ring.
    fn serving(&self) -> Vec<&str> {
        let service = &self.config.services[0];
        let slots: HashSet<u32> = self.applied.rings[&0].slots.iter().copied().collect();
        let takes_flows = |address| {
            let id = backend_identity(service, address);
            let mut entries = self.applied.backends.iter();
            entries.any(|(idx, entry)| identity_of(entry) == id && slots.contains(idx))
        };
        (service.backends.iter())
            .filter(|backend| takes_flows(backend.address))
            .map(|backend| backend.name.as_str())
            .collect()
    }

    fn panic(&self) -> Option<(usize, usize)> {
        let panic = Panic::of(&self.config.services[0], Family::Inet, &inputs!(self));
        panic.map(|panic| (panic.up, panic.of))
    }
}

#[test]
fn below_the_threshold_all_serve_and_at_it_those_that_are_up() {
    let mut world = World::with_up(FOUR, &["a", "b"]);
    assert_eq!((world.serving(), world.panic()), (vec!["a", "b"], None));
    world.set_up("b", false);
    world.step();
    assert_eq!(world.serving(), NAMES);
    assert_eq!(world.panic(), Some((1, 4)));
    world.set_up("a", false);
    world.step();
    assert_eq!(world.panic(), Some((0, 4)));
    assert_eq!(world.serving(), NAMES);
    // Their flows live: nobody is reset.
    assert!((world.applied.backends.values()).all(|entry| entry.flows == backend::flows::FORWARD));
    world.set_up("a", true);
    world.set_up("d", true);
    world.step();
    assert_eq!((world.serving(), world.panic()), (vec!["a", "d"], None));
}

#[test]
fn it_is_off_by_default() {
    let yaml = FOUR.replace("    panic_threshold: 50%\n", "");
    let world = World::with_up(&yaml, &["a"]);
    assert_eq!((world.serving(), world.panic()), (vec!["a"], None));
    assert!(World::with_up(&yaml, &[]).serving().is_empty());
}

#[test]
fn drained_ones_and_those_without_weight_neither_count_nor_serve() {
    let yaml = FOUR.replace("10.0.0.14:8080\"", "10.0.0.14:8080\", weight: 0");
    let mut world = World::with_up(&yaml, &["a"]);
    assert_eq!(world.panic(), Some((1, 3)));
    let id = world.identity("b");
    let drain = Overrides::held(Hold::Drain, world.now);
    world.overrides.insert(id, drain);
    world.step();
    assert_eq!(
        (world.serving(), world.panic()),
        (vec!["a"], None),
        "one of two"
    );
    world.set_up("a", false);
    world.step();
    assert_eq!(
        (world.serving(), world.panic()),
        (vec!["a", "c"], Some((0, 2)))
    );
}

#[test]
fn backups_that_are_up_take_over_before_anybody_panics() {
    let yaml = FOUR.replace("name: c,", "name: c, backup: true,");
    let yaml = yaml.replace("name: d,", "name: d, backup: true,");
    assert_eq!(World::with_up(&yaml, &["c", "d"]).serving(), ["c", "d"]);
    let yaml = yaml.replace("50%", "60%");
    let one_backup = World::with_up(&yaml, &["c"]);
    assert_eq!(one_backup.panic(), Some((1, 2)), "of the backups");
    assert_eq!(one_backup.serving(), ["c", "d"]);
    let one_other = World::with_up(&yaml, &["a", "c", "d"]);
    assert_eq!(one_other.panic(), Some((1, 2)), "of the others");
    assert_eq!(one_other.serving(), ["a", "b"]);
    assert_eq!(World::with_up(&yaml, &[]).serving(), ["a", "b"]);
}

#[test]
fn a_backend_that_the_mode_cannot_reach_is_not_used() {
    let yaml = FOUR.replace("panic_threshold", "mode: dsr\n    panic_threshold");
    let mut world = World::with_up(&yaml.replace(":8080", ":80"), &["a"]);
    let behind = NextHop {
        gateway: Some("10.0.0.1".parse().expect("an address")),
        ..next_hop()
    };
    world
        .next_hops
        .insert("10.0.0.12".parse().expect("an address"), behind);
    world.step();
    assert_eq!(world.serving(), ["a", "c", "d"]);
}

proptest! {
    #[test]
    fn whoever_panics_is_below_its_threshold_and_uses_all(
        percent in 0u32..=100,
        up in prop::array::uniform4(any::<bool>()),
        drained in prop::array::uniform4(any::<bool>()),
        weighs in prop::array::uniform4(any::<bool>()),
        keep in any::<bool>(),
    ) {
        let mut world = World::new(FOUR);
        let service = &mut world.config.services[0];
        service.panic_threshold_percent = percent;
        service.on_down = if keep { OnDown::Keep } else { OnDown::Reset };
        for (backend, weighs) in service.backends.iter_mut().zip(weighs) {
            backend.weight = u16::from(weighs);
        }
        for ((name, up), drained) in NAMES.into_iter().zip(up).zip(drained) {
            world.set_up(name, up);
            if drained {
                let id = world.identity(name);
                let drain = Overrides::held(Hold::Drain, world.now);
    world.overrides.insert(id, drain);
            }
        }
        world.step();
        let could: Vec<usize> = (0..4).filter(|n| weighs[*n] && !drained[*n]).collect();
        let are_up: Vec<usize> = could.iter().copied().filter(|n| up[*n]).collect();
        let panics = are_up.len() * 100 < could.len() * percent as usize;
        prop_assert_eq!(world.panic().is_some(), panics);
        let expected = if panics { could } else { are_up };
        let expected: Vec<&str> = expected.into_iter().map(|n| NAMES[n]).collect();
        prop_assert_eq!(world.serving(), expected);
    }
}
