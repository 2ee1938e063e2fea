//! ICMP errors from clients of backends that answer these themselves: they go to the flow's backend as they
//! are. Shown in mode `dsr`; the modes with tunnels are in [`super::tunnels`].

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    NO_BACKEND,
    backend::{flows, state as backend_state},
    reason::Reason,
    service::{flag, mode},
    sources::access,
};
use lb_tests::{
    packet::{Packet, flag::*},
    rig::Table,
};

use crate::scene::{FRONT, ROUTER, Scene};

/// An error by `sender` about a packet that a client got from the vip, as little of it as there may be.
fn error(scene: &Scene, sender: IpAddr, client: SocketAddr) -> Packet {
    let (kind, bytes) = if sender.is_ipv4() { (3, 28) } else { (2, 48) };
    let quoted = Packet::tcp(scene.vip, client).flags(ACK).payload(b"data");
    Packet::icmp(sender, scene.vip.ip(), kind, 0)
        .rest(1_400)
        .quoting(&quoted, bytes)
        .macs(ROUTER, FRONT)
}

#[test]
fn errors_go_to_the_flows_backend_untouched() {
    for mut scene in Scene::in_mode(mode::DSR) {
        let client = scene.client;
        scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
        scene.passes_on(&scene.ack(client), 0, &[Reason::FlowConfirmed]);
        // The ring says otherwise by now.
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        for sender in [client.ip(), scene.stranger()] {
            for ttl in [1, 64] {
                let packet = error(&scene, sender, client).ttl(ttl);
                scene.passes_on(&packet, 0, &[Reason::IcmpError]);
            }
        }
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        let packet = error(&scene, client.ip(), client);
        let outcome = scene.rig.send(&packet);
        outcome.dropped(Reason::IcmpUndeliverable);
    }
}

/// Of those that another balancer opened nothing is known: each error goes where its flow's packets go.
#[test]
fn without_a_flow_the_ring_decides_as_for_the_clients_packets() {
    for affinity in [false, true] {
        for mut scene in Scene::in_mode(mode::DSR) {
            for backend_idx in 0..4 {
                scene.add_backend(backend_idx);
            }
            scene.rig.ring(0, |slot| slot % 4);
            if affinity {
                scene.rig.change_service(0, |service| {
                    service.flags |= flag::AFFINITY;
                    (service.affinity_bits4, service.affinity_bits6) = (24, 64);
                });
            }
            let mut met = [false; 4];
            for n in 0..200 {
                let client = scene.other_client(n * 301);
                let family = client.ip();
                let reset = scene.ack(client).flags(RST);
                let outcome = scene.rig.send(&reset);
                let idx = (0..4)
                    .find(|idx| outcome.frame[..6] == crate::scene::backend_mac(*idx))
                    .expect("it goes to a backend");
                met[idx as usize] = true;
                for sender in [client.ip(), scene.stranger()] {
                    let packet = error(&scene, sender, client);
                    scene.passes_on(&packet, idx, &[Reason::IcmpError]);
                }
                for table in [Table::HalfOpen, Table::Confirmed] {
                    assert_eq!(scene.rig.entries(family, table).len(), 0, "no flow");
                }
            }
            let addresses = if affinity && scene.client.is_ipv6() {
                1
            } else {
                4
            };
            let met = met.iter().filter(|met| **met).count();
            assert!(met >= addresses, "{met} backends were met");
        }
    }
}

#[test]
fn errors_for_nobody_go_nowhere() {
    for mut scene in Scene::in_mode(mode::DSR) {
        let client = scene.client;
        scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
        scene.rig.change_backend(0, |backend| {
            (backend.state, backend.flows) = (backend_state::DOWN, flows::RESET);
        });
        let packet = error(&scene, client.ip(), client);
        let outcome = scene.rig.send(&packet);
        outcome.dropped(Reason::IcmpBackendDown);
        let packet = error(&scene, client.ip(), scene.other_client(1));
        let outcome = scene.rig.send(&packet);
        outcome.passed_untouched(Reason::IcmpNoFlow);
        scene.rig.ring(0, |_| NO_BACKEND);
        let outcome = scene.rig.send(&packet);
        outcome.passed_untouched(Reason::IcmpNoFlow);
    }
}

/// What their own packets may not do, an error about them may not either.
#[test]
fn errors_of_denied_clients_reach_nobody() {
    for mut scene in Scene::in_mode(mode::DSR) {
        let denied = scene.client;
        let length = if denied.is_ipv4() { 32 } else { 128 };
        scene.rig.obey_lists(0);
        (scene.rig).source(0, &format!("{}/{length}", denied.ip()), access::DENY);
        for sender in [denied.ip(), scene.stranger()] {
            let packet = error(&scene, sender, denied);
            scene.rig.send(&packet).dropped(Reason::SourceDenied);
        }
        let allowed = scene.other_client(301);
        let packet = error(&scene, scene.stranger(), allowed);
        scene.passes_on(&packet, 0, &[Reason::IcmpError]);
    }
}
