//! What is not for a vip goes to the kernel, byte for byte.

use std::net::SocketAddr;

use lb_common::reason::Reason;
use lb_tests::packet::{Packet, arp_request, ethertype, flag::*, protocol};

use crate::scene::{FRONT, ROUTER, Scene};

#[test]
pub fn packets_for_others_pass_untouched() {
    type Make = fn(&Scene) -> Packet;
    let cases: [(&str, Make, Reason); 14] = [
        (
            "another address",
            |s| s.syn(s.client).to(SocketAddr::new(s.stranger(), 80)),
            Reason::NotOurs,
        ),
        (
            "another port of the vip's address",
            |s| s.syn(s.client).to(SocketAddr::new(s.vip.ip(), 22)),
            Reason::NotOurs,
        ),
        (
            "a source port that no flow has",
            |s| s.syn(s.client).to(SocketAddr::new(s.snat, 2_000)),
            Reason::NotOurs,
        ),
        (
            "a connection of the host itself",
            |s| {
                Packet::tcp(s.backend(0), SocketAddr::new(s.snat, 44_000))
                    .flags(SYN | ACK)
                    .payload(b"x")
            },
            Reason::NotOurs,
        ),
        (
            "a backend's packet of no flow",
            |s| Packet::tcp(s.backend(0), SocketAddr::new(s.snat, 2_000)).flags(ACK),
            Reason::NotOurs,
        ),
        (
            "from the vip",
            |s| s.syn(s.client).from(s.vip).to(s.client).flags(ACK),
            Reason::NotOurs,
        ),
        (
            "a reset for another",
            |s| {
                let other = SocketAddr::new(s.stranger(), 80);
                s.syn(s.client).to(other).flags(RST)
            },
            Reason::NotOurs,
        ),
        (
            "an expiring packet for another",
            |s| {
                let other = SocketAddr::new(s.stranger(), 80);
                s.syn(s.client).to(other).ttl(1)
            },
            Reason::NotOurs,
        ),
        (
            "UDP to the TCP vip",
            |s| Packet::udp(s.client, s.vip),
            Reason::NotOurs,
        ),
        (
            "ping to another address",
            |s| Packet::ping(s.client.ip(), s.stranger()),
            Reason::NotOurs,
        ),
        (
            "GRE to the vip",
            |s| Packet::raw(s.client.ip(), s.vip.ip(), 47, vec![0; 64]),
            Reason::OtherProtocol,
        ),
        (
            "nothing behind the IP header",
            |s| Packet::raw(s.client.ip(), s.vip.ip(), 59, vec![]),
            Reason::OtherProtocol,
        ),
        (
            "an empty packet that claims TCP",
            |s| Packet::raw(s.client.ip(), s.vip.ip(), protocol::TCP, vec![]),
            Reason::Truncated,
        ),
        (
            "three VLAN tags",
            |s| s.syn(s.client).vlan(7).vlan(8).vlan(9),
            Reason::NotIp,
        ),
    ];
    for mut scene in Scene::both() {
        for (name, make, reason) in &cases {
            eprintln!("{name}");
            let packet = make(&scene);
            scene.rig.send(&packet).passed_untouched(*reason);
        }
    }
}

#[test]
pub fn arp_passes_untouched() {
    let [mut scene, _] = Scene::both();
    let request = arp_request(scene.client, scene.vip);
    scene
        .rig
        .send_frame(&request)
        .passed_untouched(Reason::NotIp);
}

/// Every EtherType but the two of IP, over the bytes of a SYN for the vip.
#[test]
pub fn no_other_ethertype_is_taken_for_ip() {
    for mut scene in Scene::both() {
        let frame = scene.syn(scene.client).build();
        let own = u16::from_be_bytes([frame[12], frame[13]]);
        for kind in (0..=u16::MAX).step_by(61).chain([0x8100, 0x88a8, 0x9100]) {
            if [ethertype::IPV4, ethertype::IPV6].contains(&kind) {
                continue;
            }
            let mut frame = frame.clone();
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
            scene.rig.send_frame(&frame).passed_untouched(Reason::NotIp);
        }
        // The other family's EtherType over this family's header.
        let mut frame = frame;
        let other = if own == ethertype::IPV4 {
            ethertype::IPV6
        } else {
            ethertype::IPV4
        };
        frame[12..14].copy_from_slice(&other.to_be_bytes());
        scene
            .rig
            .send_frame(&frame)
            .passed_untouched(Reason::Truncated);
    }
}

/// With no vip at all, nothing is ours.
#[test]
fn an_empty_configuration_passes_everything() {
    let mut rig = lb_tests::rig::Rig::load(lb_tests::rig::SIZES);
    for scene in Scene::both() {
        for flags in [SYN, ACK, RST, SYN | ACK] {
            let packet = scene.syn(scene.client).flags(flags);
            rig.send(&packet).passed_untouched(Reason::NotOurs);
        }
    }
}

/// The filter's bits are shared: a set bit promises nothing.
#[test]
fn a_false_alarm_of_the_filter_passes_untouched() {
    for mut scene in Scene::both() {
        scene.rig.admit_everything();
        for port in [22, 443, 2_000, 40_000] {
            for address in [scene.stranger(), scene.vip.ip(), scene.snat] {
                let packet = Packet::tcp(scene.client, SocketAddr::new(address, port))
                    .macs(ROUTER, FRONT)
                    .payload(b"not for us");
                for flags in [SYN, ACK, RST] {
                    let packet = packet.clone().flags(flags);
                    scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
                }
            }
        }
    }
}
