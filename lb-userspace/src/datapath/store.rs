//! The tables in the kernel: reading what is applied, writing what differs, in an order in which a
//! packet between any two writes is treated right.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::AsFd as _,
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap as BpfHashMap, IterableMap as _, LpmTrie, Map, MapData, MapError,
        PerCpuArray,
    },
};
use lb_common::{
    MAX_BACKENDS, NO_BACKEND, V4, V6,
    backend::{Backend, BackendStats, Tunnel},
    interface::Interface,
    load::Load,
    mapped, names,
    service::{PortKey, Service, Settings, VipKey},
};

use super::{error::DatapathError, pins::Pins, rings::RingStore, sources::SourceStore, sys};
use crate::tables::{Tables, diff::Changes, ring::Ring, sources::lists};

/// Handles of the maps that the daemon writes.
pub struct Store {
    settings: Array<MapData, Settings>,
    pub(super) vips4: BpfHashMap<MapData, VipKey<V4>, u32>,
    pub(super) vips6: BpfHashMap<MapData, VipKey<V6>, u32>,
    pub(super) vip_ranges4: LpmTrie<MapData, PortKey<V4>, u32>,
    pub(super) vip_ranges6: LpmTrie<MapData, PortKey<V6>, u32>,
    services: Array<MapData, Service>,
    rings: RingStore,
    backends: Array<MapData, Backend>,
    tunnels: Array<MapData, Tunnel>,
    snat: Array<MapData, V6>,
    interfaces: BpfHashMap<MapData, u32, Interface>,
    sources4: SourceStore<V4>,
    sources6: SourceStore<V6>,
    backend_stats: PerCpuArray<MapData, BackendStats>,
    backends_seen: Array<MapData, u64>,
    backend_loads: Array<MapData, Load>,
}

impl Store {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// When one is missing or of another kind.
    pub fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            settings: typed(pins, names::SETTINGS)?,
            vips4: typed(pins, names::VIPS4)?,
            vips6: typed(pins, names::VIPS6)?,
            vip_ranges4: typed(pins, names::VIP_RANGES4)?,
            vip_ranges6: typed(pins, names::VIP_RANGES6)?,
            services: typed(pins, names::SERVICES)?,
            rings: RingStore::open(pins)?,
            backends: typed(pins, names::BACKENDS)?,
            tunnels: typed(pins, names::TUNNELS)?,
            snat: typed(pins, names::SNAT)?,
            interfaces: typed(pins, names::INTERFACES)?,
            sources4: SourceStore::open(pins, names::SOURCES4)?,
            sources6: SourceStore::open(pins, names::SOURCES6)?,
            backend_stats: typed(pins, names::BACKEND_STATS)?,
            backends_seen: typed(pins, names::BACKENDS_SEEN)?,
            backend_loads: typed(pins, names::BACKEND_LOADS)?,
        })
    }

    /// What the maps hold now.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read(&self) -> Result<Tables, DatapathError> {
        let mut tables = self.read_but_rings()?;
        for (idx, service) in &tables.services {
            if let Some(ring) = self.rings.read(*idx, service.ring_half)? {
                tables.rings.insert(*idx, ring);
            }
        }
        Ok(tables)
    }

    /// The ring in this half of a service's map; `None` where it has no map.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read_ring(&self, service_idx: u32, half: u8) -> Result<Option<Ring>, DatapathError> {
        self.rings.read(service_idx, half)
    }

    /// What all maps hold now but those of rings.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read_but_rings(&self) -> Result<Tables, DatapathError> {
        let mut tables = Tables::empty();
        let settings = self.settings.get(&0, 0).map_err(at(names::SETTINGS))?;
        if settings.port_count > 0 {
            *tables.settings = settings;
        }
        for words in self.snat.iter() {
            let words = words.map_err(at(names::SNAT))?;
            if words == [0; 4] {
                break;
            }
            tables.snat.push(words);
        }
        tables.interfaces = read_hash(self.interfaces.map(), names::INTERFACES)?
            .into_iter()
            .collect();
        tables.backends = read_array(self.backends.map(), names::BACKENDS, |entry: &Backend| {
            entry.identity != 0
        })?;
        tables.tunnels = read_array(self.tunnels.map(), names::TUNNELS, |entry: &Tunnel| {
            entry.version != 0
        })?;
        tables.services = read_array(self.services.map(), names::SERVICES, |entry: &Service| {
            entry.identity != 0
        })?;
        tables.vips4 = read_hash(self.vips4.map(), names::VIPS4)?;
        tables.vips6 = read_hash(self.vips6.map(), names::VIPS6)?;
        tables.vip_ranges4 = read_hash(self.vip_ranges4.map(), names::VIP_RANGES4)?;
        tables.vip_ranges6 = read_hash(self.vip_ranges6.map(), names::VIP_RANGES6)?;
        tables.sources4 = lists(self.sources4.read()?, mapped);
        tables.sources6 = lists(self.sources6.read()?, |words| words);
        Ok(tables)
    }

    /// Writes a difference. What a write refers to is there before it: sources, interfaces, backends, rings,
    /// lists of sources, services, the filter, vips; removals go the other way round.
    ///
    /// # Errors
    /// When the kernel refuses a write; those before it are in force then.
    pub fn write(&mut self, changes: &Changes) -> Result<(), DatapathError> {
        for (idx, words) in &changes.snat {
            self.snat.set(*idx, words, 0).map_err(at(names::SNAT))?;
        }
        for (ifindex, interface) in &changes.interfaces {
            if let Some(interface) = interface {
                (self.interfaces)
                    .insert(ifindex, interface, 0)
                    .map_err(at(names::INTERFACES))?;
            }
        }
        for (idx, tunnel) in &changes.tunnels {
            if let Some(tunnel) = tunnel {
                self.set_tunnel(*idx, tunnel)?;
            }
        }
        for (idx, backend) in &changes.backends {
            if let Some(backend) = backend {
                self.set_backend(*idx, backend)?;
            }
        }
        self.rings.write(&changes.rings)?;
        self.sources4.set(&changes.sources4)?;
        self.sources6.set(&changes.sources6)?;
        for (idx, service) in &changes.services {
            if let Some(service) = service {
                self.set_service(*idx, service)?;
            }
        }
        if let Some(settings) = &changes.settings {
            self.settings
                .set(0, **settings, 0)
                .map_err(at(names::SETTINGS))?;
        }
        self.write_vips(changes)?;

        for (idx, _) in changes.services.iter().filter(|(_, kept)| kept.is_none()) {
            self.set_service(*idx, &Service::default())?;
        }
        self.sources4.remove(&changes.sources4)?;
        self.sources6.remove(&changes.sources6)?;
        for (idx, _) in changes.rings.iter().filter(|(_, kept)| kept.is_none()) {
            self.rings.remove(*idx)?;
        }
        for (idx, _) in changes.backends.iter().filter(|(_, kept)| kept.is_none()) {
            self.set_backend(*idx, &Backend::FREE)?;
            self.clear_stats(*idx)?;
            // No flow refers to it, so that nobody counts here meanwhile.
            (self.backend_loads)
                .set(*idx, Load::default(), 0)
                .map_err(at(names::BACKEND_LOADS))?;
        }
        for (idx, _) in changes.tunnels.iter().filter(|(_, kept)| kept.is_none()) {
            self.set_tunnel(*idx, &Tunnel::default())?;
        }
        for (ifindex, _) in changes.interfaces.iter().filter(|(_, kept)| kept.is_none()) {
            (self.interfaces)
                .remove(ifindex)
                .map_err(at(names::INTERFACES))?;
        }
        Ok(())
    }

    /// The last pass of the sweeper that met a flow of this backend.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn backend_seen_ns(&self, idx: u32) -> Result<u64, DatapathError> {
        (self.backends_seen)
            .get(&idx, 0)
            .map_err(at(names::BACKENDS_SEEN))
    }

    /// Live flows of a backend, where its service has them counted.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn live_flows(&self, idx: u32) -> Result<u32, DatapathError> {
        let load = (self.backend_loads.get(&idx, 0)).map_err(at(names::BACKEND_LOADS))?;
        Ok(load.live)
    }

    fn set_backend(&mut self, idx: u32, backend: &Backend) -> Result<(), DatapathError> {
        (self.backends)
            .set(idx, backend, 0)
            .map_err(at(names::BACKENDS))
    }

    fn set_tunnel(&mut self, idx: u32, tunnel: &Tunnel) -> Result<(), DatapathError> {
        (self.tunnels)
            .set(idx, tunnel, 0)
            .map_err(at(names::TUNNELS))
    }

    fn set_service(&mut self, idx: u32, service: &Service) -> Result<(), DatapathError> {
        (self.services)
            .set(idx, service, 0)
            .map_err(at(names::SERVICES))
    }

    /// The counters of an index start anew with its next owner.
    fn clear_stats(&mut self, idx: u32) -> Result<(), DatapathError> {
        let cpus = (self.backend_stats)
            .get(&idx, 0)
            .map_err(at(names::BACKEND_STATS))?;
        let zeros = vec![BackendStats::default(); cpus.len()];
        let zeros = aya::maps::PerCpuValues::try_from(zeros).map_err(call(names::BACKEND_STATS))?;
        (self.backend_stats)
            .set(idx, zeros, 0)
            .map_err(at(names::BACKEND_STATS))
    }
}

