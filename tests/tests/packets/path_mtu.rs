//! A router on the way to a backend says that a tunnel's packets are too big for it: the balancer remembers,
//! and tells clients whose packets would be.

use std::net::{IpAddr, SocketAddr};

use lb_common::{reason::Reason, service::mode};
use lb_tests::{
    packet::{ETHERNET_LEN, Packet, protocol},
    rig::{Outcome, Verdict},
};

use crate::{
    own_errors::{answers, too_big},
    scene::Scene,
    tunnels::{self, Pipe, establish, wraps},
};

/// Of the way beyond the next hop, unless a test says otherwise.
const NARROW: u32 = 1_400;

/// As [`tunnels::with_each`], each time with nothing said about the way.
fn with_each(test: impl Fn(&mut Scene, Pipe)) {
    tunnels::with_each(|scene, pipe| {
        scene.rig.age_paths(1_000);
        test(scene, pipe);
    });
}

/// The client's packet with so many bytes from its IP header on.
fn sized(scene: &Scene, bytes: u32) -> Packet {
    let headers = if scene.client.is_ipv4() { 40 } else { 60 };
    scene
        .ack(scene.client)
        .payload(&vec![0x5a; bytes as usize - headers])
}

/// The outer packet of one that fills the tunnel's first link.
fn outer(scene: &mut Scene, pipe: Pipe) -> Vec<u8> {
    let packet = sized(scene, tunnels::MTU - pipe.overhead());
    let outcome = scene.rig.send(&packet);
    outcome.verdict(Verdict::Tx);
    outcome.frame[ETHERNET_LEN..].to_vec()
}

/// A router's word to the source of an outer packet, of which it quotes so much.
fn word(pipe: Pipe, outer: &[u8], quoted: usize, mtu: u32) -> Packet {
    let router: IpAddr = (if pipe.v6 {
        "2001:db8:9::9"
    } else {
        "192.0.2.250"
    })
    .parse()
    .expect("an address");
    let source: IpAddr = if pipe.v6 {
        <[u8; 16]>::try_from(&outer[8..24])
            .expect("an address")
            .into()
    } else {
        <[u8; 4]>::try_from(&outer[12..16])
            .expect("an address")
            .into()
    };
    let mut message = if pipe.v6 {
        vec![2, 0, 0, 0]
    } else {
        vec![3, 4, 0, 0]
    };
    message.extend(mtu.to_be_bytes());
    message.extend(&outer[..quoted.min(outer.len())]);
    let number = if pipe.v6 {
        protocol::ICMPV6
    } else {
        protocol::ICMP
    };
    Packet::raw(router, source, number, message)
}

/// As little as a router may quote: the header and 8 bytes more.
fn least_quote(pipe: Pipe) -> usize {
    if pipe.v6 { 48 } else { 28 }
}

/// The router's word about an outer packet is taken in, and goes on to the kernel.
#[track_caller]
fn is_heard(scene: &mut Scene, word: &Packet) {
    scene.rig.send(word).passed_untouched(Reason::PathMtu);
}

/// Packets of the client may have so many bytes, and it is told where one has more.
#[track_caller]
fn room_is(scene: &mut Scene, pipe: Pipe, room: u32) {
    let (vip, client) = (scene.vip.ip(), scene.client.ip());
    let exact = sized(scene, room);
    wraps(scene, pipe, exact, &[]);
    let icmp = too_big(client, room);
    let packet = sized(scene, room + 1);
    answers(scene, &packet, (vip, client), icmp, Reason::PacketTooBig);
}

#[test]
fn the_client_learns_what_the_way_carries() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        room_is(scene, pipe, tunnels::MTU - pipe.overhead());
        let sent = outer(scene, pipe);
        is_heard(scene, &word(pipe, &sent, least_quote(pipe), NARROW));
        room_is(scene, pipe, NARROW - pipe.overhead());
        // Where a packet opens a flow, too.
        let (vip, other) = (scene.vip.ip(), scene.other_client(77));
        let packet = sized(scene, NARROW - pipe.overhead() + 1).from(other);
        let icmp = too_big(vip, NARROW - pipe.overhead());
        answers(
            scene,
            &packet,
            (vip, other.ip()),
            icmp,
            Reason::PacketTooBig,
        );
        // Another router says something else.
        is_heard(scene, &word(pipe, &sent, 500, NARROW - 50));
        room_is(scene, pipe, NARROW - 50 - pipe.overhead());
    });
}

