//! A packet of ours whose hops are used up is answered with ICMP time exceeded from our own address where it
//! came in, as a router would, so that a traceroute through a vip shows the balancer at its hop.

use std::net::{IpAddr, SocketAddr};

use lb_common::{Budgeted, reason::Reason, service::mode};
use lb_tests::{
    packet::{Extension, Packet, flag::*},
    rig::{INGRESS, Verdict},
};

use crate::{
    own_errors::{answers, own_like, time_exceeded, with_addresses},
    scene::{FRONT, ROUTER, Scene},
};

const MTU: u32 = 1_500;

/// The scene in each family and in this mode, where the balancer has addresses.
fn scenes(mode: u8) -> [Scene; 2] {
    Scene::in_mode(mode).map(|mut scene| {
        with_addresses(&mut scene, MTU);
        scene
    })
}

/// It is told to its sender that this packet got no further.
#[track_caller]
fn is_told(scene: &mut Scene, packet: &Packet, sender: IpAddr) {
    let ends = (own_like(sender), sender);
    answers(
        scene,
        packet,
        ends,
        time_exceeded(sender),
        Reason::TimeExceeded,
    );
}

#[test]
fn a_new_flow_with_one_hop_left_is_told_to_its_client() {
    for mode in [mode::NAT, mode::ROUTE, mode::IPIP, mode::GUE] {
        for mut scene in scenes(mode) {
            let client = scene.client;
            for packet in [
                scene.syn(client),
                scene.syn(client).payload(b"odd"),
                scene.syn(client).payload(&[0x5a; 900]),
                scene.syn(client).payload(&[0xff; 1_400]),
                scene.syn(client).padded_by(6),
            ] {
                is_told(&mut scene, &packet.ttl(1), client.ip());
            }
            assert_eq!(scene.rig.entry(client, scene.vip), None, "no flow");
        }
    }
}

#[test]
fn a_known_flow_with_one_hop_left_is_told_to_either_end() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in scenes(mode) {
            let connection = scene.establish(scene.client);
            let forth = scene.by_client(&connection).payload(b"data").ttl(1);
            is_told(&mut scene, &forth, connection.client.ip());
            let back = scene.by_backend(&connection).payload(b"data").ttl(1);
            is_told(&mut scene, &back, connection.backend.ip());
        }
    }
}

#[test]
fn over_udp_too() {
    for mut scene in Scene::over_udp(mode::NAT) {
        with_addresses(&mut scene, MTU);
        let probe = Packet::udp(scene.client, scene.vip).udp_checksum().ttl(1);
        let client = scene.client.ip();
        is_told(&mut scene, &probe, client);
    }
}

/// The client finds its ports in the quote only if they are there.
#[test]
fn ports_behind_options_and_extension_headers_are_quoted() {
    let [mut v4, mut v6] = scenes(mode::NAT);
    let client = v4.client;
    let packet = v4.syn(client).ip_options(10).payload(&[7; 600]).ttl(1);
    is_told(&mut v4, &packet, client.ip());
    let client = v6.client;
    for units in [1, 16, 100] {
        let packet = v6
            .syn(client)
            .extension(Extension::HopByHop { units })
            .extension(Extension::Destination { units: 20 })
            .payload(&[7; 300])
            .ttl(1);
        is_told(&mut v6, &packet, client.ip());
    }
}

/// A checksum that was wrong is quoted so.
#[test]
fn what_is_quoted_is_not_mended() {
    for mut scene in scenes(mode::NAT) {
        let client = scene.client;
        let packet = scene.syn(client).tcp_checksum_off_by(1).ttl(1);
        is_told(&mut scene, &packet, client.ip());
    }
}

/// Every remainder of the checksum, the two zeros included.
#[test]
fn the_checksum_is_exact_whatever_is_quoted() {
    for mut scene in scenes(mode::NAT) {
        let client = scene.client;
        // Two bytes of the payload run through all values; their step leaves none out.
        for n in 0..700_u16 {
            let value = n.wrapping_mul(0x5e1d) ^ 0xfffe;
            let packet = scene.syn(client).payload(&value.to_be_bytes()).ttl(1);
            is_told(&mut scene, &packet, client.ip());
            scene.rig.budget(Budgeted::TimeExceeded, 1);
        }
    }
}

#[test]
fn without_an_address_there_nobody_is_told() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client).ttl(1);
        scene.rig.send(&syn).dropped(Reason::TtlExpired);
        let other = if scene.client.is_ipv4() {
            "2001:db8:5::1"
        } else {
            "192.0.2.1"
        };
        let other = other.parse().expect("an address");
        scene.rig.interface(INGRESS, MTU, &[other]);
        scene.rig.send(&syn).dropped(Reason::TtlExpired);
    }
}

/// RFC 1122, section 3.2.2: an error to a group would come back from all of it.
#[test]
fn what_does_not_come_from_one_host_to_one_host_is_not_answered() {
    for mut scene in scenes(mode::NAT) {
        let syn = scene.syn(scene.client).ttl(1);
        let groups = [
            [0xff; 6],
            [0x01, 0, 0x5e, 0, 0, 1],
            [0x33, 0x33, 0, 0, 0, 1],
        ];
        for group in groups {
            let to_group = syn.clone().macs(ROUTER, group);
            let from_group = syn.clone().macs(group, FRONT);
            for packet in [to_group, from_group] {
                let outcome = scene.rig.send(&packet);
                outcome.verdict(Verdict::Drop);
            }
        }
        let nobodies: &[&str] = if scene.client.is_ipv4() {
            &[
                "0.0.0.0",
                "0.0.0.9",
                "127.0.0.1",
                "224.0.0.1",
                "240.0.0.1",
                "255.255.255.255",
            ]
        } else {
            &["::", "::1", "ff02::1", "ff0e::7"]
        };
        for nobody in nobodies {
            let nobody = nobody.parse().expect("an address");
            let from = SocketAddr::new(nobody, 40_000);
            let outcome = scene.rig.send(&scene.syn(from).ttl(1));
            outcome.verdict(Verdict::Drop);
        }
    }
}

#[test]
fn no_more_are_sent_than_the_budget_has() {
    for mut scene in scenes(mode::NAT) {
        scene.rig.budget(Budgeted::TimeExceeded, 0);
        let syn = scene.syn(scene.client).ttl(1);
        scene.rig.send(&syn).dropped(Reason::IcmpLimited);
        scene.rig.budget(Budgeted::TimeExceeded, 1);
        let client = scene.client.ip();
        is_told(&mut scene, &syn, client);
    }
}

/// In mode `dsr` the balancer is no hop.
#[test]
fn mode_dsr_takes_no_hop() {
    for mut scene in scenes(mode::DSR) {
        let syn = scene.syn(scene.client).ttl(1);
        scene.passes_on(&syn, 0, &[Reason::FlowNew]);
    }
}

#[test]
fn what_is_not_for_a_vip_is_the_kernels_to_answer() {
    for mut scene in scenes(mode::NAT) {
        let other = SocketAddr::new(scene.vip.ip(), 22);
        let syn = scene.syn(scene.client).to(other).flags(SYN).ttl(1);
        scene.rig.send(&syn).passed_untouched(Reason::NotOurs);
    }
}
