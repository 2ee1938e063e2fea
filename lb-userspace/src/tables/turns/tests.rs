use lb_common::RING_SLOTS;
use proptest::{collection::vec, prelude::*};

use super::*;

fn members(weights: &[u32]) -> Vec<Member> {
    (0..)
        .zip(weights)
        .map(|(n, weight)| Member {
            backend_idx: n,
            identity: u64::from(n) * 7919,
            weight: *weight,
        })
        .collect()
}

/// The ring as letters.
fn order(weights: &[u32], slots: u32) -> String {
    let letter = |idx: u32| char::from(b'a' + u8::try_from(idx).expect("few members"));
    build(&members(weights), slots)
        .into_iter()
        .map(letter)
        .collect()
}

#[test]
fn the_order_is_that_of_nginx() {
    assert_eq!(order(&[1, 1, 1], 9), "abcabcabc");
    assert_eq!(order(&[5, 1, 1], 14), "aabacaaaabacaa");
    assert_eq!(order(&[1, 2], 6), "babbab");
    assert_eq!(order(&[3, 0, 3], 6), "acacac");
    assert_eq!(order(&[7], 3), "aaa");
    assert_eq!(build(&members(&[0, 0]), 2), [NO_BACKEND; 2]);
    assert_eq!(build(&[], 2), [NO_BACKEND; 2]);
}

/// The algorithm as nginx writes it down, member by member.
fn plainly(members: &[Member], slots: u32) -> Vec<u32> {
    let sum: i64 = members.iter().map(|member| i64::from(member.weight)).sum();
    let mut credits = vec![0_i64; members.len()];
    (0..slots)
        .map(|_| {
            let mut best: Option<usize> = None;
            for (at, member) in members.iter().enumerate().filter(|(_, m)| m.weight > 0) {
                credits[at] += i64::from(member.weight);
                if best.is_none_or(|best| credits[at] > credits[best]) {
                    best = Some(at);
                }
            }
            best.map_or(NO_BACKEND, |best| {
                credits[best] -= sum;
                members[best].backend_idx
            })
        })
        .collect()
}

proptest! {
    #[test]
    fn members_of_one_weight_may_be_treated_as_one(
        weights in vec(prop_oneof![0..4_u32, 0..=1000_u32], 0..20)
    ) {
        let members = members(&weights);
        prop_assert_eq!(build(&members, 2_000), plainly(&members, 2_000));
    }

    #[test]
    fn shares_are_those_of_the_weights(weights in vec(1..=1000_u32, 1..50)) {
        let ring = build(&members(&weights), RING_SLOTS);
        let sum: u32 = weights.iter().sum();
        for (idx, weight) in (0_u32..).zip(&weights) {
            let has = ring.iter().filter(|slot| **slot == idx).count();
            let deserves = f64::from(*weight) / f64::from(sum) * f64::from(RING_SLOTS);
            prop_assert!((has as f64 - deserves).abs() < 3.0, "{has} for {deserves}");
        }
    }

    /// Between two turns of a member all members of its weight have one.
    #[test]
    fn equal_weights_alternate(count in 1..100_u32) {
        let ring = build(&members(&vec![9; count as usize]), 1_000);
        for (at, idx) in (0_u32..).zip(&ring) {
            prop_assert_eq!(*idx, at % count);
        }
    }
}
