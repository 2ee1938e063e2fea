//! How new flows choose their backends: by hash, by turns, by chance, by load, within limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    RING_SLOTS,
    backend::state as backend_state,
    reason::Reason,
    service::{flag, mode, scheduler},
};
use lb_tests::{
    packet::{Packet, flag::*},
    rig::{Capacity, Verdict},
};

use crate::scene::{FRONT, ROUTER, Scene};

/// A scene of this scheduler in each family, its backends with these weights in a ring that has them in
/// turns: 0, 1, 1, 0, 1, 1 with weights 1 and 2.
fn scenes(scheduler: u8, weights: &[u16]) -> [Scene; 2] {
    Scene::both().map(|scene| with_weights(scene, scheduler, weights))
}

fn with_weights(mut scene: Scene, scheduler: u8, weights: &[u16]) -> Scene {
    for (idx, weight) in (0..).zip(weights) {
        scene.add_backend(idx);
        scene
            .rig
            .change_backend(idx, |backend| backend.weight = *weight);
    }
    let turns: Vec<u32> = (0..)
        .zip(weights)
        .flat_map(|(idx, weight)| (0..*weight).map(move |_| idx))
        .collect();
    scene.rig.ring(0, |slot| turns[slot as usize % turns.len()]);
    scene.rig.change_service(0, |service| {
        service.eligible = weights.len() as u32;
        service.scheduler = scheduler;
        if scheduler == scheduler::LEAST_CONN {
            service.flags |= flag::COUNTED;
        }
    });
    scene
}

/// Backends of some clients' new flows.
fn opened(scene: &mut Scene, clients: std::ops::Range<u16>) -> Vec<u32> {
    clients
        .map(|n| scene.open(scene.other_client(n)).backend_idx)
        .collect()
}

#[test]
fn round_robin_goes_from_slot_to_slot() {
    for mut scene in scenes(scheduler::ROUND_ROBIN, &[1, 1, 1]) {
        assert_eq!(opened(&mut scene, 0..7), [0, 1, 2, 0, 1, 2, 0]);
        // After the last slot comes the first.
        scene.rig.set_turn(0, RING_SLOTS - 2);
        let last = (RING_SLOTS - 2) % 3;
        assert_eq!(opened(&mut scene, 7..11), [last, (last + 1) % 3, 0, 1]);
        // Whatever the map held.
        scene.rig.set_turn(0, u32::MAX);
        assert_eq!(opened(&mut scene, 11..13), [0, 0]);
    }
}

#[test]
fn each_service_has_its_own_turns() {
    for mut scene in scenes(scheduler::ROUND_ROBIN, &[1, 1]) {
        let mut tls = scene.vip;
        tls.set_port(443);
        scene.rig.vip(tls, 1);
        scene.rig.service(1, 2);
        scene
            .rig
            .change_service(1, |service| service.scheduler = scheduler::ROUND_ROBIN);
        scene.rig.ring(1, |slot| slot % 2);
        assert_eq!(opened(&mut scene, 0..1), [0]);
        let web = std::mem::replace(&mut scene.vip, tls);
        assert_eq!(opened(&mut scene, 1..3), [0, 1]);
        scene.vip = web;
        assert_eq!(opened(&mut scene, 3..4), [1]);
    }
}

#[test]
fn round_robin_skips_a_backend_that_just_went_down() {
    for mut scene in scenes(scheduler::ROUND_ROBIN, &[1, 1, 1]) {
        scene
            .rig
            .change_backend(1, |backend| backend.state = backend_state::DOWN);
        assert_eq!(opened(&mut scene, 0..6), [0, 2, 0, 2, 0, 2]);
    }
}

