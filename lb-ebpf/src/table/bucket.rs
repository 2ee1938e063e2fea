//! What is done to one bucket of a flow table: searching it, and under its lock inserting, moving,
//! changing and removing.

use core::{
    cell::UnsafeCell,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{Global, helpers};
use lb_common::{
    Address,
    carry::outcome,
    flow::{Flow, FlowKey},
    hash,
    service::Timeouts,
    table::{Entries, HALF_OPEN_WAYS, Head, Place, WAYS, stamp},
};

use super::{Inserted, Position, part};
use crate::{family::Family, packet::copy_mac};

/// Buckets of each table; set when the program is loaded.
#[unsafe(no_mangle)]
static FLOW_BUCKETS: Global<u32> = Global::new(0);

#[inline(always)]
pub(super) fn find<F: Family>(key: &FlowKey<F::Address>, key_hash: u64) -> u64 {
    let place = Place::of(key_hash, FLOW_BUCKETS.load());
    let (Some(head), Some(entries)) = (F::head(place.bucket_idx), F::entries(place.bucket_idx))
    else {
        return Position::NONE;
    };
    // SAFETY: both are live map values. Others may write them meanwhile: words are read whole, and
    // what they promise is checked against the key.
    let way = way_of::<F>(unsafe { &*head }, unsafe { &*entries }, place.tag, key);
    if way == WAYS {
        return Position::NONE;
    }
    (place.bucket_idx as u64) << Position::WAY_BITS | way as u64
}

/// The same where the search stands in line, as in the way of every packet. To the verifier each way
/// would be a number of its own, and all that follows would be looked at for each of them.
#[inline(always)]
pub(super) fn find_in_line<F: Family>(key: &FlowKey<F::Address>, key_hash: u64) -> u64 {
    const LOW_BITS: u64 = (1 << 6) - 1;
    const _: () = assert!(WAYS <= LOW_BITS as usize);
    let found = find::<F>(key, key_hash);
    if found == Position::NONE {
        return Position::NONE;
    }
    // SAFETY: the word is a live map value.
    let nothing = unsafe { NOTHING.0.get().read_volatile() } & LOW_BITS;
    let way = (found & LOW_BITS).wrapping_add(nothing) & LOW_BITS;
    found & !((1 << Position::WAY_BITS) - 1) | way
}

/// Always 0, which the verifier does not know.
#[unsafe(no_mangle)]
static NOTHING: Nothing = Nothing(UnsafeCell::new(0));

struct Nothing(UnsafeCell<u64>);

// SAFETY: nobody writes it.
unsafe impl Sync for Nothing {}

/// Which entry of the bucket has this key; [`WAYS`] for none.
#[inline(always)]
fn way_of<F: Family>(
    head: &Head,
    entries: &Entries<F::Address>,
    tag: u8,
    key: &FlowKey<F::Address>,
) -> usize {
    /// Tags that are looked at in one word.
    const LANES: usize = 8;
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = LOW_BITS << 7;
    let words: *const u64 = head.tags.as_ptr().cast();
    let wanted = tag as u64 * LOW_BITS;
    for at in 0..WAYS / LANES {
        // SAFETY: the tags begin at a multiple of 8 bytes and fill these words.
        let differs = unsafe { *words.add(at) } ^ wanted;
        // The high bit of each lane that is zero, and of no other: what a shorter test with borrows flags
        // beside it may be a free entry, whose key is still that of a flow that was moved.
        let candidates = !(((differs & !HIGH_BITS) + !HIGH_BITS) | differs) & HIGH_BITS;
        if candidates == 0 {
            continue;
        }
        // By branches, not by arithmetic: a branch is predicted, so that the entry is fetched while
        // the head is still on its way.
        for lane in 0..LANES {
            let way = at * LANES + lane;
            if candidates >> (8 * lane + 7) & 1 == 1 && entries[way].key.same(key) {
                return way;
            }
        }
    }
    WAYS
}

/// A bucket under its lock.
struct Bucket<'a, F: Family> {
    head: &'a mut Head,
    entries: &'a mut Entries<F::Address>,
    /// Of the key that the bucket was looked up by.
    tag: u8,
}

