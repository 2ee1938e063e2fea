//! Filling the maps, as the daemon would, and reading the counters.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use aya::{
    Pod,
    maps::{
        Array, ArrayOfMaps, HashMap, LpmTrie, MapData, PerCpuArray, PerCpuValues, lpm_trie::Key,
    },
    util::nr_cpus,
};
use lb_common::{
    Budget, Budgeted, NO_BACKEND, RING_CHUNK, RING_CHUNKS, RING_MAP_CHUNKS, RING_SLOTS, RingChunk,
    backend::{Backend, BackendStats, Tunnel},
    names,
    reason::Reason,
    service::{NO_SERVICE, PortKey, Service, Settings, VipKey, mode, scheduler, setting},
};
use lb_userspace::{config::Vip, tables::vips::prefixes};

use super::{
    Rig,
    entry::{Family, by_family, four_words, vip_key},
};

impl Rig {
    /// The source ports of mode `nat`, for new flows and for replies.
    ///
    /// # Panics
    /// When the range is empty.
    pub fn ports(&mut self, ports: RangeInclusive<u16>) {
        self.reply_ports(ports.clone());
        self.settings.port_min = *ports.start();
        self.settings.port_count = u16::try_from(ports.count()).expect("a range of ports");
        assert_ne!(self.settings.port_count, 0, "there is a port");
        self.write_settings();
    }

    /// The source ports to which replies may come.
    pub fn reply_ports(&mut self, ports: RangeInclusive<u16>) {
        self.settings.reply_port_min = *ports.start();
        self.settings.reply_port_max = *ports.end();
        self.write_settings();
    }

    /// Redirects what leaves by the interface it came by, instead of `XDP_TX`.
    pub fn redirect_back(&mut self) {
        self.settings.flags |= setting::REDIRECT_BACK;
        self.write_settings();
    }

    /// A source address of mode `nat`.
    pub fn snat(&mut self, snat_idx: u32, address: IpAddr) {
        by_family!(address, A => self.settings.admit_snat(A::words(address)));
        self.write_settings();
        let mut snat: Array<_, [u32; 4]> = self.array(names::SNAT);
        snat.set(snat_idx, four_words(address), 0)
            .expect("snat takes its entries");
    }

    /// A TCP vip of a service.
    pub fn vip(&mut self, vip: SocketAddr, service_idx: u32) {
        by_family!(vip, A => {
            let key = vip_key::<A>(self.protocol, vip);
            self.settings.admit_vip(&key);
            let map = self.loaded.ebpf.map_mut(A::VIPS).expect("vips exist");
            HashMap::<_, VipKey<A>, u32>::try_from(map)
                .expect("vips are a hash of indices")
                .insert(key, service_idx, 0)
                .expect("vips have room");
        });
        self.vip_address(vip.ip());
        self.write_settings();
    }

    /// An address of a vip, beside the vip itself.
    fn vip_address(&mut self, address: IpAddr) {
        by_family!(address, A => {
            let key = VipKey::of_address(&A::words(address));
            self.settings.admit_vip(&key);
            let map = self.loaded.ebpf.map_mut(A::VIPS).expect("vips exist");
            HashMap::<_, VipKey<A>, u32>::try_from(map)
                .expect("vips are a hash of indices")
                .insert(key, NO_SERVICE, 0)
                .expect("vips have room");
        });
    }

    /// A vip of a service that is a range of ports. Of two within one another, the larger first.
    pub fn vip_range(&mut self, vip: Vip, service_idx: u32) {
        by_family!(vip.address, A => {
            let address = A::words(vip.address);
            self.settings.admit_ranges(address, self.protocol);
            let map = self.loaded.ebpf.map_mut(A::VIP_RANGES).expect("ranges exist");
            let mut trie = LpmTrie::<_, PortKey<A>, u32>::try_from(map)
                .expect("ranges are a trie of indices");
            for prefix in prefixes(vip, address, self.protocol) {
                let key = Key::new(prefix.bits, prefix.key);
                trie.insert(&key, service_idx, 0).expect("ranges have room");
            }
        });
        self.vip_address(vip.address);
        self.write_settings();
    }

    /// A service of mode `nat`, of the address family of its backends; until it has some, of that of
    /// the first service.
    pub fn service(&mut self, service_idx: u32, eligible: u32) {
        let mut services: Array<_, Service> = self.array(names::SERVICES);
        let version = [service_idx, 0]
            .map(|idx| services.get(&idx, 0).expect("it is within bounds").version)
            .into_iter()
            .find(|version| *version != 0);
        let service = Service {
            eligible,
            mode: mode::NAT,
            scheduler: scheduler::MAGLEV,
            version: version.unwrap_or(4),
            identity: 1 + u64::from(service_idx),
            ..Service::default()
        };
        services
            .set(service_idx, service, 0)
            .expect("services take their entries");
    }

