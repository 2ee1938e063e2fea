//! The maps, by the names under which the daemon pins them. Lengths given here are defaults: the
//! daemon sets those of the flow tables from `limits` when it creates them.

use aya_ebpf::{
    btf_maps,
    macros::{btf_map, map},
    maps::{Array, HashMap, PerCpuArray},
};
use lb_common::{
    MAX_BACKENDS, MAX_SERVICES, MAX_SNAT, MAX_VIPS, RING_CHUNKS, RingChunk, RstBudget, V4, V6,
    backend::{Backend, BackendStats},
    flow::{Flow, FlowKey},
    half_open::{Bucket, buckets},
    reason::REASON_SLOTS,
    service::{Service, Settings, VipKey},
};

use crate::{flow::Copies, select::Draft};

const DEFAULT_FLOWS: u32 = 2 * 262_144;
const DEFAULT_HALF_OPEN: usize = buckets(2 * 65_536) as usize;

#[map(name = "settings")]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map(name = "vips4")]
pub static VIPS4: HashMap<VipKey<V4>, u32> = HashMap::with_max_entries(MAX_VIPS, 0);
#[map(name = "vips6")]
pub static VIPS6: HashMap<VipKey<V6>, u32> = HashMap::with_max_entries(MAX_VIPS, 0);
#[map(name = "services")]
pub static SERVICES: Array<Service> = Array::with_max_entries(MAX_SERVICES, 0);
/// One inner map for each service, so that a ring is replaced by a single store.
#[btf_map(name = "rings")]
pub static RINGS: btf_maps::ArrayOfMaps<
    btf_maps::Array<RingChunk, { RING_CHUNKS as usize }>,
    { MAX_SERVICES as usize },
> = btf_maps::ArrayOfMaps::new();
#[map(name = "backends")]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(MAX_BACKENDS, 0);
#[map(name = "snat")]
pub static SNAT: Array<V6> = Array::with_max_entries(MAX_SNAT, 0);

#[map(name = "flows4")]
pub static FLOWS4: HashMap<FlowKey<V4>, Flow<V4>> = HashMap::with_max_entries(DEFAULT_FLOWS, 0);
#[map(name = "flows6")]
pub static FLOWS6: HashMap<FlowKey<V6>, Flow<V6>> = HashMap::with_max_entries(DEFAULT_FLOWS, 0);
/// Made with type information, by which the kernel finds the lock in each bucket.
#[btf_map(name = "half_open4")]
pub static HALF_OPEN4: btf_maps::Array<Bucket<V4>, DEFAULT_HALF_OPEN> = btf_maps::Array::new();
#[btf_map(name = "half_open6")]
pub static HALF_OPEN6: btf_maps::Array<Bucket<V6>, DEFAULT_HALF_OPEN> = btf_maps::Array::new();

#[map(name = "backend_stats")]
pub static BACKEND_STATS: PerCpuArray<BackendStats> =
    PerCpuArray::with_max_entries(MAX_BACKENDS, 0);
#[map(name = "reasons")]
pub static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASON_SLOTS, 0);
#[map(name = "rst_budget")]
pub static RST_BUDGET: PerCpuArray<RstBudget> = PerCpuArray::with_max_entries(1, 0);

/// Scratch, which holds nothing between two packets and is not pinned: for entries copied out of
/// the half-open table, and for a new flow.
#[map(name = "copies4")]
pub static COPIES4: PerCpuArray<Copies<V4>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "copies6")]
pub static COPIES6: PerCpuArray<Copies<V6>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "draft4")]
pub static DRAFT4: PerCpuArray<Draft<V4>> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "draft6")]
pub static DRAFT6: PerCpuArray<Draft<V6>> = PerCpuArray::with_max_entries(1, 0);
