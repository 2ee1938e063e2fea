//! The maps, by the names under which the daemon pins them. Lengths given here are defaults: the
//! daemon sets those of the flow tables from `limits` when it creates them.

use aya_ebpf::{
    btf_maps,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use lb_common::{
    Budget, Budgeted, MAX_BACKENDS, MAX_SERVICES, MAX_SNAT, RING_MAP_CHUNKS, RingChunk, V4, V6,
    VIP_PREFIX_SLOTS, VIP_SLOTS,
    affinity::{Client, MAX_CLIENTS, Remembered},
    backend::{Backend, BackendStats, Tunnel},
    flow::FlowKey,
    fragment::{Datagram, First, MAX_DATAGRAMS},
    interface::{Interface, MAX_INTERFACES},
    load::{Load, Turn},
    path::{MAX_PATHS, Path},
    reason::REASON_SLOTS,
    service::{PortKey, Service, Settings, VipKey},
    sources::{SOURCE_SLOTS, Source},
    table::{Entries, Head, buckets},
    trace::{GAPS, Gap, IDLE_RING_BYTES, Record},
};

use crate::{flow::Copies, mtu::Excess, packet::Fragment, select::Draft};

const FLOW_BUCKETS: usize = buckets(262_144, 65_536) as usize;

/// An array with this flag (`BPF_F_MMAPABLE`, Linux 5.5) begins at a page, so that values of 64
/// bytes lie on one cache line each.
const ALIGNED: usize = 1 << 10;

/// Entries of a hash with this flag (`BPF_F_NO_PREALLOC`) are made as they come: its length is a limit.
const AS_THEY_COME: u32 = 1;

#[map(name = "settings")]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map(name = "vips4")]
pub static VIPS4: HashMap<VipKey<V4>, u32> = HashMap::with_max_entries(VIP_SLOTS, AS_THEY_COME);
#[map(name = "vips6")]
pub static VIPS6: HashMap<VipKey<V6>, u32> = HashMap::with_max_entries(VIP_SLOTS, AS_THEY_COME);
/// For vips that are ranges of ports; an entry takes memory only while it is there.
#[map(name = "vip_ranges4")]
pub static VIP_RANGES4: LpmTrie<PortKey<V4>, u32> = LpmTrie::with_max_entries(VIP_PREFIX_SLOTS, 0);
#[map(name = "vip_ranges6")]
pub static VIP_RANGES6: LpmTrie<PortKey<V6>, u32> = LpmTrie::with_max_entries(VIP_PREFIX_SLOTS, 0);
#[map(name = "services")]
pub static SERVICES: Array<Service> = Array::with_max_entries(MAX_SERVICES, 0);
/// One inner map for each service that exists, with room for two rings: its own and the next.
#[btf_map(name = "rings")]
pub static RINGS: btf_maps::ArrayOfMaps<
    btf_maps::Array<RingChunk, { RING_MAP_CHUNKS as usize }>,
    { MAX_SERVICES as usize },
> = btf_maps::ArrayOfMaps::new();
#[map(name = "backends")]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(MAX_BACKENDS, 0);
/// By backend, for those of modes `ipip` and `gue`.
#[map(name = "tunnels")]
pub static TUNNELS: Array<Tunnel> = Array::with_max_entries(MAX_BACKENDS, ALIGNED as u32);
#[map(name = "snat")]
pub static SNAT: Array<V6> = Array::with_max_entries(MAX_SNAT, 0);
/// By index, of those that packets come and go by.
#[map(name = "interfaces")]
pub static INTERFACES: HashMap<u32, Interface> = HashMap::with_max_entries(MAX_INTERFACES, 0);
/// Entries are made as they come: these lengths are limits.
#[map(name = "sources4")]
pub static SOURCES4: LpmTrie<Source<V4>, u32> = LpmTrie::with_max_entries(SOURCE_SLOTS, 0);
#[map(name = "sources6")]
pub static SOURCES6: LpmTrie<Source<V6>, u32> = LpmTrie::with_max_entries(SOURCE_SLOTS, 0);
#[map(name = "affinity4")]
pub static AFFINITY4: LruHashMap<Client<V4>, Remembered> =
    LruHashMap::with_max_entries(MAX_CLIENTS, 0);
#[map(name = "affinity6")]
pub static AFFINITY6: LruHashMap<Client<V6>, Remembered> =
    LruHashMap::with_max_entries(MAX_CLIENTS, 0);
#[map(name = "fragments4")]
pub static FRAGMENTS4: LruHashMap<Datagram<V4>, First> =
    LruHashMap::with_max_entries(MAX_DATAGRAMS, 0);
#[map(name = "fragments6")]
pub static FRAGMENTS6: LruHashMap<Datagram<V6>, First> =
    LruHashMap::with_max_entries(MAX_DATAGRAMS, 0);

/// Heads are made with type information, by which the kernel finds the lock in each.
#[btf_map(name = "flow_heads4")]
pub static FLOW_HEADS4: btf_maps::Array<Head, FLOW_BUCKETS, ALIGNED> = btf_maps::Array::new();
#[btf_map(name = "flow_heads6")]
pub static FLOW_HEADS6: btf_maps::Array<Head, FLOW_BUCKETS, ALIGNED> = btf_maps::Array::new();
#[map(name = "flows4")]
pub static FLOWS4: Array<Entries<V4>> =
    Array::with_max_entries(FLOW_BUCKETS as u32, ALIGNED as u32);
#[map(name = "flows6")]
pub static FLOWS6: Array<Entries<V6>> =
    Array::with_max_entries(FLOW_BUCKETS as u32, ALIGNED as u32);
/// By backend: the last pass of `sweep` that met a flow of it.
#[map(name = "backends_seen")]
pub static BACKENDS_SEEN: Array<u64> = Array::with_max_entries(MAX_BACKENDS, 0);
/// By backend, for services whose flows are counted.
#[btf_map(name = "backend_loads")]
pub static BACKEND_LOADS: btf_maps::Array<Load, { MAX_BACKENDS as usize }> = btf_maps::Array::new();
/// By service, for those of scheduler `round_robin`.
#[btf_map(name = "turns")]
pub static TURNS: btf_maps::Array<Turn, { MAX_SERVICES as usize }> = btf_maps::Array::new();

#[map(name = "backend_stats")]
pub static BACKEND_STATS: PerCpuArray<BackendStats> =
    PerCpuArray::with_max_entries(MAX_BACKENDS, 0);
#[map(name = "reasons")]
pub static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASON_SLOTS, 0);
/// By [`Budgeted`].
#[map(name = "budgets")]
pub static BUDGETS: PerCpuArray<Budget> = PerCpuArray::with_max_entries(Budgeted::COUNT, 0);