/// None of them needs the flow's hash: one slot of the ring is all that its hash leads to.
#[test]
fn only_maglev_goes_by_the_hash() {
    for (scheduler, by_hash) in [
        (scheduler::MAGLEV, true),
        (scheduler::ROUND_ROBIN, false),
        (scheduler::RANDOM, false),
        (scheduler::LEAST_CONN, false),
    ] {
        for mut scene in scenes(scheduler, &[1, 1]) {
            let client = scene.client;
            let backends: Vec<u32> = (0..64)
                .map(|_| {
                    let connection = scene.open(client);
                    for (source, destination) in scene.ways(&connection) {
                        scene.rig.delete_entry(source, destination);
                    }
                    connection.backend_idx
                })
                .collect();
            let same = backends.iter().all(|idx| *idx == backends[0]);
            assert_eq!(same, by_hash, "scheduler {scheduler}");
        }
    }
}

/// Of a flow that another balancer may have opened nothing is known but its hash.
#[test]
fn in_one_way_modes_a_packet_in_the_middle_goes_by_its_hash() {
    for scheduler in [
        scheduler::ROUND_ROBIN,
        scheduler::RANDOM,
        scheduler::LEAST_CONN,
    ] {
        for scene in Scene::in_mode(mode::DSR) {
            let mut scene = with_weights(scene, scheduler, &[1, 1, 1]);
            scene.rig.change_service(0, |service| {
                service.flags |= flag::COUNTED;
            });
            // Nor does a limit stop it.
            for idx in 0..3 {
                scene
                    .rig
                    .change_backend(idx, |backend| backend.max_flows = 1);
            }
            let chosen = |scene: &mut Scene| -> Vec<u32> {
                (0..20)
                    .map(|n| {
                        let client = scene.other_client(n);
                        let ack = scene.ack(client);
                        scene
                            .rig
                            .send(&ack)
                            .counts(&[Reason::FlowNew])
                            .transmitted();
                        let entry = scene.rig.entry(client, scene.vip).expect("a flow");
                        scene.rig.delete_entry(client, scene.vip);
                        entry.backend_idx
                    })
                    .collect()
            };
            let first = chosen(&mut scene);
            assert_eq!(chosen(&mut scene), first, "scheduler {scheduler}");
            scene.rig.change_service(0, |service| {
                service.scheduler = scheduler::MAGLEV;
            });
            assert_eq!(chosen(&mut scene), first, "as with maglev");
        }
    }
}

#[test]
fn least_conn_goes_to_the_emptier_of_two() {
    for mut scene in scenes(scheduler::LEAST_CONN, &[1, 1]) {
        scene.rig.set_live(0, 100);
        let backends = opened(&mut scene, 0..90);
        let to_busy = backends.iter().filter(|idx| **idx == 0).count();
        // Both draws must be of the busy one: once in 512.
        assert!(to_busy <= 5, "{to_busy} of 90 to the busy one");
        // By weight: 190 flows are less for weight 10 than 100 for weight 1.
        scene.rig.set_live(0, 190);
        scene.rig.set_live(1, 100);
        scene.rig.change_backend(0, |backend| backend.weight = 10);
        let backends = opened(&mut scene, 90..180);
        let to_light = backends.iter().filter(|idx| **idx == 0).count();
        assert!(to_light >= 85, "{to_light} of 90 to the one of weight 10");
    }
}

#[test]
fn least_conn_skips_what_is_down_or_full() {
    for mut scene in scenes(scheduler::LEAST_CONN, &[1, 1, 1]) {
        scene
            .rig
            .change_backend(0, |backend| backend.state = backend_state::DOWN);
        scene.rig.change_backend(1, |backend| backend.max_flows = 3);
        scene.rig.set_live(2, 1_000);
        let backends = opened(&mut scene, 0..50);
        let to = |idx: u32| backends.iter().filter(|to| **to == idx).count();
        assert_eq!((to(0), to(1), to(2)), (0, 3, 47));
    }
}