    /// Gives a service another mode.
    pub fn service_mode(&mut self, service_idx: u32, mode: u8) {
        self.change_service(service_idx, |service| service.mode = mode);
    }

    /// Changes a service in place.
    pub fn change_service(&mut self, service_idx: u32, change: impl FnOnce(&mut Service)) {
        let mut services: Array<_, Service> = self.array(names::SERVICES);
        let mut service = services.get(&service_idx, 0).expect("it is within bounds");
        change(&mut service);
        services
            .set(service_idx, service, 0)
            .expect("services take their entries");
    }

    /// A service's ring, in the half that its entry names at first; no backend stands in the other.
    pub fn ring(&mut self, service_idx: u32, backend_of_slot: impl Fn(u32) -> u32) {
        self.rings(service_idx, |half, slot| match half {
            0 => backend_of_slot(slot),
            _ => NO_BACKEND,
        });
    }

    /// Both halves of a service's rings.
    ///
    /// # Panics
    /// When the kernel refuses the map.
    pub fn rings(&mut self, service_idx: u32, backend_of_slot: impl Fn(u8, u32) -> u32) {
        let mut rings = match self.loaded.rings.remove(&service_idx) {
            Some(rings) => rings,
            None => self.make_rings(service_idx),
        };
        for chunk in 0..RING_MAP_CHUNKS {
            let half = u8::from(chunk >= RING_CHUNKS);
            let slots: RingChunk = std::array::from_fn(|place| {
                let slot = chunk % RING_CHUNKS * RING_CHUNK + place as u32;
                if slot < RING_SLOTS {
                    backend_of_slot(half, slot)
                } else {
                    NO_BACKEND
                }
            });
            rings.set(chunk, slots, 0).expect("the map has this chunk");
        }
        self.loaded.rings.insert(service_idx, rings);
    }

    fn make_rings(&mut self, service_idx: u32) -> Array<MapData, RingChunk> {
        let rings = Array::create(RING_MAP_CHUNKS, 0).expect("a map is made");
        let outer = self.loaded.ebpf.map_mut(names::RINGS).expect("rings exist");
        ArrayOfMaps::<_, Array<MapData, RingChunk>>::try_from(outer)
            .expect("rings are an array of arrays")
            .set(service_idx, &rings, 0)
            .expect("rings take a map of the right length");
        rings
    }

    /// A new ring in the other half of a service's map, as the daemon writes it, and then the service's
    /// entry, which names that half and tells how many backends take new flows.
    ///
    /// # Panics
    /// When the service has no ring yet.
    pub fn turn_ring(
        &mut self,
        service_idx: u32,
        eligible: u32,
        backend_of_slot: impl Fn(u32) -> u32,
    ) {
        let mut half = 0;
        self.change_service(service_idx, |service| half = 1 - service.ring_half);
        let rings = self
            .loaded
            .rings
            .get_mut(&service_idx)
            .expect("it has a ring");
        for chunk in 0..RING_CHUNKS {
            let slots: RingChunk =
                std::array::from_fn(|place| match chunk * RING_CHUNK + place as u32 {
                    slot if slot < RING_SLOTS => backend_of_slot(slot),
                    _ => NO_BACKEND,
                });
            let chunk = u32::from(half) * RING_CHUNKS + chunk;
            rings.set(chunk, slots, 0).expect("the map has this chunk");
        }
        self.change_service(service_idx, |service| {
            (service.ring_half, service.eligible) = (half, eligible);
        });
    }

    /// An address as [`Backend::address`] holds it.
    #[must_use]
    pub fn address_words(address: IpAddr) -> [u32; 4] {
        four_words(address)
    }

    /// A backend; its service is of its address family from now on.
    pub fn backend(&mut self, backend_idx: u32, backend: Backend) {
        let mut backends: Array<_, Backend> = self.array(names::BACKENDS);
        backends
            .set(backend_idx, backend, 0)
            .expect("backends take their entries");
        self.change_service(backend.service_idx.into(), |service| {
            service.version = backend.version;
        });
    }

