//! What a diff says is what happens: the same change is carried out, and slots and entries are counted.

use std::time::{Duration, UNIX_EPOCH};

use lb_common::backend::{flows, state};
use proptest::prelude::*;

use super::*;
use crate::tables::Hold;

/// One backend in two files: its weight in each, if it is there.
#[derive(Clone, Debug)]
struct Plan {
    before: Option<u16>,
    after: Option<u16>,
    up: bool,
    held: Option<Hold>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let weight = || prop::option::weighted(0.8, prop_oneof![1 => Just(0), 5 => 1_u16..5]);
    let held =
        prop_oneof![6 => Just(None), 1 => Just(Some(Hold::Drain)), 1 => Just(Some(Hold::Maint))];
    (weight(), weight(), prop::bool::weighted(0.8), held).prop_map(|(before, after, up, held)| {
        Plan {
            before,
            after,
            up,
            held,
        }
    })
}

#[derive(Clone, Debug)]
struct Options {
    scheduler: &'static str,
    on_down: &'static str,
    mode: &'static str,
}

fn options() -> impl Strategy<Value = Options> {
    let of = |words: &'static [&'static str]| prop::sample::select(words);
    let mode = prop_oneof![5 => Just("nat"), 1 => Just("route")];
    (of(&["maglev", "round_robin"]), of(&["reset", "keep"]), mode).prop_map(
        |(scheduler, on_down, mode)| Options {
            scheduler,
            on_down,
            mode,
        },
    )
}