#[test]
fn after_ten_minutes_the_way_is_tried_again() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let sent = outer(scene, pipe);
        is_heard(scene, &word(pipe, &sent, 500, NARROW));
        scene.rig.age_paths(500);
        room_is(scene, pipe, NARROW - pipe.overhead());
        scene.rig.age_paths(101);
        room_is(scene, pipe, tunnels::MTU - pipe.overhead());
    });
}

#[test]
fn nobody_is_believed_who_says_less_than_the_floor() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let sent = outer(scene, pipe);
        let floor = if pipe.v6 { 1_280 } else { 576 };
        for mtu in [0, 68, floor - 1, floor] {
            is_heard(scene, &word(pipe, &sent, 500, mtu));
            if scene.client.is_ipv4() {
                room_is(scene, pipe, floor - pipe.overhead());
            }
        }
        // The least of IPv6 does not fit: who sends more is told so, in vain.
        if scene.client.is_ipv6() {
            let packet = sized(scene, 1_280);
            scene.rig.send(&packet).dropped(Reason::TooBig);
            let small = sized(scene, floor - pipe.overhead());
            wraps(scene, pipe, small, &[]);
        }
    });
}

#[test]
fn what_says_nothing_of_a_tunnel_is_the_kernels_alone() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let sent = outer(scene, pipe);
        let stranger = if pipe.v6 {
            "[2001:db8:f::f]:0"
        } else {
            "203.0.113.99:0"
        };
        let stranger: SocketAddr = stranger.parse().expect("an address and port");
        let altered = |at: usize, value: u8| {
            let mut outer = sent.clone();
            outer[at] = value;
            word(pipe, &outer, 500, NARROW)
        };
        let (last_of_destination, number) = if pipe.v6 { (39, 6) } else { (19, 9) };
        for (what, word) in [
            ("another destination", altered(last_of_destination, 78)),
            ("another protocol", altered(number, protocol::TCP)),
            ("a version that is none", altered(0, 0x75)),
            ("more than was sent", word(pipe, &sent, 500, tunnels::MTU)),
            (
                "too little of it",
                word(pipe, &sent, least_quote(pipe) - 9, NARROW),
            ),
            (
                "to another than its sender",
                word(pipe, &sent, 500, NARROW).to(stranger),
            ),
        ] {
            eprintln!("{what}");
            is_unheard(&scene.rig.send(&word));
            room_is(scene, pipe, tunnels::MTU - pipe.overhead());
        }
    });
}

/// Forged, or about a tunnel that was ours once.
#[test]
fn of_a_source_that_is_not_the_tunnels_nothing_is_believed() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let mut sent = outer(scene, pipe);
        sent[if pipe.v6 { 23 } else { 15 }] ^= 1;
        is_heard(scene, &word(pipe, &sent, 500, NARROW));
        room_is(scene, pipe, tunnels::MTU - pipe.overhead());
    });
}

/// Every source of the prefix speaks for all.
#[test]
fn what_one_flow_meets_others_learn() {
    with_each(|scene, pipe| {
        let spread = lb_tests::rig::Rig::address_words(pipe.spread());
        scene.rig.tunnel(
            0,
            lb_common::backend::Tunnel {
                spread,
                ..pipe.tunnel()
            },
        );
        let sent = outer(scene, pipe);
        is_heard(scene, &word(pipe, &sent, 500, NARROW));
        let (vip, other) = (scene.vip.ip(), scene.other_client(91));
        let room = NARROW - pipe.overhead();
        let packet = sized(scene, room + 1).from(other);
        let icmp = too_big(vip, room);
        answers(
            scene,
            &packet,
            (vip, other.ip()),
            icmp,
            Reason::PacketTooBig,
        );
    });
}

#[test]
fn other_modes_have_no_use_for_it() {
    for mut scene in Scene::in_mode(mode::NAT) {
        let pipe = Pipe {
            gue: None,
            v6: scene.client.is_ipv6(),
        };
        let packet = Packet::udp(scene.vip, scene.client)
            .payload(&[7; 1_400])
            .build();
        let word = word(pipe, &packet[ETHERNET_LEN..], 500, NARROW);
        is_unheard(&scene.rig.send(&word));
    }
}

/// It passes as it is, for whichever reason other ICMP messages pass.
#[track_caller]
fn is_unheard(outcome: &Outcome) {
    outcome.verdict(Verdict::Pass);
    assert!(outcome.frame == outcome.sent, "it changed\n{outcome}");
    let counted = |wanted| outcome.counted.iter().any(|(reason, _)| *reason == wanted);
    assert!(!counted(Reason::PathMtu), "{outcome}");
}