    /// How packets are wrapped for a backend.
    pub fn tunnel(&mut self, backend_idx: u32, tunnel: Tunnel) {
        let mut tunnels: Array<_, Tunnel> = self.array(names::TUNNELS);
        tunnels
            .set(backend_idx, tunnel, 0)
            .expect("tunnels take their entries");
        let backends: Array<_, Backend> = self.array(names::BACKENDS);
        let backend = backends.get(&backend_idx, 0).expect("it is within bounds");
        self.change_settings(|settings| settings.admit_tunnel(&backend.address));
    }

    /// Changes a backend in place.
    pub fn change_backend(&mut self, backend_idx: u32, change: impl FnOnce(&mut Backend)) {
        let backends: Array<_, Backend> = self.array(names::BACKENDS);
        let mut backend = backends.get(&backend_idx, 0).expect("it is within bounds");
        change(&mut backend);
        self.backend(backend_idx, backend);
    }

    /// Writes a backend a second time, under another index.
    ///
    /// # Panics
    /// When there is no such backend.
    pub fn copy_backend(&mut self, from_idx: u32, to_idx: u32) {
        let backends: Array<_, Backend> = self.array(names::BACKENDS);
        let backend = backends.get(&from_idx, 0).expect("it is within bounds");
        self.backend(to_idx, backend);
    }

    /// Replies from a backend of mode `route` that listens there.
    pub fn route(&mut self, backend: SocketAddr) {
        by_family!(backend, A => {
            let (address, port_be) = (A::words(backend.ip()), backend.port().to_be());
            let protocol = self.protocol;
            self.change_settings(|settings| settings.admit_route(address, port_be, protocol));
        });
    }

    /// Changes the settings in place.
    pub fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.write_settings();
    }

    /// Sets every bit of the filter, so that each packet calls for a lookup.
    pub fn admit_everything(&mut self) {
        self.settings.filter.fill(u64::MAX);
        self.write_settings();
    }

    /// Leaves every CPU this many tokens of a budget, which earns no more as long as a test takes.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn budget(&mut self, what: Budgeted, tokens: u64) {
        const HOUR_NS: u64 = 3_600_000_000_000;
        self.budget_since(what, tokens, super::now_ns() + HOUR_NS);
    }

    /// The same, but it earns more from this time on.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn budget_since(&mut self, what: Budgeted, tokens: u64, refilled_ns: u64) {
        let map = self
            .loaded
            .ebpf
            .map_mut(names::BUDGETS)
            .expect("budgets exist");
        let budget = Budget {
            tokens,
            refilled_ns,
        };
        let cpus = nr_cpus().expect("the kernel knows its CPUs");
        PerCpuArray::<_, Budget>::try_from(map)
            .expect("budgets are kept per CPU")
            .set(
                what as u32,
                PerCpuValues::try_from(vec![budget; cpus]).expect("one value for each CPU"),
                0,
            )
            .expect("each budget has an entry");
    }

    /// A backend's counters, summed over the CPUs.
    ///
    /// # Panics
    /// When there is no such backend.
    #[must_use]
    pub fn stats(&self, backend_idx: u32) -> BackendStats {
        let map = self
            .loaded
            .ebpf
            .map(names::BACKEND_STATS)
            .expect("counters of backends exist");
        let per_cpu = PerCpuArray::<_, BackendStats>::try_from(map)
            .expect("they are kept per CPU")
            .get(&backend_idx, 0)
            .expect("it is within bounds");
        let mut sum = BackendStats::default();
        for stats in per_cpu.iter() {
            sum.flows += stats.flows;
            sum.packets_in += stats.packets_in;
            sum.bytes_in += stats.bytes_in;
            sum.packets_out += stats.packets_out;
            sum.bytes_out += stats.bytes_out;
        }
        sum
    }

    pub(super) fn read_reasons(&self) -> Vec<u64> {
        let map = self.loaded.ebpf.map(names::REASONS).expect("reasons exist");
        let counters = PerCpuArray::<_, u64>::try_from(map).expect("they are kept per CPU");
        Reason::ALL
            .iter()
            .map(|reason| {
                let per_cpu = counters.get(&(*reason as u32), 0);
                per_cpu.expect("every reason has a slot").iter().sum()
            })
            .collect()
    }

    pub(super) fn write_settings(&mut self) {
        let settings = self.settings;
        let mut map: Array<_, Settings> = self.array(names::SETTINGS);
        map.set(0, settings, 0).expect("settings have one entry");
    }

    pub(super) fn array<T: Pod>(&mut self, name: &str) -> Array<&mut MapData, T> {
        let map = self.loaded.ebpf.map_mut(name);
        map.unwrap_or_else(|| panic!("the object has no map {name}"))
            .try_into()
            .unwrap_or_else(|error| panic!("map {name}: {error}"))
    }
}
