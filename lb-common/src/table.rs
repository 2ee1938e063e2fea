//! The flow tables, one for each address family, which are ours and not the kernel's: two arrays each. A
//! key's hash names a bucket; the bucket's *head*, one cache line with a lock, holds a tag for each of
//! its entries; the entries lie in the other array, one or two cache lines each. To find that a key is
//! absent takes a look at the head alone.
//!
//! The first entries of a bucket are for half-open flows, where the newest takes the place of the
//! oldest; the others are for confirmed ones, which nothing pushes out.

use crate::{
    Address,
    flow::{Flow, FlowKey},
};

/// Entries of a bucket.
pub const WAYS: usize = 40;
/// How many of them, from the first on, are for half-open flows.
pub const HALF_OPEN_WAYS: usize = 4;
/// Entries of confirmed flows for which a bucket is made: with 16 in it on average, one insert in
/// 100,000 finds all 36 taken (Poisson).
const FLOWS_PER_BUCKET: u32 = if cfg!(feature = "second-layout") {
    12
} else {
    16
};

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
pub type Entries<A> = [Entry<A>; WAYS];

/// A bucket's head: the value of `flow_heads4` and `flow_heads6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub lock: bpf_spin_lock,
    /// By half-open entry, when a packet last came by ([`stamp`]).
    pub stamps: [u32; HALF_OPEN_WAYS],
    pub pad: u32,
    /// By entry, the tag of its key ([`Place::tag`]); 0 for none.
    pub tags: [u8; WAYS],
}
const _: () = assert!(size_of::<Head>() == 64);

/// Where a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub bucket_idx: u32,
    /// Never 0.
    pub tag: u8,
}

impl Place {
    /// The place of the key with this hash ([`crate::hash::flow`]) among so many buckets.
    #[inline(always)]
    #[must_use]
    pub const fn of(key_hash: u64, buckets: u32) -> Self {
        let low = key_hash & 0xffff_ffff;
        let tag = (key_hash >> 32) as u8;
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

/// Buckets for so many confirmed and so many half-open flows, of two entries each.
#[must_use]
pub const fn buckets(flows: u32, half_open: u32) -> u32 {
    let for_flows = (flows * 2).div_ceil(FLOWS_PER_BUCKET);
    let for_half_open = (half_open * 2).div_ceil(HALF_OPEN_WAYS as u32);
    if for_flows > for_half_open {
        for_flows
    } else {
        for_half_open
    }
}

/// Confirmed flows for which so many buckets are made.
#[must_use]
pub const fn flows_of(buckets: u32) -> u32 {
    buckets * FLOWS_PER_BUCKET / 2
}

/// Half-open flows that so many buckets hold.
#[must_use]
pub const fn half_open_of(buckets: u32) -> u32 {
    buckets * HALF_OPEN_WAYS as u32 / 2
}

/// What the program `sweep` is asked to do: one stretch of one table's buckets, or something about the
/// loads of all backends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepRequest {
    /// 4 or 6.
    pub family: u32,
    pub first_bucket: u32,
    pub buckets: u32,
    /// One of [`task`].
    pub task: u32,
    /// When this pass over all tables began, `CLOCK_MONOTONIC`: what `backends_seen` gets for each
    /// backend that an entry refers to.
    pub pass_ns: u64,
}
const _: () = assert!(size_of::<SweepRequest>() == 24);

/// What the program `sweep` can do.
pub mod task {
    /// Remove the flows of a stretch whose time is over.
    pub const SWEEP: u32 = 0;
    /// The same, and add those that live to what was met of their backends.
    pub const SWEEP_AND_MEET: u32 = 1;
    /// Begin a pass that meets flows.
    pub const BEGIN: u32 = 2;
    /// End it: make good what loads and flows differ by.
    pub const END: u32 = 3;
}

/// What it found there: it overwrites the request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// Confirmed flows that are left, by their clients' entries. Of [`task::BEGIN`] and [`task::END`]:
    /// backends whose flows are counted.
    pub flows: u32,
    /// The same of half-open ones.
    pub half_open: u32,
    /// Flows that were removed.
    pub removed: u32,
    pub pad: [u32; 3],
}
const _: () = assert!(size_of::<SweepResult>() == size_of::<SweepRequest>());
