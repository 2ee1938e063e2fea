//! Which sources may open flows, by service, and the entries that say so in the tries of the maps.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr, sync::Arc};

use lb_common::{
    V6,
    service::flag,
    sources::{SERVICE_BITS, Source, access},
};

use super::{Tables, address::ip, words};
use crate::config::{Access, Prefix, Rules, Service, Vip};

/// The rules of one address family, by service; those without any are left out.
pub type Lists = BTreeMap<u32, Arc<Rules>>;

/// An entry of a trie: the length of its key in bits, and what follows it.
pub type Entry<A> = (u32, Source<A>);

/// Adds the rules of a service for the clients of these vips. Returns the flag that has them obeyed.
pub(super) fn add(service: &Service, service_idx: u32, vips: &[Vip], desired: &mut Tables) -> u8 {
    let sources = &service.sources;
    let mut flags = 0;
    for (rules, v4, lists) in [
        (&sources.v4, true, &mut desired.sources4),
        (&sources.v6, false, &mut desired.sources6),
    ] {
        if !rules.is_empty() && vips.iter().any(|vip| vip.is_ipv4() == v4) {
            lists.insert(service_idx, Arc::clone(rules));
            flags = flag::SOURCES;
        }
    }
    flags
}

/// What leads from `applied` to `desired`, in an order in which each packet meets the old rules or the
/// new ones: an entry is in force only until a longer one comes, so the longest come first, and the
/// shortest go first.
pub(super) fn changes<A>(
    applied: &Lists,
    desired: &Lists,
    narrow: impl Fn(V6) -> A,
) -> Vec<(Entry<A>, Option<u32>)> {
    let none = Rules::new();
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    for (service_idx, rules) in desired {
        let before = applied.get(service_idx);
        if before == Some(rules) {
            continue;
        }
        let before = before.map_or(&none, Arc::as_ref);
        set.extend(
            (rules.iter())
                .filter(|(prefix, access)| before.get(prefix) != Some(access))
                .map(|(prefix, access)| (*service_idx, *prefix, *access)),
        );
    }
    for (service_idx, rules) in applied {
        let after = desired.get(service_idx);
        if after == Some(rules) {
            continue;
        }
        let after = after.map_or(&none, Arc::as_ref);
        removed.extend(
            (rules.keys())
                .filter(|prefix| !after.contains_key(prefix))
                .map(|prefix| (*service_idx, *prefix)),
        );
    }
    set.sort_by_key(|(_, prefix, _)| Reverse(prefix.length));
    removed.sort_by_key(|(_, prefix)| prefix.length);
    let entry = |service_idx, prefix: Prefix| {
        let source = Source {
            service_idx,
            address: narrow(words(prefix.address)),
        };
        (SERVICE_BITS + u32::from(prefix.length), source)
    };
    let set = set
        .into_iter()
        .map(|(service_idx, prefix, access)| (entry(service_idx, prefix), Some(number(access))));
    let removed =
        (removed.into_iter()).map(|(service_idx, prefix)| (entry(service_idx, prefix), None));
    set.chain(removed).collect()
}

/// The rules that these entries of a trie stand for.
pub fn lists<A: Copy>(
    entries: impl IntoIterator<Item = (Entry<A>, u32)>,
    widen: impl Fn(A) -> V6,
) -> Lists {
    let mut lists: BTreeMap<u32, Rules> = BTreeMap::new();
    for ((length, source), value) in entries {
        let address: IpAddr = ip(widen(source.address));
        let length = u8::try_from(length.saturating_sub(SERVICE_BITS)).unwrap_or(u8::MAX);
        let access = match value {
            access::ALLOW => Access::Allow,
            _ => Access::Deny,
        };
        let rules = lists.entry(source.service_idx).or_default();
        rules.insert(Prefix { address, length }, access);
    }
    (lists.into_iter())
        .map(|(service_idx, rules)| (service_idx, Arc::new(rules)))
        .collect()
}

const fn number(access: Access) -> u32 {
    match access {
        Access::Allow => access::ALLOW,
        Access::Deny => access::DENY,
    }
}