fn config(options: &Options, weights: &[Option<u16>]) -> Config {
    let mut yaml = format!(
        "interfaces: [eth0]\ndefaults: {{ scheduler: {}, on_down: {}, mode: {} }}\nservices:\n\
         - name: quiet\n  listen: [\"203.0.113.11:80\"]\n  backends: \
         [{{ name: q, address: \"10.0.1.1:80\" }}]\n\
         - name: web\n  listen: [\"203.0.113.10:80\", \"[2001:db8::10]:80\"]\n  backends:\n",
        options.scheduler, options.on_down, options.mode
    );
    // So that mode `route` has a backend of each family.
    yaml.push_str("  - { name: z4, address: \"10.0.0.99:80\" }\n");
    yaml.push_str("  - { name: z6, address: \"[fd00::99]:80\" }\n");
    for (n, weight) in weights.iter().enumerate() {
        if let Some(weight) = weight {
            let address = if n % 3 == 2 {
                format!("[fd00::{n}]:80")
            } else {
                format!("10.0.0.{n}:80")
            };
            yaml.push_str(&format!(
                "  - {{ name: b{n}, address: \"{address}\", weight: {weight} }}\n"
            ));
        }
    }
    config::parse(&yaml, "test.yaml").unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn backends(config: &Config) -> impl Iterator<Item = (&Service, &Backend)> {
    (config.services.iter()).flat_map(|s| s.backends.iter().map(move |b| (s, b)))
}

/// A daemon that runs the first file.
fn running(before: &Config, plans: &[Plan]) -> Copies {
    let mut copies = Copies {
        before: before.clone(),
        after: before.clone(),
        applied: Tables::empty(),
        ids: Ids::default(),
        rings: RingCache::default(),
        health: HashMap::new(),
        overrides: HashMap::new(),
        came_up: HashMap::new(),
        next_hops: HashMap::new(),
        interfaces: BTreeMap::new(),
        on_veth: false,
    };
    let since = UNIX_EPOCH + Duration::from_secs(1000);
    for (service, backend) in backends(before) {
        let id = backend_identity(service, backend.address);
        let number = backend
            .name
            .strip_prefix('b')
            .and_then(|n| n.parse::<usize>().ok());
        let plan = number.map(|n| &plans[n]);
        let held = plan.and_then(|plan| plan.held);
        let up = plan.is_none_or(|plan| plan.up);
        if held != Some(Hold::Maint) {
            copies.health.insert(id, Health { up, since });
        }
        if let Some(held) = held {
            copies
                .overrides
                .insert(id, Overrides::held(held, SystemTime::now()));
        }
    }
    copies.applied = copies.compute().expect("room");
    copies
}

fn copied(of: &Copies, after: &Config) -> Copies {
    Copies {
        before: of.before.clone(),
        after: after.clone(),
        applied: of.applied.clone(),
        ids: of.ids.clone(),
        rings: of.rings.clone(),
        health: of.health.clone(),
        overrides: of.overrides.clone(),
        came_up: of.came_up.clone(),
        next_hops: of.next_hops.clone(),
        interfaces: of.interfaces.clone(),
        on_veth: of.on_veth,
    }
}

/// Slots that really changed, by service index.
fn changed(before: &Tables, after: &Tables) -> BTreeMap<u32, u64> {
    (before.rings.iter())
        .filter_map(|(idx, was)| {
            let is = after.rings.get(idx)?;
            let slots = (0..RING_SLOTS as usize).filter(|n| was.slots[*n] != is.slots[*n]);
            Some((*idx, slots.count() as u64))
        })
        .collect()
}

/// Each ring has as many slots that changed as it was said.
fn compare(daemon: &Copies, after: &Tables, said: &Diff, count: fn(&RingDiff) -> u64) {
    let mut changed = changed(&daemon.applied, after);
    for name in ["web", "quiet"] {
        let service = said.services.iter().find(|service| service.name == name);
        for (family, text) in [(Family::Inet, "IPv4"), (Family::Inet6, "IPv6")] {
            let idx = daemon.ids.known_service(identity::service(name, family));
            let Some(slots) = idx.and_then(|idx| changed.remove(&idx)) else {
                continue;
            };
            let ring = service.and_then(|s| s.rings.iter().find(|ring| ring.family == text));
            assert_eq!(ring.map_or(0, count), slots, "{name} {text}");
        }
    }
    assert!(changed.is_empty(), "{changed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_it_says_is_what_happens(
        plans in prop::collection::vec(plan(), 7),
        old in options(),
        new in options(),
        same in prop::bool::ANY,
    ) {
        let new = if same { old.clone() } else { new };
        let weights = |of: fn(&Plan) -> Option<u16>| plans.iter().map(of).collect::<Vec<_>>();
        let before = config(&old, &weights(|plan| plan.before));
        let after = config(&new, &weights(|plan| plan.after));
        let mut daemon = running(&before, &plans);
        // As many flows at each backend as its index tells, so that none is taken for another.
        let flows: HashMap<u32, u64> =
            daemon.applied.backends.keys().map(|idx| (*idx, 1 << idx)).collect();
        let said = copied(&daemon, &after).forecast(&flows).expect("room");

        daemon.after = after.clone();
        let done = daemon.compute().expect("room");
        compare(&daemon, &done, &said, |ring| ring.moved);

        // Entries of flows, counted one by one.
        let (mut reset, mut drained) = (0, 0);
        for (idx, was) in &daemon.applied.backends {
            let is = done.backends[idx];
            let took = was.state == state::UP && was.weight > 0;
            let takes = is.state == state::UP && is.weight > 0;
            match (was.flows, is.flows) {
                (flows::FORWARD, flows::RESET) => reset += flows[idx],
                _ if took && !takes => drained += flows[idx],
                _ => {}
            }
        }
        prop_assert_eq!((said.flows_reset, said.flows_drained), (reset, drained));
        if before == after {
            prop_assert!(said.is_empty());
        }

        // New backends are found up.
        for (service, backend) in backends(&after) {
            let id = backend_identity(service, backend.address);
            let up = Health { up: true, since: SystemTime::now() };
            daemon.health.entry(id).or_insert(up);
        }
        let later = daemon.compute().expect("room");
        compare(&daemon, &later, &said, |ring| ring.moved_when_up);
    }
}

#[test]
fn what_comes_goes_and_stays_is_told() {
    let options = Options {
        scheduler: "maglev",
        on_down: "reset",
        mode: "nat",
    };
    let plans = vec![
        Plan {
            before: Some(1),
            after: None,
            up: true,
            held: Some(Hold::Drain),
        },
        Plan {
            before: Some(1),
            after: Some(3),
            up: true,
            held: None,
        },
        Plan {
            before: None,
            after: Some(1),
            up: true,
            held: None,
        },
    ];
    let before = config(&options, &[Some(1), Some(1), None]);
    let mut after = config(&options, &[None, Some(3), Some(1)]);
    after.services.remove(0);
    let mut shop = after.services[0].clone();
    shop.name = "shop".to_owned();
    after.services.push(shop);
    let daemon = running(&before, &plans);
    let flows: HashMap<u32, u64> = daemon
        .applied
        .backends
        .keys()
        .map(|idx| (*idx, 10))
        .collect();
    let said = copied(&daemon, &after).forecast(&flows).expect("room");
    let services: Vec<_> = (said.services.iter())
        .map(|s| (s.name.as_str(), s.change))
        .collect();
    assert_eq!(
        services,
        [
            ("quiet", Change::Removed),
            ("shop", Change::Added),
            ("web", Change::Changed)
        ]
    );
    let web = &said.services[2];
    let told: Vec<_> = (web.backends.iter())
        .map(|b| {
            (
                b.name.as_str(),
                b.change,
                b.settings.len(),
                b.flows_reset,
                b.loses_override,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("b0", Change::Removed, 0, 10, true),
            ("b1", Change::Changed, 1, 0, false),
            ("b2", Change::Added, 0, 0, false),
        ]
    );
    // The service that goes has one backend.
    assert_eq!((said.flows_reset, said.flows_drained), (20, 0));
    let v6 = (web.rings.iter())
        .find(|ring| ring.family == "IPv6")
        .expect("a ring");
    assert_eq!(v6.moved, 0, "the new one has not been probed");
    assert!(v6.moved_when_up > 0);
}
