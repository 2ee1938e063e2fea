//! Lists of sources: what the tables hold of them, and that no step of a change judges a packet by
//! anything but the old rules or the new ones.

use std::sync::Arc;

use lb_common::{
    V4, mapped,
    service::flag,
    sources::{SERVICE_BITS, Source, access},
    unmapped,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    config::{Access, Prefix, Rules},
    tables::sources::{Entry, Lists, changes, lists},
};

/// Makes changes of the tries in the form that the tables keep.
pub(super) fn write<A>(tables: &mut Lists, changes: &[(Entry<A>, Option<u32>)])
where
    A: Copy + AsRef<[u32]>,
{
    for ((length, source), value) in changes {
        let mut address = [0; 4];
        let given = source.address.as_ref();
        match given {
            [word] => address = mapped([*word]),
            words => address.copy_from_slice(words),
        }
        let one = [((*length, address_of(source.service_idx, address)), 0)];
        let one = lists(one, |words| words);
        let prefix = *one[&source.service_idx].keys().next().expect("one entry");
        let rules = Arc::make_mut(tables.entry(source.service_idx).or_default());
        match value {
            Some(access::ALLOW) => drop(rules.insert(prefix, Access::Allow)),
            Some(_) => drop(rules.insert(prefix, Access::Deny)),
            None => drop(rules.remove(&prefix).expect("it was there")),
        }
        if rules.is_empty() {
            tables.remove(&source.service_idx);
        }
    }
}

const fn address_of(service_idx: u32, address: [u32; 4]) -> Source<[u32; 4]> {
    Source {
        service_idx,
        address,
    }
}

const CROSSED: &str = r#"
interfaces: [eth0]
services:
  - name: plain
    listen: ["203.0.113.9:80"]
    backends: [{ name: a, address: "10.0.0.11:8080" }]
  - name: web
    mode: ipip
    listen: ["203.0.113.10:80", "[2001:db8::10]:80"]
    allow: ["192.0.2.0/24", "2001:db8:c::7"]
    deny: ["192.0.2.128/25"]
    backends: [{ name: a, address: "10.0.0.11:80" }]
"#;

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("a prefix");
    Prefix {
        address: address.parse().expect("an address"),
        length: length.parse().expect("a length"),
    }
}

fn rules(of: &[(&str, Access)]) -> Arc<Rules> {
    let rules = of.iter().map(|(text, access)| (prefix(text), *access));
    Arc::new(rules.collect())
}

/// Backends of one family serve vips of both: one entry of `services` has the rules of both.
#[test]
fn a_service_has_the_rules_of_its_clients_families() {
    use Access::{Allow, Deny};
    let mut world = World::new(CROSSED);
    world.step();
    let flags: Vec<u8> = world.applied.services.values().map(|s| s.flags).collect();
    assert_eq!(flags, [0, flag::SOURCES]);
    let v4 = rules(&[
        ("0.0.0.0/0", Deny),
        ("192.0.2.0/24", Allow),
        ("192.0.2.128/25", Deny),
    ]);
    let v6 = rules(&[("::/0", Deny), ("2001:db8:c::7/128", Allow)]);
    assert_eq!(world.applied.sources4, BTreeMap::from([(1, v4)]));
    assert_eq!(world.applied.sources6, BTreeMap::from([(1, v6)]));
}

#[test]
fn rules_of_a_family_without_vips_are_left_out() {
    let yaml = TWO_BACKENDS.replace("    backends", "    deny: [\"::/0\"]\n    backends");
    let mut world = World::new(&yaml);
    world.step();
    assert!(world.applied.sources4.is_empty() && world.applied.sources6.is_empty());
    assert_eq!(world.applied.services[&0].flags, 0);
}

#[test]
fn rules_go_with_their_lists_and_with_their_service() {
    let mut world = World::new(CROSSED);
    world.step();
    let without = CROSSED
        .replace("    allow", "    # allow")
        .replace("    deny", "    # deny");
    world.config = parse(&without);
    // The service's flag, three entries of IPv4 and two of IPv6.
    assert_eq!(world.step(), 1 + 3 + 2);
    assert_eq!(world.applied.services[&1].flags, 0);
    assert!(world.applied.sources4.is_empty() && world.applied.sources6.is_empty());

    world.config = parse(CROSSED);
    world.step();
    let (first, _) = CROSSED.split_once("  - name: web").expect("two services");
    world.config = parse(first);
    world.step();
    assert!(world.applied.sources4.is_empty() && world.applied.sources6.is_empty());
}

#[test]
fn a_changed_list_is_written_by_its_difference() {
    let mut world = World::new(CROSSED);
    world.step();
    world.config = parse(&CROSSED.replace("192.0.2.128/25", "192.0.2.64/26"));
    assert_eq!(world.step(), 2);
    world.config = parse(CROSSED);
    assert_eq!(world.step(), 2);
    assert_eq!(world.step(), 0);
}

/// What a trie says of an address.
fn judged(trie: &HashMap<Entry<V4>, u32>, address: u32) -> u32 {
    (0..=32)
        .rev()
        .find_map(|length| {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let source = Source {
                service_idx: 0,
                address: [(address & mask).to_be()],
            };
            trie.get(&(SERVICE_BITS + length, source)).copied()
        })
        .unwrap_or(access::ALLOW)
}

fn narrow(words: [u32; 4]) -> V4 {
    unmapped(&words)
}

/// Rules whose prefixes nest: all begin with the same bits.
fn nested() -> impl Strategy<Value = Rules> {
    let rule = (
        0..=32_u32,
        0..4_u32,
        select(&[Access::Allow, Access::Deny][..]),
    );
    vec(rule, 0..8).prop_map(|rules| {
        let rules = rules.into_iter().map(|(length, low, access)| {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let address = IpAddr::from(((0x0a00_0000 | low) & mask).to_be_bytes());
            let length = u8::try_from(length).expect("at most 32");
            (Prefix { address, length }, access)
        });
        rules.collect()
    })
}

proptest! {
    #[test]
    fn each_step_of_a_change_judges_by_the_old_rules_or_the_new_ones(
        old in nested(), new in nested(),
    ) {
        let as_lists = |rules: &Rules| Lists::from([(0, Arc::new(rules.clone()))]);
        let (old, new) = (as_lists(&old), as_lists(&new));
        let mut trie: HashMap<Entry<V4>, u32> = changes(&Lists::new(), &old, narrow)
            .into_iter()
            .map(|(entry, value)| (entry, value.expect("nothing to remove")))
            .collect();
        let addresses = [0_u32, 0x0a00_0000, 0x0a00_0001, 0x0a00_0002, 0x0a00_0003, u32::MAX];
        let judge = |trie: &HashMap<Entry<V4>, u32>| addresses.map(|address| judged(trie, address));
        let before = judge(&trie);
        let all = changes(&Lists::new(), &new, narrow);
        let after = judge(&all.into_iter().map(|(entry, value)| (entry, value.unwrap())).collect());
        for (entry, value) in changes(&old, &new, narrow) {
            match value {
                Some(value) => drop(trie.insert(entry, value)),
                None => drop(trie.remove(&entry).expect("it was there")),
            }
            for (now, (before, after)) in judge(&trie).iter().zip(before.iter().zip(&after)) {
                prop_assert!(now == before || now == after);
            }
        }
        prop_assert_eq!(judge(&trie), after);
        let read = lists(trie, mapped);
        let new: Lists = new.into_iter().filter(|(_, rules)| !rules.is_empty()).collect();
        prop_assert_eq!(read, new);
    }
}
