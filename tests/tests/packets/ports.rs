//! Source ports of mode `nat`: no two flows toward one backend share one, nearly all of a range
//! can be used, and what is given back is given out again.

use std::collections::HashSet;

use lb_common::reason::Reason;
use lb_tests::{
    packet::flag::*,
    rig::{Capacity, Verdict},
};

use crate::scene::{Connection, Scene};

const MANY: Capacity = Capacity::of_buckets(4_096);

/// Opens flows of other clients until `flows` are open or one is refused for want of ports.
fn fill(scene: &mut Scene, clients: std::ops::Range<u16>) -> Vec<Connection> {
    let mut open = Vec::new();
    for n in clients {
        let client = scene.other_client(n);
        let outcome = scene.rig.send(&scene.syn(client));
        if outcome.counted == [(Reason::PortsExhausted, 1)] {
            outcome.dropped(Reason::PortsExhausted);
            assert_eq!(
                scene.rig.entry(client, scene.vip),
                None,
                "nothing is left behind"
            );
            continue;
        }
        outcome.counts(&[Reason::FlowNew]);
        // The same again, for where it goes; and confirmed, so that its port is not reclaimed.
        let sent = scene.rig.send(&scene.syn(client)).transmitted();
        let connection = Connection {
            client,
            local: sent.source,
            backend: sent.destination,
            backend_idx: u32::from(sent.destination != scene.backend(0)),
        };
        scene.rig.send(&scene.syn_ack(&connection)).transmitted();
        scene
            .rig
            .send(&scene.by_client(&connection))
            .counts(&[Reason::FlowConfirmed]);
        open.push(connection);
    }
    open
}

#[test]
fn nearly_all_ports_are_used_and_none_twice() {
    for mut scene in Scene::sized(MANY) {
        scene.rig.ports(5_000..=5_999);
        let open = fill(&mut scene, 0..1_500);
        assert!(open.len() >= 950, "{} of 1,000 ports used", open.len());
        let ports: HashSet<u16> = open.iter().map(|c| c.local.port()).collect();
        assert_eq!(ports.len(), open.len(), "no port twice");
        assert!(ports.iter().all(|port| (5_000..6_000).contains(port)));
        // Nobody lost anything: each still reaches its own backend and its own client.
        for connection in &open {
            scene.client_sends(connection, scene.by_client(connection));
            scene.backend_sends(connection, scene.by_backend(connection));
        }
    }
}

/// Before the range is nearly full nothing is ever refused.
#[test]
fn nine_tenths_of_the_ports_are_given_without_a_refusal() {
    for mut scene in Scene::sized(MANY) {
        scene.rig.ports(5_000..=5_999);
        assert_eq!(fill(&mut scene, 0..900).len(), 900);
    }
}

#[test]
fn each_backend_has_the_whole_range() {
    for mut scene in Scene::sized(MANY) {
        scene.rig.ports(5_000..=5_099);
        scene.add_backend(1);
        let first = fill(&mut scene, 0..200);
        scene.rig.ring(0, |_| 1);
        let second = fill(&mut scene, 200..400);
        for open in [&first, &second] {
            assert!(open.len() >= 95, "{} of 100", open.len());
        }
        let ports =
            |open: &[Connection]| -> HashSet<u16> { open.iter().map(|c| c.local.port()).collect() };
        assert!(ports(&first).intersection(&ports(&second)).count() >= 90);
        for connection in first.iter().chain(&second) {
            scene.client_sends(connection, scene.by_client(connection));
            scene.backend_sends(connection, scene.by_backend(connection));
        }
    }
}

/// Two services may name one real server: to the kernel of that server a port is taken once.
#[test]
fn services_that_share_a_server_share_its_ports() {
    for mut scene in Scene::sized(MANY) {
        scene.rig.ports(5_000..=5_099);
        let mut other_vip = scene.vip;
        other_vip.set_port(443);
        scene.rig.vip(other_vip, 1);
        scene.rig.service(1, 1);
        scene.rig.copy_backend(0, 50);
        scene.rig.ring(1, |_| 50);
        let first = fill(&mut scene, 0..50);
        let vip = std::mem::replace(&mut scene.vip, other_vip);
        let second = fill(&mut scene, 50..100);
        let ports: HashSet<u16> = first
            .iter()
            .chain(&second)
            .map(|c| c.local.port())
            .collect();
        assert_eq!(ports.len(), first.len() + second.len(), "no port twice");
        for connection in &second {
            scene.backend_sends(connection, scene.by_backend(connection));
        }
        scene.vip = vip;
        for connection in &first {
            scene.backend_sends(connection, scene.by_backend(connection));
        }
    }
}

