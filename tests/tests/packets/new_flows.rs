//! A SYN for a vip opens a flow toward the backend that the service's ring names.

use lb_common::{Budgeted, RING_SLOTS, flow::side, hash, reason::Reason};
use lb_tests::{
    packet::TcpOption,
    rig::{Clock, INGRESS, Table, key_hash, now_ns},
};

use crate::scene::{FRONT, ROUTER, Scene, backend_mac};

#[test]
pub fn a_syn_reaches_the_backend_from_an_address_of_ours() {
    for mut scene in Scene::both() {
        scene.rig.ports(2_000..=2_999);
        let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
        let outcome = scene.rig.send(&syn);
        let sent = outcome.counts(&[Reason::FlowNew]).segment();
        assert_eq!(sent.source.ip(), scene.snat, "{outcome}");
        assert!((2_000..3_000).contains(&sent.source.port()), "{outcome}");
        let expected = syn
            .from(sent.source)
            .to(scene.backend(0))
            .macs(crate::scene::BACK, backend_mac(0))
            .one_hop_less();
        outcome.transmitted_as(&expected);
    }
}

#[test]
fn a_syn_makes_two_half_open_entries() {
    for mut scene in Scene::both() {
        let before_ns = now_ns();
        let connection = scene.open(scene.client);
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "half_open"))
        );
        let forth = scene.rig.entry(scene.client, scene.vip).unwrap();
        let back = scene
            .rig
            .entry(connection.backend, connection.local)
            .unwrap();
        assert_eq!(
            (forth.source, forth.destination, forth.side),
            (connection.local, connection.backend, side::CLIENT)
        );
        assert_eq!(
            (back.source, back.destination, back.side),
            (scene.vip, scene.client, side::BACKEND)
        );
        for entry in [forth, back] {
            assert_eq!((entry.peer_mac, entry.local_mac), (ROUTER, FRONT));
            assert_eq!((entry.ifindex, entry.backend_idx), (INGRESS, 0));
            let accuracy_ns = 2 * Clock::tick_ns();
            let when_ns = before_ns - accuracy_ns..=now_ns() + accuracy_ns;
            assert!(when_ns.contains(&entry.last_seen_ns));
        }
    }
}

#[test]
fn a_repeated_syn_keeps_backend_and_port() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        let syn = scene.syn(scene.client);
        for _ in 0..3 {
            let expected = scene.as_backend_sees(&connection, syn.clone());
            scene.rig.send(&syn).transmitted_as(&expected).counts(&[]);
        }
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "half_open"))
        );
    }
}

/// RFC 7413: data in a SYN. RFC 3168: ECE and CWR set in a SYN.
#[test]
fn a_syn_with_data_and_ecn_flags_is_a_syn() {
    for mut scene in Scene::both() {
        let syn = scene
            .syn(scene.client)
            .payload(b"GET / HTTP/1.0\r\n\r\n")
            .flags(0xc2);
        let sent = scene
            .rig
            .send(&syn)
            .counts(&[Reason::FlowNew])
            .transmitted();
        assert_eq!(
            (sent.flags, sent.payload.len()),
            (0xc2, 18),
            "both untouched"
        );
    }
}

#[test]
fn the_ring_slot_of_the_flow_hash_decides() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        let slot = hash::slot(key_hash(scene.client, scene.vip));
        scene.rig.ring(0, |s| u32::from(s == slot));
        assert_eq!(scene.open(scene.client).backend_idx, 1);
        for n in 0..20 {
            assert_eq!(scene.open(scene.other_client(n)).backend_idx, 0);
        }
    }
}

/// A new ring is written beside the one in force.
#[test]
fn the_ring_in_force_is_the_one_that_the_service_names() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        scene.rig.rings(0, |half, _| half.into());
        for (half, clients) in [(0, 0..20), (1, 20..40), (0, 40..60)] {
            scene
                .rig
                .change_service(0, |service| service.ring_half = half);
            for n in clients {
                let connection = scene.open(scene.other_client(n));
                assert_eq!(connection.backend_idx, u32::from(half));
            }
        }
    }
}

#[test]
fn flows_spread_as_the_ring_does() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        scene.rig.ring(0, |slot| u32::from(slot % 4 == 0));
        let flows = 2_000;
        let second: u32 = (0..flows)
            .map(|n| scene.open(scene.other_client(n)).backend_idx)
            .sum();
        // A quarter: 500, with a standard deviation of 19.
        assert!((400..600).contains(&second), "{second} of {flows}");
        assert_eq!(scene.rig.stats(1).flows, u64::from(second));
    }
}

#[test]
fn each_vip_has_its_own_service() {
    for mut scene in Scene::both() {
        let mut tls = scene.vip;
        tls.set_port(443);
        let mut alias = scene.vip;
        alias.set_ip(scene.stranger());
        scene.rig.vip(tls, 7);
        scene.rig.vip(alias, 0);
        scene.rig.service(7, 1);
        scene.add_backend(1);
        scene.rig.ring(7, |_| 1);
        for (vip, backend_idx) in [(scene.vip, 0), (tls, 1), (alias, 0)] {
            scene.vip = vip;
            assert_eq!(
                scene.open(scene.client).backend_idx,
                backend_idx,
                "by {vip}"
            );
        }
    }
}

#[test]
fn a_slot_of_a_backend_that_just_went_down_gives_way_to_another() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        scene.rig.ring(0, |slot| slot % 2);
        scene.rig.change_backend(1, |backend| {
            backend.state = lb_common::backend::state::DOWN;
        });
        // Of all slots, of few, and of a single one wherever that is.
        let last = RING_SLOTS - 1;
        let mut clients = 0;
        for up in [1, 7, 64, 1_000, 20_000, last] {
            scene.rig.ring(0, |slot| match up {
                1 => 0,
                few if few <= 1_000 => u32::from(slot % few != 0),
                one => u32::from(slot != one),
            });
            for _ in 0..100 {
                clients += 1;
                let client = scene.other_client(clients);
                let outcome = scene.rig.send(&scene.syn(client));
                outcome.counts(&[Reason::FlowNew]);
                assert_eq!(outcome.transmitted().destination, scene.backend(0));
            }
        }
    }
}

/// The whole of a ring is walked within a budget; without it, a part of the ring.
#[test]
fn a_ring_of_dead_backends_costs_no_more_than_the_budget() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        scene.rig.ring(0, |slot| u32::from(slot != 9));
        scene.rig.change_backend(1, |backend| {
            backend.state = lb_common::backend::state::DOWN;
        });
        scene.rig.budget(Budgeted::RingWalk, 0);
        let mut refused = 0;
        for n in 0..100 {
            let outcome = scene.rig.send(&scene.syn(scene.other_client(n)));
            if outcome.counted == [(Reason::NoBackend, 1)] {
                refused += 1;
            }
        }
        assert!(refused > 90, "{refused} of 100");
        scene.rig.budget(Budgeted::RingWalk, 1_000);
        scene.open(scene.client);
    }
}
