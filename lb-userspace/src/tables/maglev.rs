//! The ring of a service: which backend each slot holds.
//!
//! Maglev's consistent hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
//! Load Balancer", NSDI 2016, section 3.4), with weights. Each member has an order of its own in
//! which it likes the slots. Members take turns, and each time take the slot they like best of
//! those that are free. So shares are even, and when members come or go most slots stay as they
//! are.
//!
//! The paper gives every member one turn a round and leaves weights open. Here a member that has
//! had `k` turns has its next at the time `(2k + 1) / weight`, but its first at time 0. These are
//! the divisors of Webster's method of apportionment (Balinski and Young, "Fair Representation",
//! 1982), which favours neither large nor small shares; the first turn gives everyone a slot.
//! Which of two members comes first depends on these two alone, so that the coming and going of a
//! third disturbs them little.

#[cfg(test)]
mod tests;

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashSet},
};

use lb_common::{NO_BACKEND, hash};

/// A backend that may stand in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What the ring shall hold; not [`NO_BACKEND`].
    pub backend_idx: u32,
    /// Hash of service, protocol and address: the same on every host, and not the same for two
    /// members of a ring.
    pub identity: u64,
    /// Share of the slots; 0 for none.
    pub weight: u32,
}

/// Fills a ring: `slots` entries, each the `backend_idx` of a member, or [`NO_BACKEND`] in all of
/// them if no member has a weight.
///
/// The ring depends on the members alone, not on their order. For `n` members with a weight:
///
/// - With equal weights, the numbers of their slots differ by 1 at most.
/// - Whatever the weights, each has at least 1 slot if `n <= slots`. One that deserves `s` slots
///   has `s`, give or take 1 and the fraction `n / slots` of `s`. With [`RING_SLOTS`], weights up
///   to 1000 and 600 members, that is within 1 % for every member of 100 slots or more; 100
///   members of random weights come within 1 slot.
/// - Removing one of `n` members of equal weight moves 0.13, 0.26, 0.34 and 0.57 % of the others'
///   slots for `n` of 5, 10, 20 and 100, on average and with [`RING_SLOTS`]. Doubling one's weight
///   moves 0.11, 0.24, 0.33 and 0.57 % of them between the others.
///
/// Takes time of the order `slots * (ln(slots) + ln(n))`: slots looked at, by the paper's
/// analysis, and the queue for the next turn. Some 6 ms for 65,537 slots and 1,000 members.
///
/// # Panics
///
/// If `slots` is not prime: some orders would not lead to every slot.
///
/// [`RING_SLOTS`]: lb_common::RING_SLOTS
#[must_use]
pub fn build(members: &[Member], slots: u32) -> Vec<u32> {
    assert!(is_prime(slots), "{slots} slots are not a prime number");
    debug_assert!(distinct(members), "two members share an identity");
    let mut ring = vec![NO_BACKEND; slots as usize];
    let mut turns: BinaryHeap<Reverse<Turn>> = members
        .iter()
        .filter(|member| member.weight > 0)
        .map(|member| Reverse(Turn::first(member, slots)))
        .collect();
    for _ in 0..slots {
        let Some(mut next) = turns.peek_mut() else {
            break;
        };
        next.0.take_slot(&mut ring);
        // Where `next` is dropped, it moves to its new place in the queue.
    }
    ring
}

/// A member's next turn. The least of all turns is the next.
#[derive(PartialEq, Eq)]
struct Turn {
    /// When it comes, times the weight.
    time: u64,
    weight: u64,
    identity: u64,
    backend_idx: u32,
    /// The slot it likes best of those it has not looked at.
    slot: u32,
    /// From one slot to the next that it likes, modulo the number of slots.
    skip: u32,
}

impl Turn {
    fn first(member: &Member, slots: u32) -> Self {
        // Digits of pi and of e: two hashes of one identity that know nothing of one another.
        let offset = hash::mix(member.identity ^ 0x3141_5926_5358_9793);
        let skip = hash::mix(member.identity ^ 0x2718_2818_2845_9045);
        Self {
            time: 0,
            weight: member.weight.into(),
            identity: member.identity,
            backend_idx: member.backend_idx,
            slot: (offset % u64::from(slots)) as u32,
            skip: (skip % u64::from(slots - 1) + 1) as u32,
        }
    }

    /// Takes the best free slot, of which there must be one, and waits for the next turn.
    fn take_slot(&mut self, ring: &mut [u32]) {
        let mut best = self.slot as usize;
        let after = |slot: usize| {
            let next = slot + self.skip as usize;
            if next < ring.len() {
                next
            } else {
                next - ring.len()
            }
        };
        while ring[best] != NO_BACKEND {
            best = after(best);
        }
        self.slot = after(best) as u32;
        self.time = if self.time == 0 { 3 } else { self.time + 2 };
        ring[best] = self.backend_idx;
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // The fractions in full: a rounded one would depend on the machine.
        let time = u128::from(self.time) * u128::from(other.weight);
        let other_time = u128::from(other.time) * u128::from(self.weight);
        time.cmp(&other_time)
            .then(self.identity.cmp(&other.identity))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn is_prime(number: u32) -> bool {
    let mut divisors = (2..).take_while(|divisor| *divisor <= number / divisor);
    number >= 2 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

fn distinct(members: &[Member]) -> bool {
    let mut seen = HashSet::new();
    members.iter().all(|member| seen.insert(member.identity))
}