const _: () = assert!(MAX_BACKENDS < NO_BACKEND);

/// Opens a pinned map as data.
pub fn data(pins: &Pins, name: &'static str) -> Result<MapData, DatapathError> {
    MapData::from_pin(pins.map(name)).map_err(at(name))
}

pub fn typed<T: TryFrom<Map, Error = MapError>>(
    pins: &Pins,
    name: &'static str,
) -> Result<T, DatapathError> {
    let map = Map::from_map_data(data(pins, name)?).map_err(at(name))?;
    T::try_from(map).map_err(at(name))
}

/// Takes a map out of an object that was just loaded.
pub fn taken<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, DatapathError> {
    let map = (ebpf.take_map(name)).expect("the embedded object holds a map of this name");
    T::try_from(map).map_err(at(name))
}

fn read_array<V: Pod>(
    map: &MapData,
    name: &'static str,
    in_use: impl Fn(&V) -> bool,
) -> Result<BTreeMap<u32, V>, DatapathError> {
    let mut entries = BTreeMap::new();
    sys::for_each(map.fd().as_fd(), |idx: &u32, value: &V| {
        if in_use(value) {
            entries.insert(*idx, *value);
        }
    })
    .map_err(call(name))?;
    Ok(entries)
}

fn read_hash<K: Pod + Eq + std::hash::Hash, V: Pod>(
    map: &MapData,
    name: &'static str,
) -> Result<HashMap<K, V>, DatapathError> {
    let mut entries = HashMap::new();
    sys::for_each(map.fd().as_fd(), |key: &K, value: &V| {
        entries.insert(*key, *value);
    })
    .map_err(call(name))?;
    Ok(entries)
}

pub fn at(map: &'static str) -> impl Fn(MapError) -> DatapathError {
    move |source| DatapathError::Map { map, source }
}

pub fn call(map: &'static str) -> impl Fn(std::io::Error) -> DatapathError {
    move |source| DatapathError::MapCall { map, source }
}