/// Runs `act` on the bucket of the key with this hash, under the bucket's lock. No helper may be
/// called meanwhile (kernel/bpf/verifier.c). `None` when there is no such bucket.
#[inline(always)]
fn locked<F: Family, R>(key_hash: u64, act: impl FnOnce(&mut Bucket<'_, F>) -> R) -> Option<R> {
    let place = Place::of(key_hash, FLOW_BUCKETS.load());
    let head = F::head(place.bucket_idx)?;
    let entries = F::entries(place.bucket_idx)?;
    // SAFETY: the lock lies in a live map value; it is released below on the only way out.
    unsafe { helpers::bpf_spin_lock((&raw mut (*head).lock).cast()) };
    // SAFETY: whoever holds the lock is the only one to insert, move or remove.
    let (head_now, entries) = unsafe { (&mut *head, &mut *entries) };
    let result = act(&mut Bucket {
        head: head_now,
        entries,
        tag: place.tag,
    });
    // SAFETY: as above.
    unsafe { helpers::bpf_spin_unlock((&raw mut (*head).lock).cast()) };
    Some(result)
}

impl<F: Family> Bucket<'_, F> {
    /// Which entry has this key; [`WAYS`] for none.
    #[inline(always)]
    fn way_of(&self, key: &FlowKey<F::Address>) -> usize {
        way_of::<F>(self.head, self.entries, self.tag, key)
    }

    /// The way of a position found just now, if its entry still has this key; [`WAYS`] if not.
    /// Whoever moved or removed it meanwhile did so for a reason of its own.
    #[inline(always)]
    fn still_at(&self, found: u64, key: &FlowKey<F::Address>) -> usize {
        let way = Position(found).way();
        if way < WAYS && self.head.tags[way] == self.tag && self.entries[way].key.same(key) {
            way
        } else {
            WAYS
        }
    }

    /// Which half-open entry has this key; [`HALF_OPEN_WAYS`] for none.
    #[inline(always)]
    fn half_open_way_of(&self, key: &FlowKey<F::Address>) -> usize {
        for way in 0..HALF_OPEN_WAYS {
            if self.head.tags[way] == self.tag && self.entries[way].key.same(key) {
                return way;
            }
        }
        HALF_OPEN_WAYS
    }

    /// A half-open entry that is free, or else the one that was quiet for longest.
    #[inline(always)]
    fn place_for_new(&self, now: u32) -> usize {
        /// Another CPU's stamp may be a little ahead of this one's clock: that is no age.
        const AHEAD: u32 = u32::MAX - (1 << 16);
        // Among those of the same age any will do, but not the same one for every key: a flow's
        // second entry would displace its first where they share a bucket.
        let mut oldest = self.tag as usize % HALF_OPEN_WAYS;
        let mut greatest_age = 0;
        for way in 0..HALF_OPEN_WAYS {
            if self.head.tags[way] == 0 {
                return way;
            }
            let age = now.wrapping_sub(self.head.stamps[way]);
            if age > greatest_age && age < AHEAD {
                greatest_age = age;
                oldest = way;
            }
        }
        oldest
    }

    /// A confirmed entry that is free; [`WAYS`] for none.
    #[inline(always)]
    fn free_confirmed(&self) -> usize {
        for way in HALF_OPEN_WAYS..WAYS {
            if self.head.tags[way] == 0 {
                return way;
            }
        }
        WAYS
    }

    /// Fills a confirmed entry.
    #[inline(always)]
    fn put_confirmed(&mut self, way: usize, key: &FlowKey<F::Address>, flow: &Flow<F::Address>) {
        self.entries[way].key.copy_from(key);
        self.entries[way].flow.copy_from(flow);
        compiler_fence(Ordering::Release);
        self.head.tags[way] = self.tag;
    }

    /// Fills a half-open entry.
    #[inline(always)]
    fn put(&mut self, way: usize, key: &FlowKey<F::Address>, flow: &Flow<F::Address>) {
        self.entries[way].key.copy_from(key);
        self.entries[way].flow.copy_from(flow);
        self.head.stamps[way] = stamp(flow.last_seen_ns);
        compiler_fence(Ordering::Release);
        self.head.tags[way] = self.tag;
    }
}

#[inline(always)]
pub(super) fn read<F: Family>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    to: &mut Flow<F::Address>,
) -> bool {
    locked::<F, _>(key_hash, |bucket| {
        let way = bucket.half_open_way_of(key);
        if way < HALF_OPEN_WAYS {
            to.copy_from(&bucket.entries[way].flow);
        }
        way < HALF_OPEN_WAYS
    })
    .unwrap_or(false)
}