#[test]
fn a_full_backend_gives_way_and_full_ones_refuse() {
    for scheduler in [
        scheduler::MAGLEV,
        scheduler::ROUND_ROBIN,
        scheduler::RANDOM,
        scheduler::LEAST_CONN,
    ] {
        for mut scene in scenes(scheduler, &[20, 1, 1]) {
            scene.rig.change_service(0, |service| {
                service.flags |= flag::COUNTED;
            });
            for (idx, most) in [(0, 5), (1, 10), (2, 1)] {
                scene
                    .rig
                    .change_backend(idx, |backend| backend.max_flows = most);
            }
            let mut backends = opened(&mut scene, 0..16);
            backends.sort_unstable();
            let expected = [[0; 5].as_slice(), &[1; 10], &[2]].concat();
            assert_eq!(backends, expected, "scheduler {scheduler}");
            let syn = scene.syn(scene.client);
            let outcome = scene.rig.send(&syn);
            outcome.verdict(Verdict::Tx).counts(&[Reason::BackendsFull]);
            assert_eq!(outcome.segment().flags, RST | ACK, "\n{outcome}");
            assert_eq!([0, 1, 2].map(|idx| scene.rig.live(idx)), [5, 10, 1]);
            // One goes, one may come.
            scene.rig.set_live(1, 9);
            assert_eq!(opened(&mut scene, 16..17), [1]);
            scene.rig.send(&syn).counts(&[Reason::BackendsFull]);
            // Nothing is full that is not up.
            for idx in 0..3 {
                scene.rig.change_backend(idx, |backend| {
                    backend.state = backend_state::DOWN;
                });
            }
            scene.rig.send(&syn).counts(&[Reason::NoBackend]);
        }
    }
}

/// The critical value of chi-square for `freedom` degrees and a probability of about 1e-9
/// (Wilson and Hilferty's approximation).
fn critical(freedom: f64) -> f64 {
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 6.0 * part.sqrt()).powi(3)
}

/// 100,000 clients' first packets.
fn crowd(v6: bool, vip: SocketAddr) -> impl Iterator<Item = Packet> {
    (0..FLOWS).map(move |n| {
        let address: IpAddr = if v6 {
            Ipv6Addr::from((0x2001_0db8_000d << 80) + u128::from(n)).into()
        } else {
            Ipv4Addr::from(0x0b00_0000 + n).into()
        };
        let client = SocketAddr::new(address, 1024 + (n % 60_000) as u16);
        Packet::tcp(client, vip).macs(ROUTER, FRONT)
    })
}

const FLOWS: u32 = 100_000;
const WEIGHTS: [u16; 5] = [1, 2, 3, 5, 9];

fn shares_are_those_of_the_weights(scheduler: u8) {
    // Half-open flows push one another out: every one is new all the same.
    for (v6, scene) in [false, true]
        .into_iter()
        .zip(Scene::sized(Capacity::of_buckets(4_096)))
    {
        let scene = with_weights(scene, scheduler, &WEIGHTS);
        for packet in crowd(v6, scene.vip) {
            assert_eq!(scene.rig.fire(&packet.build()), Verdict::Tx);
        }
        let sum: f64 = WEIGHTS.iter().copied().map(f64::from).sum();
        let mut statistic = 0.0;
        let mut told = String::new();
        for (idx, weight) in (0..).zip(WEIGHTS) {
            let expected = f64::from(FLOWS) * f64::from(weight) / sum;
            let flows = scene.rig.stats(idx).flows;
            statistic += (flows as f64 - expected).powi(2) / expected;
            told += &format!(" {flows} for {expected:.0}");
        }
        println!("scheduler {scheduler}: chi-square {statistic:.1},{told}");
        assert!(statistic < critical(4.0), "chi-square {statistic}:{told}");
        if scheduler == scheduler::ROUND_ROBIN {
            assert!(statistic < 0.01, "turns leave nothing to chance:{told}");
        }
    }
}

#[test]
fn maglev_spreads_by_weight() {
    shares_are_those_of_the_weights(scheduler::MAGLEV);
}

#[test]
fn round_robin_spreads_by_weight() {
    shares_are_those_of_the_weights(scheduler::ROUND_ROBIN);
}

#[test]
fn random_spreads_by_weight() {
    shares_are_those_of_the_weights(scheduler::RANDOM);
}

#[test]
fn least_conn_spreads_by_weight() {
    shares_are_those_of_the_weights(scheduler::LEAST_CONN);
}
