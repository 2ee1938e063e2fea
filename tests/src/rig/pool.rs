//! Loaded programs that outlive their rig: the verifier needs a second for one, emptying its maps a
//! twentieth of that.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{self, Array, MapData, PerCpuArray, PerCpuValues},
    programs::Xdp,
    util::nr_cpus,
};
use lb_common::{
    Budget, RingChunk, V4, V6,
    affinity::{Client, Remembered},
    backend::{Backend, BackendStats, Tunnel},
    fragment::{Datagram, First},
    interface::Interface,
    load::{Load, Turn},
    names,
    path::Path,
    service::{PortKey, Service, Settings, VipKey},
    sources::Source,
    table::{Entries, Head},
    trace,
};
use lb_userspace::datapath::{program_name, traced_program_name};

use super::{Capacity, Clock};

/// Maps that hold nothing between two packets, that no program can change, or that are aya-log's.
const NOTHING_TO_EMPTY: [&str; 14] = [
    "copies4",
    "copies6",
    "swept_key4",
    "swept_key6",
    "draft4",
    "draft6",
    "place",
    "fragment4",
    "fragment6",
    "excess",
    "trace_gaps",
    "trace_record",
    names::TRACE_RECORDS,
    "AYA_LOGS",
];

static IDLE: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// What programs are loaded with. Those of one make differ in their maps' contents alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Make {
    pub(super) sizes: Capacity,
    /// One of aya-log's levels.
    pub(super) log_level: u8,
    /// The clock goes on by itself.
    pub(super) ticking: bool,
    /// One packet of so many is traced, by the program's traced form.
    pub(super) trace_every: Option<NonZeroU32>,
}

impl Make {
    /// The name of the program that packets are sent through.
    pub(super) fn program(&self) -> &'static str {
        match self.trace_every {
            None => program_name(),
            Some(_) => traced_program_name(),
        }
    }
}

/// The program and its maps.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// Inner maps of `rings`, by service.
    pub(super) rings: HashMap<u32, Array<MapData, RingChunk>>,
    clock: Clock,
    pub(super) make: Make,
}

impl Loaded {
    fn new(make: Make) -> Self {
        let trace_every = make.trace_every.map(NonZeroU32::get);
        let mut loader = EbpfLoader::new();
        make.sizes.apply(&mut loader);
        loader.override_global("AYA_LOG_LEVEL", &make.log_level, false);
        if make.ticking {
            Clock::apply(&mut loader);
        } else {
            loader.override_global(names::TICK_NS, &0_u64, true);
        }
        if let Some(every) = &trace_every {
            loader.override_global(names::TRACE_EVERY, every, true);
            loader.map_max_entries(names::TRACE_RECORDS, trace::RING_BYTES);
        }
        let mut ebpf = loader
            .load(lb_userspace::datapath::OBJECT)
            .unwrap_or_else(|error| panic!("cannot create the maps (are you root?): {error:?}"));
        let program: &mut Xdp = ebpf
            .program_mut(make.program())
            .expect("the object holds the program")
            .try_into()
            .expect("which is of type XDP");
        program
            .load()
            .unwrap_or_else(|error| panic!("cannot load the program: {error:?}"));
        let clock = Clock::start(&mut ebpf).unwrap_or_else(|error| panic!("{error}"));
        Self {
            ebpf,
            rings: HashMap::new(),
            clock,
            make,
        }
    }

    /// Makes all maps as they were when the program was loaded.
    fn empty(&mut self) {
        let mut names: Vec<String> = self.ebpf.maps().map(|(name, _)| name.into()).collect();
        // What leads to others goes first.
        names.sort_by_key(|name| name != names::SETTINGS);
        for name in &names {
            self.empty_map(name);
        }
        self.clock.set().unwrap_or_else(|error| panic!("{error}"));
    }

