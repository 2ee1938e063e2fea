//! The table of half-open flows ([`lb_common::table`]): each call takes the lock of one bucket,
//! so that nobody ever sees half of one flow and half of another. Entries are copied out; what a
//! packet changes is written back part by part, lest two CPUs undo each other's change.
//!
//! Why not the kernel's LRU hash: an insert there took 500 ns of a SYN's 1,300.

use aya_ebpf::{Global, helpers};
use lb_common::{
    V4, V6,
    flow::{Flow, FlowKey},
    hash,
    service::Timeouts,
    table::{HALF_OPEN_WAYS as WAYS, HalfOpenFlows, HalfOpenHead, Place, stamp},
};

use crate::{
    confirmed::{LANES, lanes_equal},
    family::{Family, Inet, Inet6},
};

/// Buckets of each table; set when the program is loaded.
#[unsafe(no_mangle)]
static HALF_OPEN_BUCKETS: Global<u32> = Global::new(0);

const TAG_WORDS: usize = WAYS / LANES;

/// Parts of an entry, as bits for [`write`].
pub mod part {
    pub const LAST_SEEN: u64 = 1;
    /// State, who closed, flags and the pending acknowledgement.
    pub const STATE: u64 = 2;
    pub const NEXT_HOP: u64 = 4;
}

/// A bucket: its head and its entries.
struct Bucket<'a, F: Family> {
    head: &'a mut HalfOpenHead,
    entries: &'a mut HalfOpenFlows<F::Address>,
}