#[test]
fn more_source_addresses_give_more_flows() {
    for mut scene in Scene::sized(MANY) {
        scene.rig.ports(5_000..=5_099);
        let addresses = [scene.snat, scene.backend(70).ip(), scene.backend(71).ip()];
        for (idx, address) in (0..).zip(addresses) {
            scene.rig.snat(idx, address);
        }
        scene
            .rig
            .change_backend(0, |backend| backend.snat_count = 3);
        let open = fill(&mut scene, 0..400);
        assert!(open.len() >= 285, "{} of 300 pairs used", open.len());
        let ends: HashSet<_> = open.iter().map(|c| c.local).collect();
        assert_eq!(ends.len(), open.len(), "no pair twice");
        for address in addresses {
            let used = open.iter().filter(|c| c.local.ip() == address).count();
            assert!(used >= 90, "{used} of 100 ports of {address}");
        }
        for connection in &open {
            scene.backend_sends(connection, scene.by_backend(connection));
        }
    }
}

#[test]
fn the_range_may_be_a_single_port_or_all() {
    for mut scene in Scene::both() {
        scene.rig.ports(9_999..=9_999);
        assert_eq!(scene.open(scene.client).local.port(), 9_999);
        let syn = scene.syn(scene.other_client(1));
        scene.rig.send(&syn).dropped(Reason::PortsExhausted);
    }
    for mut scene in Scene::both() {
        scene.rig.ports(1..=65_535);
        for n in 0..50 {
            let connection = scene.open(scene.other_client(n));
            scene.backend_sends(&connection, scene.syn_ack(&connection));
        }
    }
}

/// After a reload with another range, the flows of the old one live on.
#[test]
fn flows_of_an_earlier_range_keep_their_ports() {
    for mut scene in Scene::both() {
        scene.rig.ports(5_000..=5_099);
        let old = scene.establish(scene.client);
        scene.rig.ports(6_000..=6_099);
        scene.rig.reply_ports(5_000..=6_099);
        scene.client_sends(&old, scene.by_client(&old));
        scene.backend_sends(&old, scene.by_backend(&old));
        let new = scene.establish(scene.other_client(1));
        assert!((6_000..6_100).contains(&new.local.port()));
    }
}

fn close(scene: &mut Scene, connection: &Connection, backend_first: bool) {
    let forth = scene.by_client(connection).flags(FIN | ACK);
    let back = scene.by_backend(connection).flags(FIN | ACK);
    if backend_first {
        scene.rig.send(&back).verdict(Verdict::Tx);
        scene.rig.send(&forth).verdict(Verdict::Tx);
    } else {
        scene.rig.send(&forth).verdict(Verdict::Tx);
        scene.rig.send(&back).verdict(Verdict::Tx);
    }
}

#[test]
fn the_port_of_a_closed_flow_is_given_out_again_once_it_is_quiet() {
    for mut scene in Scene::both() {
        scene.rig.ports(5_000..=5_000);
        let old = scene.establish(scene.client);
        close(&mut scene, &old, false);
        let syn = scene.syn(scene.other_client(1));
        scene.rig.send(&syn).dropped(Reason::PortsExhausted);
        scene.age(&old, 2);
        let outcome = scene.rig.send(&syn);
        outcome.counts(&[Reason::FlowNew, Reason::PortReused]);
        assert_eq!(outcome.transmitted().source, old.local);
        assert_eq!(
            scene.rig.entry(old.client, scene.vip),
            None,
            "the old one is gone"
        );
        let back = scene.rig.entry(old.backend, old.local).unwrap();
        assert_eq!(back.destination, scene.other_client(1));
    }
}

/// An end that repeats its FIN, say, is not done with it.
#[test]
fn a_closed_flow_is_not_quiet_while_either_end_speaks() {
    for by_client in [false, true] {
        for mut scene in Scene::both() {
            scene.rig.ports(5_000..=5_000);
            let old = scene.establish(scene.client);
            close(&mut scene, &old, false);
            scene.age(&old, 2);
            if by_client {
                scene.client_sends(&old, scene.by_client(&old));
            } else {
                scene.backend_sends(&old, scene.by_backend(&old));
            }
            let syn = scene.syn(scene.other_client(1));
            scene.rig.send(&syn).dropped(Reason::PortsExhausted);
        }
    }
}

#[test]
fn the_port_of_a_reset_flow_is_given_out_again_once_it_is_quiet() {
    for mut scene in Scene::both() {
        scene.rig.ports(5_000..=5_000);
        let old = scene.establish(scene.client);
        let reset = scene.by_client(&old).flags(RST);
        scene.client_sends(&old, reset);
        let syn = scene.syn(scene.other_client(1));
        scene.rig.send(&syn).dropped(Reason::PortsExhausted);
        scene.age(&old, 2);
        scene
            .rig
            .send(&syn)
            .counts(&[Reason::FlowNew, Reason::PortReused]);
    }
}

