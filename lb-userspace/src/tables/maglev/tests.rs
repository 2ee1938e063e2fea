//! What a ring promises: fair shares, little movement, the same on every host.

use lb_common::RING_SLOTS;
use proptest::{collection::vec, prelude::*};

use super::*;

/// Small enough to fill thousands of times, prime as it must be.
const FEW_SLOTS: u32 = 4093;

/// Members with these weights; `seed` changes all identities.
fn members(seed: u64, weights: &[u32]) -> Vec<Member> {
    (0..)
        .zip(weights)
        .map(|(backend_idx, weight)| Member {
            backend_idx,
            identity: hash::mix(seed << 32 | u64::from(backend_idx + 1)),
            weight: *weight,
        })
        .collect()
}

/// How many slots each member has.
fn shares(ring: &[u32], members: &[Member]) -> Vec<u32> {
    let mut shares = vec![0; members.len()];
    for backend_idx in ring {
        shares[*backend_idx as usize] += 1;
    }
    shares
}

/// Slots that a member deserves by its weight.
fn due(member: &Member, members: &[Member], slots: u32) -> f64 {
    let total: f64 = members.iter().map(|member| f64::from(member.weight)).sum();
    f64::from(slots) * f64::from(member.weight) / total
}

#[test]
fn a_ring_is_the_same_on_every_host_and_in_every_version() {
    let three = build(&members(1, &[1, 1, 2]), 13);
    assert_eq!(three, [2, 0, 0, 1, 2, 2, 2, 0, 2, 1, 1, 2, 2]);

    let ring = build(&members(1, &[1, 2, 3, 4, 5]), RING_SLOTS);
    let digest = ring
        .iter()
        .fold(0, |digest, slot| hash::mix(digest ^ u64::from(*slot)));
    assert_eq!(digest, 2_117_401_732_078_591_062);
}

#[test]
fn without_a_weight_no_slot_is_taken() {
    assert_eq!(build(&[], 7), [NO_BACKEND; 7]);
    assert_eq!(build(&members(1, &[0, 0]), 7), [NO_BACKEND; 7]);
    assert_eq!(build(&members(1, &[0, 5, 0]), 7), [1; 7]);
    assert_eq!(build(&members(1, &[1]), 2), [0; 2]);
}

#[test]
fn more_members_than_slots_still_fill_the_ring() {
    let ring = build(&members(1, &[1; 20]), 7);
    assert!(ring.iter().all(|slot| *slot < 20));
}

#[test]
#[should_panic(expected = "65536 slots are not a prime number")]
fn a_length_that_is_not_prime_is_refused() {
    let _ = build(&[], 65_536);
}

#[test]
fn the_least_weight_beside_the_greatest_gets_its_share() {
    let two = members(1, &[1000, 1]);
    assert_eq!(shares(&build(&two, RING_SLOTS), &two), [65_472, 65]);

    let mut weights = vec![1; 600];
    weights[0] = 1000;
    let many = members(1, &weights);
    let share = shares(&build(&many, RING_SLOTS), &many)[0];
    let due = due(&many[0], &many, RING_SLOTS);
    assert!(
        (f64::from(share) / due - 1.0).abs() < 0.01,
        "{share} for {due}"
    );
}

/// Percentage of slots that move from one member to another when `change` happens to a third of
/// `n` members of weight 1, on average over members and identities.
fn moved_percent(n: u32, change: impl Fn(&mut Vec<Member>, usize)) -> f64 {
    let (mut moved, mut looked_at) = (0, 0);
    for seed in 0..u64::from(200 / n).max(4) {
        let before = members(seed, &vec![1; n as usize]);
        let ring = build(&before, RING_SLOTS);
        for changed in (0..n.min(10)).map(|member| member as usize) {
            let mut after = before.clone();
            change(&mut after, changed);
            let new = build(&after, RING_SLOTS);
            let others = ring
                .iter()
                .zip(&new)
                .filter(|(old, new)| ![**old, **new].contains(&(changed as u32)));
            looked_at += others.clone().count();
            moved += others.filter(|(old, new)| old != new).count();
        }
    }
    100.0 * moved as f64 / looked_at as f64
}

#[test]
fn removing_a_member_moves_few_slots_of_the_others() {
    for (n, most) in [(5, 0.16), (10, 0.26), (20, 0.35), (100, 0.58)] {
        let moved = moved_percent(n, |members, gone| {
            members.remove(gone);
        });
        assert!(moved <= most, "{moved:.3} % moved on removing 1 of {n}");
    }
}

#[test]
fn a_doubled_weight_moves_few_slots_between_the_others() {
    for (n, most) in [(5, 0.12), (10, 0.25), (20, 0.34), (100, 0.58)] {
        let moved = moved_percent(n, |members, changed| members[changed].weight = 2);
        assert!(
            moved <= most,
            "{moved:.3} % moved on doubling the weight of 1 of {n}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn equal_weights_share_within_one_slot(
        seed in 0..u64::from(u32::MAX),
        n in 1..300_usize,
        weight in 1..=1000_u32,
    ) {
        let members = members(seed, &vec![weight; n]);
        let shares = shares(&build(&members, FEW_SLOTS), &members);
        let (least, most) = (shares.iter().min(), shares.iter().max());
        prop_assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
    }

    #[test]
    fn every_member_gets_what_its_weight_deserves(
        seed in 0..u64::from(u32::MAX),
        weights in vec(prop_oneof![Just(0), Just(1), Just(1000), 1..=1000_u32], 1..200),
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let members = members(seed, &weights);
        let ring = build(&members, FEW_SLOTS);
        let n = weights.iter().filter(|weight| **weight > 0).count();
        for (member, share) in members.iter().zip(shares(&ring, &members)) {
            let due = due(member, &members, FEW_SLOTS);
            let slack = 1.0 + due * n as f64 / f64::from(FEW_SLOTS);
            let share_is_fair = (f64::from(share) - due).abs() <= slack;
            prop_assert!(share_is_fair, "{share} for {due} of {weights:?}");
            prop_assert_eq!(share == 0, member.weight == 0);
        }
    }

    #[test]
    fn a_full_ring_comes_within_one_percent(
        seed in 0..u64::from(u32::MAX),
        weights in vec(1..=1000_u32, 1..600),
    ) {
        let members = members(seed, &weights);
        let ring = build(&members, RING_SLOTS);
        for (member, share) in members.iter().zip(shares(&ring, &members)) {
            let due = due(member, &members, RING_SLOTS);
            let off = (f64::from(share) - due).abs();
            prop_assert!(off <= f64::from(RING_SLOTS) * 0.01);
            prop_assert!(due < 100.0 || off <= due * 0.01, "{share} for {due}");
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter(
        (ordered, shuffled) in vec(0..=1000_u32, 0..50)
            .prop_map(|weights| members(1, &weights))
            .prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
    ) {
        prop_assert_eq!(build(&ordered, FEW_SLOTS), build(&shuffled, FEW_SLOTS));
    }
}