/// Runs `act` on the bucket of the key with this hash, with the key's tag, under the bucket's lock.
/// No helper may be called meanwhile (kernel/bpf/verifier.c). `None` when there is no such bucket.
#[inline(always)]
fn locked<F: Family, R>(
    key_hash: u64,
    act: impl FnOnce(&mut Bucket<'_, F>, u16) -> R,
) -> Option<R> {
    let place = Place::of(key_hash, HALF_OPEN_BUCKETS.load());
    let head = F::half_head(place.bucket_idx)?;
    let entries = F::half_open(place.bucket_idx)?;
    // SAFETY: the lock lies in a live map value; it is released below on the only way out.
    unsafe { helpers::bpf_spin_lock((&raw mut (*head).lock).cast()) };
    // SAFETY: whoever holds the lock is the only one to touch the bucket.
    let (head_now, entries) = unsafe { (&mut *head, &mut *entries) };
    let result = act(
        &mut Bucket {
            head: head_now,
            entries,
        },
        place.tag,
    );
    // SAFETY: as above.
    unsafe { helpers::bpf_spin_unlock((&raw mut (*head).lock).cast()) };
    Some(result)
}

/// False when no entry of the bucket has the tag of a key with this hash. Asked without the lock,
/// because most keys are none of the table's.
#[inline(always)]
fn may_hold<F: Family>(key_hash: u64) -> bool {
    let place = Place::of(key_hash, HALF_OPEN_BUCKETS.load());
    // SAFETY: a live map value; each tag is read whole.
    let head = F::half_head(place.bucket_idx).map(|head| unsafe { &*head });
    head.is_some_and(|head| {
        let words: *const u64 = head.tags.as_ptr().cast();
        (0..TAG_WORDS).any(|word| {
            // SAFETY: the tags begin at a multiple of 8 bytes and fill these words.
            lanes_equal(unsafe { *words.add(word) }, place.tag) != 0
        })
    })
}

/// Which entry of the bucket has this key; [`WAYS`] for none.
#[inline(always)]
fn way_of<F: Family>(bucket: &Bucket<'_, F>, tag: u16, key: &FlowKey<F::Address>) -> usize {
    for way in 0..WAYS {
        if bucket.head.tags[way] == tag && bucket.entries[way].key.same(key) {
            return way;
        }
    }
    WAYS
}

/// The table of one address family.
pub trait HalfOpen: Family {
    /// Copies the entry with this key and hash. False when there is none.
    fn read(key: &FlowKey<Self::Address>, key_hash: u64, to: &mut Flow<Self::Address>) -> bool;
    /// Writes these parts ([`part`]) of `from` into the entry with this key, if there is one.
    fn write(key: &FlowKey<Self::Address>, from: &Flow<Self::Address>, parts: u64);
    /// Removes the entry with this key, if there is one.
    fn remove(key: &FlowKey<Self::Address>);
    /// Inserts an entry, in the place of the bucket's oldest where none is free. An entry that has
    /// this key is overwritten, but with `keep` only if its timer has run out; false where it has
    /// not.
    fn insert(
        key: &FlowKey<Self::Address>,
        key_hash: u64,
        flow: &Flow<Self::Address>,
        keep: Option<&Timeouts>,
    ) -> bool;
}

/// Makes each operation a function that the verifier knows as global: it checks it once, and not
/// again with every state in which it is called (since Linux 5.6). Such functions are told apart by
/// names, take pointers that may be null, and return integers.
macro_rules! half_open {
    ($family:ty, $address:ty, $read:ident, $write:ident, $remove:ident, $insert:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $read(
            key: *const FlowKey<$address>,
            key_hash: u64,
            to: *mut Flow<$address>,
        ) -> u64 {
            // SAFETY: the verifier holds every caller to pointers that are null or valid.
            match unsafe { (key.as_ref(), to.as_mut()) } {
                (Some(key), Some(to)) => read::<$family>(key, key_hash, to) as u64,
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $write(
            key: *const FlowKey<$address>,
            from: *const Flow<$address>,
            parts: u64,
        ) -> u64 {
            // SAFETY: as above.
            if let (Some(key), Some(from)) = unsafe { (key.as_ref(), from.as_ref()) } {
                write::<$family>(key, from, parts);
            }
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $remove(key: *const FlowKey<$address>) -> u64 {
            // SAFETY: as above.
            if let Some(key) = unsafe { key.as_ref() } {
                remove::<$family>(key);
            }
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $insert(
            key: *const FlowKey<$address>,
            key_hash: u64,
            flow: *const Flow<$address>,
            keep: *const Timeouts,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), flow.as_ref(), keep.as_ref()) } {
                (Some(key), Some(flow), keep) => {
                    insert::<$family>(key, key_hash, flow, keep) as u64
                }
                _ => 0,
            }
        }

        impl HalfOpen for $family {
            #[inline(always)]
            fn read(key: &FlowKey<$address>, key_hash: u64, to: &mut Flow<$address>) -> bool {
                $read(key, key_hash, to) != 0
            }

            #[inline(always)]
            fn write(key: &FlowKey<$address>, from: &Flow<$address>, parts: u64) {
                $write(key, from, parts);
            }

            #[inline(always)]
            fn remove(key: &FlowKey<$address>) {
                $remove(key);
            }

            #[inline(always)]
            fn insert(
                key: &FlowKey<$address>,
                key_hash: u64,
                flow: &Flow<$address>,
                keep: Option<&Timeouts>,
            ) -> bool {
                let keep = keep.map_or(core::ptr::null(), core::ptr::from_ref);
                $insert(key, key_hash, flow, keep) != 0
            }
        }
    };
}

half_open!(
    Inet,
    V4,
    half_open_read4,
    half_open_write4,
    half_open_remove4,
    half_open_insert4
);
half_open!(
    Inet6,
    V6,
    half_open_read6,
    half_open_write6,
    half_open_remove6,
    half_open_insert6
);

#[inline(always)]
fn read<F: Family>(key: &FlowKey<F::Address>, key_hash: u64, to: &mut Flow<F::Address>) -> bool {
    if !may_hold::<F>(key_hash) {
        return false;
    }
    locked::<F, _>(key_hash, |bucket, tag| {
        let way = way_of::<F>(bucket, tag, key);
        if way < WAYS {
            to.copy_from(&bucket.entries[way].flow);
        }
        way < WAYS
    })
    .unwrap_or(false)
}

#[inline(always)]
fn write<F: Family>(key: &FlowKey<F::Address>, from: &Flow<F::Address>, parts: u64) {
    locked::<F, _>(hash::flow(key), |bucket, tag| {
        let way = way_of::<F>(bucket, tag, key);
        if way == WAYS {
            return;
        }
        let to = &mut bucket.entries[way].flow;
        if parts & part::LAST_SEEN != 0 {
            to.last_seen_ns = from.last_seen_ns;
            bucket.head.stamps[way] = stamp(from.last_seen_ns);
        }
        if parts & part::STATE != 0 {
            to.state = from.state;
            to.closed_by = from.closed_by;
            to.flags = from.flags;
            to.pending = from.pending;
        }
        if parts & part::NEXT_HOP != 0 {
            to.ifindex = from.ifindex;
            crate::packet::copy_mac(&mut to.peer_mac, &from.peer_mac);
            crate::packet::copy_mac(&mut to.local_mac, &from.local_mac);
        }
    });
}

#[inline(always)]
fn remove<F: Family>(key: &FlowKey<F::Address>) {
    locked::<F, _>(hash::flow(key), |bucket, tag| {
        let way = way_of::<F>(bucket, tag, key);
        if way < WAYS {
            bucket.head.tags[way] = 0;
        }
    });
}

#[inline(always)]
fn insert<F: Family>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    flow: &Flow<F::Address>,
    keep: Option<&Timeouts>,
) -> bool {
    let now_ns = flow.last_seen_ns;
    locked::<F, _>(key_hash, |bucket, tag| {
        let mut way = way_of::<F>(bucket, tag, key);
        if way == WAYS {
            way = place_for_new::<F>(bucket, stamp(now_ns));
        } else if let Some(timeouts) = keep {
            let held = &bucket.entries[way].flow;
            if now_ns.saturating_sub(held.last_seen_ns) <= timeouts.of_ns(held.state) {
                return false;
            }
        }
        bucket.head.tags[way] = tag;
        bucket.head.stamps[way] = stamp(now_ns);
        let entry = &mut bucket.entries[way];
        entry.key.copy_from(key);
        entry.flow.copy_from(flow);
        true
    })
    .unwrap_or(false)
}

/// A free entry, or else the one that was quiet for longest.
#[inline(always)]
fn place_for_new<F: Family>(bucket: &Bucket<'_, F>, now: u32) -> usize {
    /// Another CPU's stamp may be a little ahead of this one's clock: that is no age.
    const AHEAD: u32 = u32::MAX - (1 << 16);
    let mut oldest = 0;
    let mut greatest_age = 0;
    for way in 0..WAYS {
        if bucket.head.tags[way] == 0 {
            return way;
        }
        let age = now.wrapping_sub(bucket.head.stamps[way]);
        if age > greatest_age && age < AHEAD {
            greatest_age = age;
            oldest = way;
        }
    }
    oldest
}
