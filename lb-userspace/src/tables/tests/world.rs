//! A world whose tables are computed, compared and written as the daemon does it.

use super::*;
use crate::tables::Overrides;

/// A world in which the tables are computed again and again.
pub(super) struct World {
    pub(super) config: Config,
    pub(super) health: HashMap<u64, Health>,
    pub(super) overrides: HashMap<u64, Overrides>,
    pub(super) came_up: HashMap<u64, SystemTime>,
    pub(super) now: SystemTime,
    pub(super) next_hops: HashMap<IpAddr, NextHop>,
    pub(super) interfaces: BTreeMap<u32, crate::net::Interface>,
    pub(super) applied: Tables,
    pub(super) ids: Ids,
    pub(super) rings: RingCache,
}

impl World {
    pub(super) fn new(yaml: &str) -> Self {
        let config = parse(yaml);
        let mut world = Self {
            config,
            health: HashMap::new(),
            overrides: HashMap::new(),
            came_up: HashMap::new(),
            now: UNIX_EPOCH + Duration::from_secs(2000),
            next_hops: HashMap::new(),
            interfaces: BTreeMap::new(),
            applied: Tables::empty(),
            ids: Ids::default(),
            rings: RingCache::default(),
        };
        world.all_up();
        world
    }

    pub(super) fn all_up(&mut self) {
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

    pub(super) fn set_up(&mut self, backend: &str, up: bool) {
        let id = self.identity(backend);
        self.health.get_mut(&id).expect("a known backend").up = up;
    }

    pub(super) fn identity(&self, backend: &str) -> u64 {
        let service = &self.config.services[0];
        let address = (service.backends.iter())
            .find(|b| b.name == backend)
            .expect("a configured backend")
            .address;
        backend_identity(service, address)
    }

    pub(super) fn entry(&self, identity: u64) -> Option<(u32, &backend::Backend)> {
        (self.applied.backends.iter())
            .find(|(_, entry)| entry.identity == identity)
            .map(|(idx, entry)| (*idx, entry))
    }

    /// The filter lets packets through that need this bit.
    pub(super) fn admits(&self, bit: usize) -> bool {
        self.applied.settings.filter[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Computes and takes over; returns how much had to be written.
    pub(super) fn step(&mut self) -> usize {
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
pub(super) fn write(tables: &mut Tables, changes: &Changes) {
    pub(super) fn ordered<V: Clone>(entries: &mut BTreeMap<u32, V>, changes: &[(u32, Option<V>)]) {
        for (idx, value) in changes {
            match value {
                Some(value) => drop(entries.insert(*idx, value.clone())),
                None => drop(entries.remove(idx).expect("it was there")),
            }
        }
    }
    pub(super) fn hashed<K: Copy + Eq + Hash>(
        entries: &mut HashMap<K, u32>,
        changes: &[(K, Option<u32>)],
    ) {
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
    ordered(&mut tables.interfaces, &changes.interfaces);
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

pub(super) fn parse(yaml: &str) -> Config {
    config::parse(yaml, "test.yaml").expect("a valid configuration")
}

pub(super) fn next_hop() -> NextHop {
    NextHop {
        ifindex: 7,
        local_mac: [2, 0, 0, 0, 0, 1],
        peer_mac: Some([2, 0, 0, 0, 0, 2]),
        source: "10.0.0.5".parse().expect("an address"),
        gateway: None,
        mtu: 1500,
    }
}