#[inline(always)]
pub(super) fn write<F: Family>(key: &FlowKey<F::Address>, from: &Flow<F::Address>, parts: u64) {
    locked::<F, _>(hash::flow(key), |bucket| {
        let way = bucket.half_open_way_of(key);
        if way == HALF_OPEN_WAYS {
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
            copy_mac(&mut to.peer_mac, &from.peer_mac);
            copy_mac(&mut to.local_mac, &from.local_mac);
        }
    });
}

#[inline(always)]
pub(super) fn insert<F: Family>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    flow: &Flow<F::Address>,
    keep: Option<&Timeouts>,
) -> Inserted {
    let now_ns = flow.last_seen_ns;
    locked::<F, _>(key_hash, |bucket| {
        let mut way = bucket.way_of(key);
        if way == WAYS {
            way = bucket.place_for_new(stamp(now_ns));
        } else if way >= HALF_OPEN_WAYS {
            return Inserted::ConfirmedThere;
        } else if let Some(timeouts) = keep {
            let held = &bucket.entries[way].flow;
            if now_ns.saturating_sub(held.last_seen_ns) <= timeouts.of_ns(held.state) {
                return Inserted::HalfOpenThere;
            }
        }
        bucket.put(way, key, flow);
        Inserted::Yes
    })
    .unwrap_or(Inserted::Never)
}

#[inline(always)]
pub(super) fn confirm<F: Family>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    found: u64,
) -> bool {
    locked::<F, _>(hash::flow(key), |bucket| {
        let from = bucket.still_at(found, key);
        if from >= HALF_OPEN_WAYS {
            return from < WAYS;
        }
        let to = bucket.free_confirmed();
        if to >= WAYS {
            return false;
        }
        bucket.put_confirmed(to, key, flow);
        bucket.head.tags[from] = 0;
        true
    })
    .unwrap_or(false)
}

#[inline(always)]
pub(super) fn demote<F: Family>(key: &FlowKey<F::Address>, found: u64) {
    locked::<F, _>(hash::flow(key), |bucket| {
        let from = bucket.still_at(found, key);
        if !(HALF_OPEN_WAYS..WAYS).contains(&from) {
            return;
        }
        let flow: *const _ = &raw const bucket.entries[from].flow;
        // SAFETY: one entry of the bucket; `put` writes another, because half-open entries are not
        // confirmed ones.
        let flow = unsafe { &*flow };
        let to = bucket.place_for_new(stamp(flow.last_seen_ns));
        bucket.put(to, key, flow);
        bucket.head.tags[from] = 0;
    });
}

#[inline(always)]
pub(super) fn remove<F: Family>(key: &FlowKey<F::Address>, found: u64) {
    locked::<F, _>(hash::flow(key), |bucket| {
        let way = bucket.still_at(found, key);
        if way < WAYS {
            bucket.head.tags[way] = 0;
        }
    });
}

#[inline(always)]
pub(super) fn carry<F: Family>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    confirmed: bool,
) -> u32 {
    locked::<F, _>(hash::flow(key), |bucket| {
        let held_at = bucket.way_of(key);
        let mut done = outcome::DONE;
        if held_at < WAYS {
            let held = &mut bucket.entries[held_at].flow;
            let same = is_same_flow(held, flow);
            let newer = flow.last_seen_ns > held.last_seen_ns
                || same && flow.last_seen_ns == held.last_seen_ns && flow.state > held.state;
            if same {
                done = outcome::THERE;
            }
            if !newer {
                return if same { done } else { outcome::TAKEN };
            }
            if held_at >= HALF_OPEN_WAYS {
                held.copy_from(flow);
                return done;
            }
        }
        if confirmed {
            let way = bucket.free_confirmed();
            if way < WAYS {
                bucket.put_confirmed(way, key, flow);
                if held_at < HALF_OPEN_WAYS {
                    bucket.head.tags[held_at] = 0;
                }
                return done;
            }
            done = outcome::FULL;
        }
        let way = if held_at < HALF_OPEN_WAYS {
            held_at
        } else {
            bucket.place_for_new(stamp(flow.last_seen_ns))
        };
        bucket.put(way, key, flow);
        done
    })
    .unwrap_or(0)
}

/// Both say the same of where its packets go.
#[inline(always)]
fn is_same_flow<A: Address>(a: &Flow<A>, b: &Flow<A>) -> bool {
    a.backend_idx == b.backend_idx
        && a.source_port_be == b.source_port_be
        && a.destination_port_be == b.destination_port_be
        && a.source.same(b.source)
        && a.destination.same(b.destination)
}
