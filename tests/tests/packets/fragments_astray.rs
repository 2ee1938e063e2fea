//! Fragments that follow no first one: dropped if they are for a vip, and the kernel's if they are not.

use std::net::SocketAddr;

use lb_common::{
    backend::{flows, state as backend_state},
    reason::Reason,
    service::{flag, mode},
    sources::access,
};
use lb_tests::{
    packet::{Packet, protocol},
    rig::Verdict,
};

use crate::{
    fragments::{CUTS, large, left_to_the_kernel, question},
    scene::{FRONT, ROUTER, Scene},
};

/// A header cut in two hides its second part from who looks at first fragments, and a fragment over the
/// header changes what was looked at (RFC 1858).
#[test]
fn fragments_that_hide_a_header_are_dropped() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let stranger = scene.other_client(1);
        for packet in [
            scene.syn(stranger),
            scene.ack(scene.client),
            scene.by_backend(&connection),
        ] {
            let packet = packet.payload(&[0; 100]);
            for end in [8, 16] {
                let tiny = packet.piece(0..end);
                scene.rig.send(&tiny).dropped(Reason::BadFragment);
                // And if the frame is padded to Ethernet's least.
                let padded = tiny.padded_by(60);
                scene.rig.send(&padded).dropped(Reason::BadFragment);
            }
        }
        assert_eq!(scene.rig.entry(stranger, scene.vip), None);
        let packet = scene.ack(scene.client).payload(&[0; 200]);
        scene.rig.send(&packet.piece(0..64)).verdict(Verdict::Tx);
        for start in [8, 16, 56] {
            let over = packet.piece(start..start + 64);
            scene.rig.send(&over).dropped(Reason::BadFragment);
        }
        scene.rig.send(&packet.piece(64..220)).verdict(Verdict::Tx);
    }
}

#[test]
fn tiny_fragments_for_others_pass_untouched() {
    for mut scene in Scene::both() {
        for to in [
            SocketAddr::new(scene.stranger(), 80),
            SocketAddr::new(scene.vip.ip(), 22),
            SocketAddr::new(scene.snat, 2_000),
        ] {
            let packet = scene.syn(scene.client).to(to).payload(&[0; 100]);
            let tiny = packet.piece(0..8);
            scene.rig.send(&tiny).passed_untouched(Reason::Truncated);
            left_to_the_kernel(&mut scene, &packet.piece(8..64));
        }
    }
}

#[test]
fn fragments_of_what_is_refused_are_dropped() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let refused = |scene: &mut Scene, n: u16, reason: Reason| {
            let client = scene.other_client(n);
            let pieces = question(scene, client).fragments(&CUTS);
            scene.rig.send(&pieces[0]).dropped(reason);
            let later = scene.rig.send(&pieces[1]);
            later.dropped(Reason::FragmentUnknown);
        };
        let all = if scene.client.is_ipv4() {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        scene.rig.source(0, all, access::DENY);
        scene.rig.obey_lists(0);
        refused(&mut scene, 1, Reason::SourceDenied);
        scene.rig.change_service(0, |s| {
            s.flags &= !flag::SOURCES;
            s.eligible = 0;
        });
        refused(&mut scene, 2, Reason::Unanswered);
    }
    for mut scene in Scene::both() {
        let pieces = scene.ack(scene.client).payload(&[0; 100]).fragments(&[64]);
        scene.rig.send(&pieces[0]).counts(&[Reason::NoFlow]);
        let later = scene.rig.send(&pieces[1]);
        later.dropped(Reason::FragmentUnknown);
    }
}

#[test]
fn fragments_of_a_dead_backends_flow_are_dropped() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let pieces = (scene.by_client(&connection).payload(&[0; 200])).fragments(&[64, 128]);
        scene.rig.send(&pieces[0]).verdict(Verdict::Tx);
        scene.rig.send(&pieces[1]).verdict(Verdict::Tx);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        let later = scene.rig.send(&pieces[2]);
        later.dropped(Reason::FragmentUnknown);
    }
}

#[test]
fn a_fragment_with_no_hop_left_is_dropped() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let pieces = question(&scene, scene.client).fragments(&CUTS);
        scene.rig.send(&pieces[0]).verdict(Verdict::Tx);
        let last = pieces[1].clone().ttl(1);
        scene.rig.send(&last).dropped(Reason::TtlExpired);
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
                left_to_the_kernel(&mut scene, &later.fragment(offset, more));
            }
        }
    }
}

