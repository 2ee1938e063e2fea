//! The difference of two sets of tables: what has to be written to get from one to the other.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use lb_common::{
    V4, V6,
    backend::{Backend, Tunnel},
    interface::Interface,
    service::{PortPrefix, Service, Settings, VipKey},
    unmapped,
};

use super::{
    Tables,
    ring::Ring,
    sources::{self, Entry},
};

/// Writes, in no order save those of sources; `datapath` knows the order in which they are safe. `None` removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub settings: Option<Box<Settings>>,
    pub snat: Vec<(u32, V6)>,
    pub interfaces: Vec<(u32, Option<Interface>)>,
    pub backends: Vec<(u32, Option<Backend>)>,
    pub tunnels: Vec<(u32, Option<Tunnel>)>,
    pub rings: Vec<(u32, Option<Ring>)>,
    pub services: Vec<(u32, Option<Service>)>,
    pub vips4: Vec<(VipKey<V4>, Option<u32>)>,
    pub vips6: Vec<(VipKey<V6>, Option<u32>)>,
    pub vip_ranges4: Vec<(PortPrefix<V4>, Option<u32>)>,
    pub vip_ranges6: Vec<(PortPrefix<V6>, Option<u32>)>,
    pub sources4: Vec<(Entry<V4>, Option<u32>)>,
    pub sources6: Vec<(Entry<V6>, Option<u32>)>,
}

impl Changes {
    /// Nothing has to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many entries are written or removed; a ring counts as one.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.settings.is_some())
            + self.snat.len()
            + self.interfaces.len()
            + self.backends.len()
            + self.tunnels.len()
            + self.rings.len()
            + self.services.len()
            + self.vips4.len()
            + self.vips6.len()
            + self.vip_ranges4.len()
            + self.vip_ranges6.len()
            + self.sources4.len()
            + self.sources6.len()
    }
}

impl Changes {
    /// How many entries of which tables, for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let counts = [
            (usize::from(self.settings.is_some()), "settings"),
            (self.snat.len(), "snat"),
            (self.interfaces.len(), "interfaces"),
            (self.backends.len(), "backends"),
            (self.tunnels.len(), "tunnels"),
            (self.rings.len(), "rings"),
            (self.services.len(), "services"),
            (self.vips4.len() + self.vips6.len(), "vips"),
            (
                self.vip_ranges4.len() + self.vip_ranges6.len(),
                "vip_ranges",
            ),
            (self.sources4.len() + self.sources6.len(), "sources"),
        ];
        let parts: Vec<String> = (counts.iter())
            .filter(|(count, _)| *count > 0)
            .map(|(count, table)| format!("{count} of {table}"))
            .collect();
        parts.join(", ")
    }
}

/// What leads from `applied` to `desired`.
#[must_use]
pub fn difference(applied: &Tables, desired: &Tables) -> Changes {
    Changes {
        settings: (applied.settings != desired.settings).then(|| desired.settings.clone()),
        snat: (0..)
            .zip(&desired.snat)
            .filter(|(idx, words)| applied.snat.get(*idx as usize) != Some(words))
            .map(|(idx, words)| (idx, *words))
            .collect(),
        interfaces: ordered(&applied.interfaces, &desired.interfaces),
        backends: ordered(&applied.backends, &desired.backends),
        tunnels: ordered(&applied.tunnels, &desired.tunnels),
        rings: ordered(&applied.rings, &desired.rings),
        services: ordered(&applied.services, &desired.services),
        vips4: hashed(&applied.vips4, &desired.vips4),
        vips6: hashed(&applied.vips6, &desired.vips6),
        vip_ranges4: hashed(&applied.vip_ranges4, &desired.vip_ranges4),
        vip_ranges6: hashed(&applied.vip_ranges6, &desired.vip_ranges6),
        sources4: sources::changes(&applied.sources4, &desired.sources4, |words| {
            unmapped(&words)
        }),
        sources6: sources::changes(&applied.sources6, &desired.sources6, |words| words),
    }
}

fn ordered<V: Clone + PartialEq>(
    applied: &BTreeMap<u32, V>,
    desired: &BTreeMap<u32, V>,
) -> Vec<(u32, Option<V>)> {
    let set = (desired.iter())
        .filter(|(key, value)| applied.get(key) != Some(value))
        .map(|(key, value)| (*key, Some(value.clone())));
    let removed = (applied.keys())
        .filter(|key| !desired.contains_key(key))
        .map(|key| (*key, None));
    set.chain(removed).collect()
}

fn hashed<K: Copy + Eq + Hash>(
    applied: &HashMap<K, u32>,
    desired: &HashMap<K, u32>,
) -> Vec<(K, Option<u32>)> {
    let set = (desired.iter())
        .filter(|(key, value)| applied.get(key) != Some(value))
        .map(|(key, value)| (*key, Some(*value)));
    let removed = (applied.keys())
        .filter(|key| !desired.contains_key(key))
        .map(|key| (*key, None));
    set.chain(removed).collect()
}
