//! Fragments: only the first has ports. One for a vip cannot be balanced, because the others would
//! not follow it; all the rest is the kernel's.

use std::net::SocketAddr;

use lb_common::reason::Reason;
use lb_tests::packet::{Packet, flag::*, protocol};

use crate::scene::Scene;

#[test]
fn the_first_fragment_for_a_vip_is_dropped() {
    for mut scene in Scene::both() {
        for flags in [SYN, ACK] {
            let first = scene
                .syn(scene.client)
                .flags(flags)
                .payload(&[0; 100])
                .fragment(0, true);
            scene.rig.send(&first).dropped(Reason::Fragment);
        }
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    }
}

#[test]
fn the_first_fragment_of_a_flow_is_dropped_either_way() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            let first = packet.payload(&[0; 100]).fragment(0, true);
            scene.rig.send(&first).dropped(Reason::Fragment);
        }
    }
}

#[test]
pub fn later_fragments_pass_untouched() {
    for mut scene in Scene::both() {
        for (offset, more) in [(8, true), (8, false), (1_480, true), (65_528, false)] {
            for to in [scene.vip.ip(), scene.stranger()] {
                // Its bytes look like a SYN for the vip, but are the middle of a payload.
                let looks = scene.syn(scene.client).build();
                let tcp = looks[looks.len() - 20..].to_vec();
                let later = Packet::raw(scene.client.ip(), to, protocol::TCP, tcp);
                scene
                    .rig
                    .send(&later.fragment(offset, more))
                    .passed_untouched(Reason::LaterFragment);
            }
        }
    }
}

#[test]
pub fn first_fragments_for_others_pass_untouched() {
    for mut scene in Scene::both() {
        for to in [
            SocketAddr::new(scene.stranger(), 80),
            SocketAddr::new(scene.vip.ip(), 22),
            SocketAddr::new(scene.snat, 2_000),
        ] {
            let first = scene
                .syn(scene.client)
                .to(to)
                .payload(&[0; 100])
                .fragment(0, true);
            scene.rig.send(&first).passed_untouched(Reason::NotOurs);
        }
    }
}

#[test]
fn fragments_for_no_vip_of_udp_pass_untouched() {
    for mut scene in Scene::both() {
        let first = Packet::udp(scene.client, scene.vip).fragment(0, true);
        scene.rig.send(&first).passed_untouched(Reason::NotOurs);
    }
}