#[test]
pub fn fragments_for_others_pass_untouched() {
    for protocol in [Scene::both, || Scene::over_udp(mode::ROUTE)] {
        for mut scene in protocol() {
            for to in [
                SocketAddr::new(scene.stranger(), 80),
                SocketAddr::new(scene.vip.ip(), 22),
                SocketAddr::new(scene.snat, 2_000),
            ] {
                let segment = scene.syn(scene.client).to(to).payload(&[0; 3_000]);
                let datagram = large(Packet::udp(scene.client, to).macs(ROUTER, FRONT));
                for packet in [segment, datagram] {
                    let pieces = packet.fragments(&CUTS[..1]);
                    scene.rig.send(&pieces[0]).passed_untouched(Reason::NotOurs);
                    left_to_the_kernel(&mut scene, &pieces[1]);
                }
            }
        }
    }
}

/// Of ICMP, of tunnels, and of what is hidden from us.
#[test]
fn fragments_of_other_protocols_pass_untouched() {
    const ESP: u8 = 50;
    for mut scene in Scene::both() {
        let icmp = match scene.client {
            SocketAddr::V4(_) => protocol::ICMP,
            SocketAddr::V6(_) => protocol::ICMPV6,
        };
        for number in [icmp, protocol::IPV4, protocol::IPV6, 47, ESP, 132, 253] {
            let (from, to) = (scene.client.ip(), scene.vip.ip());
            let packet = Packet::raw(from, to, number, vec![0; 200]);
            let pieces = packet.fragments(&[96]);
            let first = scene.rig.send(&pieces[0]);
            first.passed_untouched(Reason::OtherProtocol);
            let later = scene.rig.send(&pieces[1]);
            assert_eq!(later.verdict, Verdict::Pass, "{number}: {later}");
            assert_eq!(later.frame, later.sent, "{number}: {later}");
        }
        assert_eq!(scene.rig.fragmented(scene.client.ip()), 0);
    }
    // A vip of UDP says nothing about TCP.
    for mut scene in Scene::over_udp(mode::NAT) {
        let packet = scene.syn(scene.client).payload(&[0; 200]);
        let pieces = packet.fragments(&[96]);
        let first = scene.rig.send(&pieces[0]);
        first.passed_untouched(Reason::NotOurs);
        left_to_the_kernel(&mut scene, &pieces[1]);
    }
}

/// On a host that routes, the kernel would send on what comes for an address that is not its own.
mod on_a_router {
    use std::{fs, process::Command, thread};

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// Runs `work` in a network namespace that forwards and has routes to everybody; the vip is its own
    /// if `holds` says so.
    fn inside(holds: bool, work: impl FnOnce() + Send) {
        let prepare = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a namespace");
            for line in [
                "link set lo up",
                "link add front type veth peer name router",
                "link set front up",
                "link set router up",
                "addr add 192.0.2.1/24 dev front",
                "route add default via 192.0.2.2",
                "-6 route add default dev front",
            ] {
                ip(line);
            }
            if holds {
                ip("addr add 203.0.113.10/32 dev lo");
                ip("addr add 2001:db8::10/128 dev lo");
            }
            for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
                fs::write(format!("/proc/sys/net/{key}"), "1").expect("root may forward");
            }
        };
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                prepare();
                work();
            });
            worker
                .join()
                .unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        });
    }

    fn ip(line: &str) {
        let status = Command::new("ip").args(line.split(' ')).status();
        assert!(status.expect("ip runs").success(), "ip {line}");
    }

    fn unseen(scene: &Scene, to: SocketAddr) -> Packet {
        large(Packet::udp(scene.client, to).macs(ROUTER, FRONT)).piece(1_480..2_960)
    }

    #[test]
    fn a_fragment_that_nobody_can_place_is_dropped() {
        inside(false, || {
            for mut scene in Scene::over_udp(mode::NAT) {
                let later = unseen(&scene, scene.vip);
                scene.rig.send(&later).dropped(Reason::FragmentUnknown);
                let stranger = SocketAddr::new(scene.stranger(), 53);
                let other = unseen(&scene, stranger);
                left_to_the_kernel(&mut scene, &other);
                // A neighbour of the vip, with every bit of the filter set.
                scene.rig.admit_everything();
                let other = unseen(&scene, stranger);
                left_to_the_kernel(&mut scene, &other);
            }
        });
    }

    #[test]
    fn one_whose_first_was_for_no_vip_passes_untouched() {
        inside(false, || {
            for mut scene in Scene::over_udp(mode::NAT) {
                let to = SocketAddr::new(scene.vip.ip(), 5_353);
                let packet = large(Packet::udp(scene.client, to).macs(ROUTER, FRONT));
                let pieces = packet.fragments(&CUTS);
                let first = scene.rig.send(&pieces[0]);
                first.passed_untouched(Reason::NotOurs);
                left_to_the_kernel(&mut scene, &pieces[2]);
                left_to_the_kernel(&mut scene, &pieces[1]);
            }
        });
    }

    #[test]
    fn one_for_an_address_of_the_host_passes_untouched() {
        inside(true, || {
            for mut scene in Scene::over_udp(mode::NAT) {
                let later = unseen(&scene, scene.vip);
                left_to_the_kernel(&mut scene, &later);
            }
        });
    }
}
