//! Affinity: new flows of a client go where its last one went, whatever their ports.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use lb_common::{Address as _, backend::state, hash, reason::Reason, service::mode, unmapped};
use lb_tests::{packet::flag::*, rig::Rig};

use crate::scene::*;

const BACKENDS: u32 = 4;
const SECONDS: u32 = 20;

/// Scenes whose service has affinity by these bits, and a ring on which backends take turns.
fn scenes(mode: u8, bits4: u8, bits6: u8) -> [Scene; 2] {
    let mut scenes = Scene::in_mode(mode);
    for scene in &mut scenes {
        for backend_idx in 1..BACKENDS {
            scene.add_backend(backend_idx);
        }
        scene.rig.ring(0, |slot| slot % BACKENDS);
        scene.rig.affinity(0, bits4, bits6, SECONDS);
    }
    scenes
}

fn whole(scene: &Scene) -> u8 {
    if scene.client.is_ipv4() { 32 } else { 128 }
}

/// The backend that flows of this address get, from so many ports: there must be one.
#[track_caller]
fn backend_of(scene: &mut Scene, client: IpAddr, ports: std::ops::Range<u16>) -> u32 {
    let all = backends_of(scene, client, ports);
    assert_eq!(all.len(), 1, "{client} gets {all:?}");
    all.into_iter().next().expect("one")
}

#[track_caller]
fn backends_of(scene: &mut Scene, client: IpAddr, ports: std::ops::Range<u16>) -> BTreeSet<u32> {
    ports
        .map(|port| scene.open(SocketAddr::new(client, port)).backend_idx)
        .collect()
}

/// Turns the ring so that any choice by it is another backend.
fn turn_the_ring(scene: &mut Scene) {
    scene.rig.ring(0, |slot| (slot + 1) % BACKENDS);
}

#[test]
fn a_client_keeps_its_backend_over_ports_and_rings() {
    for mut scene in scenes(mode::NAT, 32, 128) {
        for n in 0..20 {
            let client = scene.other_client(n).ip();
            let first = backend_of(&mut scene, client, 10_000..10_200);
            turn_the_ring(&mut scene);
            assert_eq!(backend_of(&mut scene, client, 20_000..20_010), first);
            scene.rig.ring(0, |slot| slot % BACKENDS);
        }
        scene.rig.change_service(0, |service| service.flags = 0);
        let client = scene.client.ip();
        let all = backends_of(&mut scene, client, 10_000..10_200);
        assert_eq!(all.len(), BACKENDS as usize, "without affinity they spread");
        let bits = whole(&scene);
        assert_eq!(scene.rig.remembered(0, client, bits), None);
    }
}

#[test]
fn clients_spread() {
    for mut scene in scenes(mode::NAT, 32, 128) {
        let mut clients = [0; BACKENDS as usize];
        for n in 0..400 {
            let client = scene.other_client(n);
            clients[scene.open(client).backend_idx as usize] += 1;
        }
        assert!(
            clients.iter().all(|n| (60..=140).contains(n)),
            "{clients:?}"
        );
    }
}

/// Another balancer, which remembers nothing, sends the client to the same backend.
#[test]
fn the_first_choice_is_by_the_clients_address_alone() {
    for (bits4, bits6) in [(32, 128), (24, 56)] {
        for mut scene in scenes(mode::NAT, bits4, bits6) {
            for n in (0..2_000).step_by(100) {
                let client = scene.other_client(n);
                let chosen = scene.open(client).backend_idx;
                let words = Rig::address_words(client.ip());
                let hash = if client.is_ipv4() {
                    hash::client(unmapped(&words).masked(bits4))
                } else {
                    hash::client(words.masked(bits6))
                };
                assert_eq!(chosen, hash::slot(hash) % BACKENDS);
            }
        }
    }
}

#[test]
fn addresses_of_one_prefix_are_one_client() {
    let addresses = [
        ("192.0.2.1", "2001:db8:c:1::1"),
        ("192.0.2.254", "2001:db8:c:1:ffff::9"),
        ("192.0.2.128", "2001:db8:c:1:8000::"),
    ];
    for mut scene in scenes(mode::NAT, 24, 64) {
        let mut of = BTreeSet::new();
        for (v4, v6) in addresses {
            let text = if scene.client.is_ipv4() { v4 } else { v6 };
            let client = text.parse().expect("an address");
            of.insert(backend_of(&mut scene, client, 10_000..10_010));
            turn_the_ring(&mut scene);
        }
        assert_eq!(of.len(), 1);
        // Beyond the prefix they are clients of their own.
        let others: BTreeSet<u32> = (0..20)
            .map(|n| {
                let text = if scene.client.is_ipv4() {
                    format!("192.0.{}.1", 3 + n)
                } else {
                    format!("2001:db8:c:{}::1", 2 + n)
                };
                backend_of(&mut scene, text.parse().expect("an address"), 1..2)
            })
            .collect();
        assert_eq!(others.len(), BACKENDS as usize);
    }
}

