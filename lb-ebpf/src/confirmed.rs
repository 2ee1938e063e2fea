//! The table of confirmed flows ([`lb_common::table`]): found without a lock, changed in place;
//! inserted and removed under the lock of the bucket's head.
//!
//! An insert writes the entry before the tag that leads to it, and x86 keeps stores in order, so
//! that who finds the tag finds the entry whole.

use core::sync::atomic::{Ordering, compiler_fence};

use aya_ebpf::{Global, helpers};
use lb_common::{
    V4, V6,
    flow::{Flow, FlowKey},
    hash,
    table::{FLOW_WAYS, FlowHead, Flows, Place},
};

use crate::family::{Family, Inet, Inet6};

/// Buckets of each table; set when the program is loaded.
#[unsafe(no_mangle)]
static FLOW_BUCKETS: Global<u32> = Global::new(0);

/// Instead of a position: there is no such entry, or no room for it.
const NONE: u64 = u64::MAX;
/// Of a position: the lower bits tell the way, the others the bucket.
const WAY_BITS: u64 = 8;

/// Four tags are looked at in one word.
pub const LANES: usize = 4;
const TAG_WORDS: usize = FLOW_WAYS / LANES;
const LOW_BITS: u64 = 0x0001_0001_0001_0001;
const HIGH_BITS: u64 = LOW_BITS << 15;

/// The table of one address family.
pub trait Confirmed: Family {
    /// The flow with this key and hash.
    fn find(
        key: &FlowKey<Self::Address>,
        key_hash: u64,
    ) -> Option<&'static mut Flow<Self::Address>>;
    /// Inserts a flow. False when its key is taken or its bucket full.
    fn insert(key: &FlowKey<Self::Address>, flow: &Flow<Self::Address>) -> bool;
    /// Removes the flow with this key, if there is one.
    fn remove(key: &FlowKey<Self::Address>);
}

macro_rules! confirmed {
    ($family:ty, $address:ty, $find:ident, $insert:ident, $remove:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $find(key: *const FlowKey<$address>, key_hash: u64) -> u64 {
            // SAFETY: the verifier holds every caller to pointers that are null or valid.
            unsafe { key.as_ref() }
                .and_then(|key| find::<$family>(key, key_hash))
                .unwrap_or(NONE)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $insert(
            key: *const FlowKey<$address>,
            key_hash: u64,
            flow: *const Flow<$address>,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), flow.as_ref()) } {
                (Some(key), Some(flow)) => insert::<$family>(key, key_hash, flow) as u64,
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $remove(key: *const FlowKey<$address>, key_hash: u64) -> u64 {
            // SAFETY: as above.
            if let Some(key) = unsafe { key.as_ref() } {
                remove::<$family>(key, key_hash);
            }
            0
        }

        impl Confirmed for $family {
            #[inline(always)]
            fn find(key: &FlowKey<$address>, key_hash: u64) -> Option<&'static mut Flow<$address>> {
                let position = $find(key, key_hash);
                if position == NONE {
                    return None;
                }
                let flows = <$family>::flows((position >> WAY_BITS) as u32)?;
                let way = (position & ((1 << WAY_BITS) - 1)) as usize;
                if way >= FLOW_WAYS {
                    return None;
                }
                // SAFETY: an entry stays mapped as long as the program runs; `flow` says who
                // writes it.
                Some(unsafe { &mut (*flows)[way].flow })
            }

            #[inline(always)]
            fn insert(key: &FlowKey<$address>, flow: &Flow<$address>) -> bool {
                $insert(key, hash::flow(key), flow) != 0
            }

            #[inline(always)]
            fn remove(key: &FlowKey<$address>) {
                $remove(key, hash::flow(key));
            }
        }
    };
}

confirmed!(
    Inet,
    V4,
    confirmed_find4,
    confirmed_insert4,
    confirmed_remove4
);
confirmed!(
    Inet6,
    V6,
    confirmed_find6,
    confirmed_insert6,
    confirmed_remove6
);

