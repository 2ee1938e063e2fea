//! The table of half-open flows: buckets of eight entries, found by a hash of the key, each bucket
//! behind a lock of its own. A full bucket gives the place of its oldest entry away, so that a
//! flood of SYNs displaces half-open flows only, at the price of one cache line looked at.
//!
//! An entry whose timer ran out stays where it is until another takes its place; who reads the
//! table treats it as gone ([`crate::service::Timeouts`]).

use crate::flow::{Flow, FlowKey};

/// Entries of a bucket.
pub const WAYS: usize = 8;

/// The kernel's lock, which it finds by the name of its type in a map's type information (since
/// Linux 5.1, kernel/bpf/btf.c). Nobody but `bpf_spin_lock` and `bpf_spin_unlock` may touch it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bpf_spin_lock {
    val: u32,
}

/// One entry: a packet's 5-tuple and what is done to it. 64 bytes for IPv4, 112 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<A> {
    pub key: FlowKey<A>,
    pub flow: Flow<A>,
}
const _: () = assert!(size_of::<Entry<crate::V4>>() == 64);
const _: () = assert!(size_of::<Entry<crate::V6>>() == 112);

/// A bucket: the value of `half_open4` and `half_open6`. Its first 64 bytes tell which entries are
/// worth a look.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bucket<A> {
    pub lock: bpf_spin_lock,
    pub pad: u32,
    /// By entry, the tag of its key ([`Place::tag`]); 0 for none.
    pub tags: [u16; WAYS],
    /// By entry, when it was last written or a packet came by ([`stamp`]).
    pub stamps: [u32; WAYS],
    pub pad_line: u64,
    pub entries: [Entry<A>; WAYS],
}
const _: () = assert!(size_of::<Bucket<crate::V4>>() == 64 + WAYS * 64);
const _: () = assert!(size_of::<Bucket<crate::V6>>() == 64 + WAYS * 112);

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

/// Buckets that hold so many entries.
#[must_use]
pub const fn buckets(entries: u32) -> u32 {
    entries.div_ceil(WAYS as u32)
}

/// Entries that so many buckets hold.
#[must_use]
pub const fn entries(buckets: u32) -> u32 {
    buckets * WAYS as u32
}