#[test]
fn the_port_of_a_flow_that_nobody_confirmed_is_given_out_again_once_it_is_quiet() {
    for answered in [false, true] {
        for mut scene in Scene::both() {
            scene.rig.ports(5_000..=5_000);
            let old = scene.open(scene.client);
            if answered {
                scene.backend_sends(&old, scene.syn_ack(&old));
            }
            let syn = scene.syn(scene.other_client(1));
            scene.rig.send(&syn).dropped(Reason::PortsExhausted);
            scene.age(&old, 2);
            let outcome = scene.rig.send(&syn);
            outcome.counts(&[Reason::FlowNew, Reason::PortReused]);
            assert_eq!(outcome.transmitted().source, old.local);
            assert_eq!(
                scene.rig.entry(old.client, scene.vip),
                None,
                "the old one is gone"
            );
        }
    }
}

/// A backend that closed first keeps the connection in TIME-WAIT and may refuse its port's next
/// user; while others can be had, they are taken.
#[test]
fn ports_in_time_wait_come_last() {
    for mut scene in Scene::sized(MANY) {
        scene.rig.ports(5_000..=5_001);
        let waiting = scene.establish(scene.other_client(0));
        let quiet = scene.establish(scene.other_client(1));
        close(&mut scene, &waiting, true);
        close(&mut scene, &quiet, false);
        scene.age(&waiting, 10);
        scene.age(&quiet, 10);
        let new = scene.syn(scene.other_client(2));
        let outcome = scene.rig.send(&new);
        outcome.counts(&[Reason::FlowNew, Reason::PortReused]);
        assert_eq!(outcome.transmitted().source, quiet.local);
        // Once TIME-WAIT is over, the other one is as good.
        scene.age(&waiting, 60);
        let outcome = scene.rig.send(&scene.syn(scene.other_client(3)));
        assert_eq!(outcome.transmitted().source, waiting.local);
    }
}

#[test]
fn ports_of_living_flows_are_never_given_out_however_quiet() {
    for mut scene in Scene::both() {
        scene.rig.ports(5_000..=5_001);
        let established = scene.establish(scene.other_client(0));
        let half_closed = scene.establish(scene.other_client(1));
        let fin = scene.by_client(&half_closed).flags(FIN | ACK);
        scene.client_sends(&half_closed, fin);
        for connection in [&established, &half_closed] {
            scene.age(connection, 600);
        }
        for n in 2..50 {
            let syn = scene.syn(scene.other_client(n));
            scene.rig.send(&syn).dropped(Reason::PortsExhausted);
        }
        for connection in [&established, &half_closed] {
            scene.backend_sends(connection, scene.by_backend(connection));
        }
    }
}

/// The entry for replies was evicted, and its port went to another client: what the first client
/// still sends must not reach the second one's connection.
#[test]
fn a_flow_that_lost_its_port_sends_nothing_from_it() {
    for mut scene in Scene::both() {
        scene.rig.ports(5_000..=5_000);
        let lost = scene.open(scene.other_client(0));
        scene.rig.delete_entry(lost.backend, lost.local);
        let new = scene.establish(scene.other_client(1));
        assert_eq!(new.local, lost.local);
        let stray = scene.by_client(&lost).payload(b"not of this connection");
        scene.rig.send(&stray).counts(&[Reason::NoFlow]);
        let again = scene.syn(lost.client);
        scene.rig.send(&again).dropped(Reason::PortsExhausted);
        scene.client_sends(&new, scene.by_client(&new));
        scene.backend_sends(&new, scene.by_backend(&new));
    }
}

/// Its reset has just ended the TIME-WAIT that a backend may have held for this port: another one may
/// be refused again.
#[test]
fn a_client_that_resets_and_tries_again_keeps_its_port() {
    for mut scene in Scene::both() {
        let client = scene.client;
        let forget = |scene: &mut Scene, connection: &Connection| {
            for (source, destination) in scene.ways(connection) {
                scene.rig.delete_entry(source, destination);
            }
        };
        scene.rig.ports(2_000..=2_007);
        let first = scene.open(client);
        forget(&mut scene, &first);
        let other = (0..1_000).find_map(|n| {
            let other = scene.other_client(n);
            let other = scene.open(other);
            if other.local == first.local {
                return Some(other);
            }
            forget(&mut scene, &other);
            None
        });
        let other = other.expect("one of them wants that port");
        let second = scene.open(client);
        assert_ne!(second.local, first.local);
        forget(&mut scene, &other);
        let reset = scene.by_client(&second).flags(RST);
        scene.client_sends(&second, reset);
        assert_eq!(scene.open(client), second);
    }
}