/// Where the entry with this key lies.
#[inline(always)]
fn find<F: Family>(key: &FlowKey<F::Address>, key_hash: u64) -> Option<u64> {
    let place = Place::of(key_hash, FLOW_BUCKETS.load());
    let head = F::flow_head(place.bucket_idx)?;
    let flows = F::flows(place.bucket_idx)?;
    // SAFETY: both are live map values. Others may write them meanwhile: words are read whole, and
    // what they promise is checked against the key.
    let way = way_of::<F>(unsafe { &*head }, unsafe { &*flows }, place.tag, key);
    (way < FLOW_WAYS).then_some((place.bucket_idx as u64) << WAY_BITS | way as u64)
}

/// Which entry of the bucket has this key; [`FLOW_WAYS`] for none.
#[inline(always)]
fn way_of<F: Family>(
    head: &FlowHead,
    flows: &Flows<F::Address>,
    tag: u16,
    key: &FlowKey<F::Address>,
) -> usize {
    let words: *const u64 = head.tags.as_ptr().cast();
    for word in 0..TAG_WORDS {
        // SAFETY: the tags begin at a multiple of 8 bytes and fill these words.
        let candidates = lanes_equal(unsafe { *words.add(word) }, tag);
        if candidates == 0 {
            continue;
        }
        for lane in 0..LANES {
            let way = word * LANES + lane;
            if candidates >> (16 * lane + 15) & 1 == 1 && flows[way].key.same(key) {
                return way;
            }
        }
    }
    FLOW_WAYS
}

/// Of a word of four tags, the high bit of each lane that equals `tag`, and perhaps of lanes above
/// one that does (Mycroft's test).
#[inline(always)]
pub fn lanes_equal(word: u64, tag: u16) -> u64 {
    let differs = word ^ (tag as u64 * LOW_BITS);
    differs.wrapping_sub(LOW_BITS) & !differs & HIGH_BITS
}

/// Runs `act` on a bucket under its lock, with the key's tag. No helper may be called meanwhile
/// (kernel/bpf/verifier.c).
#[inline(always)]
fn locked<F: Family, R>(
    key_hash: u64,
    act: impl FnOnce(&mut FlowHead, &mut Flows<F::Address>, u16) -> R,
) -> Option<R> {
    let place = Place::of(key_hash, FLOW_BUCKETS.load());
    let head = F::flow_head(place.bucket_idx)?;
    let flows = F::flows(place.bucket_idx)?;
    // SAFETY: the lock lies in a live map value; it is released below on the only way out.
    unsafe { helpers::bpf_spin_lock((&raw mut (*head).lock).cast()) };
    // SAFETY: whoever holds the lock is the only one to insert or remove.
    let result = act(unsafe { &mut *head }, unsafe { &mut *flows }, place.tag);
    // SAFETY: as above.
    unsafe { helpers::bpf_spin_unlock((&raw mut (*head).lock).cast()) };
    Some(result)
}

#[inline(always)]
fn insert<F: Family>(key: &FlowKey<F::Address>, key_hash: u64, flow: &Flow<F::Address>) -> bool {
    locked::<F, _>(key_hash, |head, flows, tag| {
        if way_of::<F>(head, flows, tag, key) < FLOW_WAYS {
            return false;
        }
        for (entry, held) in flows.iter_mut().zip(&mut head.tags) {
            if *held == 0 {
                entry.key.copy_from(key);
                entry.flow.copy_from(flow);
                compiler_fence(Ordering::Release);
                *held = tag;
                return true;
            }
        }
        false
    })
    .unwrap_or(false)
}

#[inline(always)]
fn remove<F: Family>(key: &FlowKey<F::Address>, key_hash: u64) {
    locked::<F, _>(key_hash, |head, flows, tag| {
        let way = way_of::<F>(head, flows, tag, key);
        if way < FLOW_WAYS {
            head.tags[way] = 0;
        }
    });
}
