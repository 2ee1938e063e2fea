//! The flow tables, which are ours and not the kernel's: two arrays each. A key's hash names a
//! bucket; the bucket's *head*, one cache line with a lock, holds a tag for each of its entries; the
//! entries lie in the other array, one or two cache lines each. To find that a key is absent takes
//! a look at the head alone, and the heads of 262,144 flows fit a processor's own cache.
//!
//! [`FlowHead`] is for confirmed flows, which nothing pushes out; [`HalfOpenHead`] for half-open
//! ones, where the newest takes the place of the oldest.

use crate::{
    Address,
    flow::{Flow, FlowKey},
};

/// Entries of a bucket of confirmed flows.
pub const FLOW_WAYS: usize = 28;
/// Entries of a bucket of half-open flows.
pub const HALF_OPEN_WAYS: usize = 8;
/// Entries for which a bucket of confirmed flows is made. With 14 in it on average, one insert in
/// 1,900 finds all 28 taken (Poisson); half as many flows, and it is one in 3 million.
const FLOWS_PER_BUCKET: u32 = 14;

/// The kernel's lock, which it finds by the name of its type in a map's type information (since
/// Linux 5.1, kernel/bpf/btf.c). Nobody but `bpf_spin_lock` and `bpf_spin_unlock` may touch it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct bpf_spin_lock {
    val: u32,
}

/// One entry: a packet's 5-tuple and what is done to it. 64 bytes for IPv4, 128 for IPv6: whole
/// cache lines.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<A: Address> {
    pub key: FlowKey<A>,
    pub flow: Flow<A>,
    pub pad: A::EntryPad,
}
const _: () = assert!(size_of::<Entry<crate::V4>>() == 64);
const _: () = assert!(size_of::<Entry<crate::V6>>() == 128);

/// A bucket's entries: the value of `flows4` and `flows6`.
pub type Flows<A> = [Entry<A>; FLOW_WAYS];
/// The same of `half_open4` and `half_open6`.
pub type HalfOpenFlows<A> = [Entry<A>; HALF_OPEN_WAYS];

/// Head of a bucket of confirmed flows: the value of `flow_heads4` and `flow_heads6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHead {
    pub lock: bpf_spin_lock,
    pub pad: u32,
    /// By entry, the tag of its key ([`Place::tag`]); 0 for none.
    pub tags: [u16; FLOW_WAYS],
}
const _: () = assert!(size_of::<FlowHead>() == 64);

/// Head of a bucket of half-open flows: the value of `half_heads4` and `half_heads6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpenHead {
    pub lock: bpf_spin_lock,
    pub pad: u32,
    /// As in [`FlowHead`].
    pub tags: [u16; HALF_OPEN_WAYS],
    /// By entry, when a packet last came by ([`stamp`]).
    pub stamps: [u32; HALF_OPEN_WAYS],
    pub pad_line: u64,
}
const _: () = assert!(size_of::<HalfOpenHead>() == 64);

/// The head of a bucket of either table.
pub trait Head: Copy {
    /// By entry, the tag of its key ([`Place::tag`]); 0 for none.
    fn tags(&self) -> &[u16];
    fn tags_mut(&mut self) -> &mut [u16];
    /// Notes when a packet of an entry last came by, where the table keeps that apart.
    fn note(&mut self, _way: usize, _last_seen_ns: u64) {}
}

impl Head for FlowHead {
    fn tags(&self) -> &[u16] {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut [u16] {
        &mut self.tags
    }
}

impl Head for HalfOpenHead {
    fn tags(&self) -> &[u16] {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut [u16] {
        &mut self.tags
    }

    fn note(&mut self, way: usize, last_seen_ns: u64) {
        self.stamps[way] = stamp(last_seen_ns);
    }
}

/// Where a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub bucket_idx: u32,
    /// Never 0.
    pub tag: u16,
}

impl Place {
    /// The place of the key with this hash ([`crate::hash::flow`]) among so many buckets.
    #[inline(always)]
    #[must_use]
    pub const fn of(key_hash: u64, buckets: u32) -> Self {
        let low = key_hash & 0xffff_ffff;
        let tag = (key_hash >> 32) as u16;
        Self {
            bucket_idx: ((low * buckets as u64) >> 32) as u32,
            tag: if tag == 0 { 1 } else { tag },
        }
    }
}

/// A time of `CLOCK_MONOTONIC` in units of 2^20 ns, about a millisecond. Wraps after 52 days: good
/// for telling the oldest of a bucket, not for timers.
#[inline(always)]
#[must_use]
pub const fn stamp(now_ns: u64) -> u32 {
    (now_ns >> 20) as u32
}

/// Buckets for so many confirmed flows of two entries each.
#[must_use]
pub const fn flow_buckets(flows: u32) -> u32 {
    (flows * 2).div_ceil(FLOWS_PER_BUCKET)
}

/// Flows for which so many buckets are made.
#[must_use]
pub const fn flows_of(flow_buckets: u32) -> u32 {
    flow_buckets * FLOWS_PER_BUCKET / 2
}

/// Half-open flows that so many buckets hold.
#[must_use]
pub const fn half_open_of(half_open_buckets: u32) -> u32 {
    half_open_buckets * HALF_OPEN_WAYS as u32 / 2
}

/// Buckets for so many half-open flows of two entries each.
#[must_use]
pub const fn half_open_buckets(flows: u32) -> u32 {
    (flows * 2).div_ceil(HALF_OPEN_WAYS as u32)
}

/// What the program `sweep` is asked to do: one stretch of one table's buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepRequest {
    /// One of [`sweep`].
    pub table: u32,
    pub first_bucket: u32,
    pub buckets: u32,
    pub pad: u32,
    /// When this pass over all tables began, `CLOCK_MONOTONIC`: what `backends_seen` gets for each
    /// backend that an entry refers to.
    pub pass_ns: u64,
}
const _: () = assert!(size_of::<SweepRequest>() == 24);

/// Tables, for [`SweepRequest::table`].
pub mod sweep {
    pub const FLOWS4: u32 = 0;
    pub const FLOWS6: u32 = 1;
    pub const HALF_OPEN4: u32 = 2;
    pub const HALF_OPEN6: u32 = 3;
}

/// What it found there: it overwrites the request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// Flows that are left, by their clients' entries.
    pub flows: u32,
    /// Flows that were removed.
    pub removed: u32,
    pub pad: [u64; 2],
}
const _: () = assert!(size_of::<SweepResult>() == size_of::<SweepRequest>());