/// Scratch, which holds nothing between two packets and is not pinned: for half-open entries that
/// are copied out, for the key of a swept one, for a new flow, for a fragment, and for what a packet
/// exceeds.
#[map(name = "copies4")]
pub static COPIES4: PerCpuArray<Copies<V4>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "copies6")]
pub static COPIES6: PerCpuArray<Copies<V6>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "swept_key4")]
pub static SWEPT_KEY4: PerCpuArray<FlowKey<V4>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "swept_key6")]
pub static SWEPT_KEY6: PerCpuArray<FlowKey<V6>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "draft4")]
pub static DRAFT4: PerCpuArray<Draft<V4>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "draft6")]
pub static DRAFT6: PerCpuArray<Draft<V6>> = PerCpuArray::with_max_entries(1, 0);
/// For a place in a header's options.
#[map(name = "place")]
pub static PLACE: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "fragment4")]
pub static FRAGMENT4: PerCpuArray<Fragment<V4>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "fragment6")]
pub static FRAGMENT6: PerCpuArray<Fragment<V6>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "excess")]
pub static EXCESS: PerCpuArray<Excess> = PerCpuArray::with_max_entries(1, 0);

/// By the end of a tunnel. Not pinned: what the next program does not know, routers will tell it.
#[map(name = "path_mtus")]
pub static PATH_MTUS: LruHashMap<V6, Path> = LruHashMap::with_max_entries(MAX_PATHS, 0);

/// Of the traced forms of the program, and not pinned: packets until the next sample, by interface and
/// queue; the record in the making; and those that are ready.
#[map(name = "trace_gaps")]
pub static TRACE_GAPS: Array<Gap> = Array::with_max_entries(GAPS, 0);
#[map(name = "trace_record")]
pub static TRACE_RECORD: PerCpuArray<Record> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "trace_records")]
pub static TRACE_RECORDS: RingBuf = RingBuf::with_byte_size(IDLE_RING_BYTES, 0);