#[test]
fn a_client_is_forgotten_after_the_timeout_and_each_new_flow_renews_it() {
    const SECOND: u64 = 1_000_000_000;
    for mut scene in scenes(mode::NAT, 32, 128) {
        let (client, bits) = (scene.client.ip(), whole(&scene));
        let age = |scene: &mut Scene, seconds: u64| {
            scene.rig.change_remembered(0, client, bits, |remembered| {
                remembered.last_ns -= seconds * SECOND;
            });
        };
        let first = backend_of(&mut scene, client, 1..2);
        turn_the_ring(&mut scene);
        for port in [2, 3] {
            age(&mut scene, u64::from(SECONDS) - 10);
            assert_eq!(backend_of(&mut scene, client, port..port + 1), first);
        }
        age(&mut scene, u64::from(SECONDS) + 1);
        let next = backend_of(&mut scene, client, 4..5);
        assert_eq!(next, (first + 1) % BACKENDS);
        assert_eq!(backend_of(&mut scene, client, 5..20), next);
    }
}

#[test]
fn a_backend_that_takes_no_new_flows_loses_its_clients_for_good() {
    type Cause = fn(&mut lb_common::backend::Backend);
    let causes: [Cause; 7] = [
        |backend| backend.state = state::DOWN,
        |backend| backend.state = state::DRAIN,
        |backend| backend.state = state::MAINT,
        |backend| backend.state = state::REMOVED,
        |backend| backend.weight = 0,
        // Its index went to another backend, of this service or of another one.
        |backend| backend.identity += 1_000,
        |backend| backend.service_idx = 1,
    ];
    for cause in causes {
        for mut scene in scenes(mode::NAT, 32, 128) {
            let client = scene.client.ip();
            let first = backend_of(&mut scene, client, 1..5);
            scene.rig.change_backend(first, cause);
            let other = (first + 1) % BACKENDS;
            scene.rig.ring(0, |_| other);
            assert_eq!(backend_of(&mut scene, client, 10..20), other);
            // Back again, and in the ring alone: the client stays where it went.
            scene.add_backend(first);
            scene.rig.ring(0, |_| first);
            assert_eq!(backend_of(&mut scene, client, 20..30), other);
        }
    }
}

#[test]
fn services_remember_their_clients_apart() {
    for mut scene in scenes(mode::NAT, 32, 128) {
        let second = SocketAddr::new(scene.vip.ip(), 443);
        scene.rig.vip(second, 1);
        scene.rig.service(1, 1);
        scene.rig.affinity(1, 32, 128, SECONDS);
        scene.add_backend(7);
        scene
            .rig
            .change_backend(7, |backend| backend.service_idx = 1);
        scene.rig.ring(1, |_| 7);
        let client = scene.client.ip();
        let first = backend_of(&mut scene, client, 1..5);
        let syn = scene.syn(scene.client).to(second);
        let sent = scene.rig.send(&syn).transmitted();
        assert_eq!(sent.destination, scene.backend(7));
        turn_the_ring(&mut scene);
        assert_eq!(backend_of(&mut scene, client, 5..10), first);
        let bits = whole(&scene);
        let of = |service_idx| scene.rig.remembered(service_idx, client, bits);
        assert_eq!(of(0).expect("remembered").backend_idx, first);
        assert_eq!(of(1).expect("remembered").backend_idx, 7);
    }
}

/// A packet without SYN may be of another balancer's flow: where it goes, all balancers agree.
#[test]
fn where_backends_answer_themselves_a_packet_without_flow_goes_by_the_hash() {
    for mut scene in scenes(mode::DSR, 32, 128) {
        let client = scene.client;
        let at = |port| SocketAddr::new(client.ip(), port);
        let words = Rig::address_words(client.ip());
        let hash = if client.is_ipv4() {
            hash::client([words[0]])
        } else {
            hash::client(words)
        };
        let first = hash::slot(hash) % BACKENDS;
        let bits = whole(&scene);
        scene.passes_on(&scene.ack(at(1)), first, &[Reason::FlowNew]);
        assert_eq!(scene.rig.remembered(0, client.ip(), bits), None);
        scene.passes_on(&scene.syn(at(2)), first, &[Reason::FlowNew]);
        turn_the_ring(&mut scene);
        let turned = (first + 1) % BACKENDS;
        for port in 3..20 {
            scene.passes_on(&scene.syn(at(port)), first, &[Reason::FlowNew]);
            let other = at(1_000 + port);
            scene.passes_on(&scene.ack(other), turned, &[Reason::FlowNew]);
            scene.passes_on(&scene.ack(at(port)), first, &[Reason::FlowConfirmed]);
        }
        // A reset opens nothing and teaches nothing.
        scene.passes_on(&scene.ack(at(30)).flags(RST), turned, &[]);
        let remembered = scene.rig.remembered(0, client.ip(), bits);
        assert_eq!(remembered.expect("remembered").backend_idx, first);
    }
}