    fn empty_map(&mut self, name: &str) {
        match name {
            names::SETTINGS => self.zero::<{ size_of::<Settings>() }>(name),
            names::SERVICES => self.zero::<{ size_of::<Service>() }>(name),
            names::BACKENDS => self.zero::<{ size_of::<Backend>() }>(name),
            names::TUNNELS => self.zero::<{ size_of::<Tunnel>() }>(name),
            names::SNAT => self.zero::<{ size_of::<V6>() }>(name),
            names::BACKENDS_SEEN => self.zero::<{ size_of::<u64>() }>(name),
            names::BACKEND_LOADS => self.zero::<{ size_of::<Load>() }>(name),
            names::TURNS => self.zero::<{ size_of::<Turn>() }>(name),
            ".bss" => self.zero::<{ size_of::<super::clock::Variables>() }>(name),
            names::BACKEND_STATS => self.zero_per_cpu::<BackendStats>(name),
            names::REASONS => self.zero_per_cpu::<u64>(name),
            names::BUDGETS => self.zero_per_cpu::<Budget>(name),
            names::VIPS4 => self.forget::<VipKey<V4>, u32>(name),
            names::VIPS6 => self.forget::<VipKey<V6>, u32>(name),
            names::INTERFACES => self.forget::<u32, Interface>(name),
            names::AFFINITY4 => self.forget::<Client<V4>, Remembered>(name),
            names::AFFINITY6 => self.forget::<Client<V6>, Remembered>(name),
            names::FRAGMENTS4 => self.forget::<Datagram<V4>, First>(name),
            names::FRAGMENTS6 => self.forget::<Datagram<V6>, First>(name),
            super::paths::PATH_MTUS => self.forget::<V6, Path>(name),
            names::VIP_RANGES4 => self.forget_prefixes::<PortKey<V4>>(name),
            names::VIP_RANGES6 => self.forget_prefixes::<PortKey<V6>>(name),
            names::SOURCES4 => self.forget_prefixes::<Source<V4>>(name),
            names::SOURCES6 => self.forget_prefixes::<Source<V6>>(name),
            names::FLOW_HEADS4 => {
                self.empty_buckets::<{ size_of::<Entries<V4>>() }>(name, names::FLOWS4);
            }
            names::FLOW_HEADS6 => {
                self.empty_buckets::<{ size_of::<Entries<V6>>() }>(name, names::FLOWS6);
            }
            // With their heads.
            names::FLOWS4 | names::FLOWS6 => {}
            names::RINGS => self.empty_rings(),
            _ if name.starts_with(".rodata") || NOTHING_TO_EMPTY.contains(&name) => {}
            _ => panic!("how is the map {name} emptied?"),
        }
    }

    fn zero<const SIZE: usize>(&mut self, name: &str) {
        let mut array: Array<_, [u8; SIZE]> = self.map(name);
        for idx in 0..array.len() {
            array.set(idx, [0; SIZE], 0).expect("arrays take values");
        }
    }

    fn zero_per_cpu<T: Pod + Default>(&mut self, name: &str) {
        let mut array: PerCpuArray<_, T> = self.map(name);
        let cpus = nr_cpus().expect("the kernel tells its CPUs");
        let zeroes = || PerCpuValues::try_from(vec![T::default(); cpus]).expect("one for each CPU");
        for idx in 0..array.len() {
            array.set(idx, zeroes(), 0).expect("arrays take values");
        }
    }

    pub(super) fn forget<K: Pod, V: Pod>(&mut self, name: &str) {
        let mut map: maps::HashMap<_, K, V> = self.map(name);
        let keys: Vec<_> = map.keys().filter_map(Result::ok).collect();
        for key in keys {
            // One that was displaced meanwhile is gone as well.
            let _ = map.remove(&key);
        }
    }

    fn forget_prefixes<K: Pod>(&mut self, name: &str) {
        let mut map: maps::LpmTrie<_, K, u32> = self.map(name);
        let keys: Vec<_> = map.keys().filter_map(Result::ok).collect();
        for key in keys {
            map.remove(&key).expect("it was there");
        }
    }

    fn empty_buckets<const ENTRIES: usize>(&mut self, heads: &str, entries: &str) {
        const NEW: [u8; size_of::<Head>()] = [0; _];
        let mut array: Array<_, [u8; size_of::<Head>()]> = self.map(heads);
        let mut used = Vec::new();
        for idx in 0..array.len() {
            if array.get(&idx, 0).expect("a bucket there is") != NEW {
                array.set(idx, NEW, 0).expect("heads are taken");
                used.push(idx);
            }
        }
        let mut array: Array<_, [u8; ENTRIES]> = self.map(entries);
        for idx in used {
            array.set(idx, [0; _], 0).expect("entries are taken");
        }
    }

    /// The inner maps stay, for the next rig's rings: the kernel waits for its readers when one comes or
    /// goes.
    fn empty_rings(&mut self) {
        for ring in self.rings.values_mut() {
            for chunk in 0..ring.len() {
                let none = [lb_common::NO_BACKEND; _];
                ring.set(chunk, none, 0).expect("the map has this chunk");
            }
        }
    }

    fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut maps::Map, Error = maps::MapError>,
    {
        let map = self.ebpf.map_mut(name);
        map.unwrap_or_else(|| panic!("the object has no map {name}"))
            .try_into()
            .unwrap_or_else(|error| panic!("map {name}: {error}"))
    }
}

/// A loaded program that goes back when its rig is gone.
pub(super) struct Lent(Option<Loaded>);

impl Lent {
    /// One of this make with empty maps.
    pub(super) fn of(make: Make) -> Self {
        let idle = {
            let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
            let place = idle.iter().position(|loaded| loaded.make == make);
            place.map(|place| idle.swap_remove(place))
        };
        Self(Some(match idle {
            Some(mut used) => {
                used.empty();
                used
            }
            None => Loaded::new(make),
        }))
    }
}

impl Deref for Lent {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        self.0.as_ref().expect("it is there until it goes back")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Loaded {
        self.0.as_mut().expect("it is there until it goes back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.0.take());
    }
}
