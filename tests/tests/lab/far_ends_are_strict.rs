//! What a far end makes of frames: right ones come out unchanged, wrong ones are dropped and counted,
//! and what is no tunnel's passes. The frames are on no wire.

use std::{collections::BTreeSet, net::SocketAddr};

use lb_tests::{
    lab::{Decap, Ip, Tunnel},
    packet::{Extension, Packet, arp_request, protocol},
    rig::Verdict,
};

use super::tunnel::{GUE_PORT, gue, ip_packet, number, syn};

/// Balancer and backend.
fn outer(ip: Ip) -> [SocketAddr; 2] {
    match ip {
        Ip::V4 => ["10.0.1.1:50000", "10.0.1.2:6080"],
        Ip::V6 => ["[fd00::1]:50000", "[fd00::2]:6080"],
    }
    .map(|text| text.parse().expect("an address and a port"))
}

fn some_syn(ip: Ip) -> Packet {
    match ip {
        Ip::V4 => syn("10.0.0.2".parse().expect("an address"), 40_000),
        Ip::V6 => syn("fd00::2:2".parse().expect("an address"), 40_000),
    }
}

/// A UDP header without checksum, and the payload; the length is off by so many bytes.
fn udp(port: u16, payload: &[u8], error: u16) -> Vec<u8> {
    let length = (8 + payload.len() as u16).wrapping_add(error);
    let header = [50_000, port, length, 0].map(u16::to_be_bytes).concat();
    [&*header, payload].concat()
}

fn carrier(ip: Ip, protocol: u8, body: Vec<u8>) -> Packet {
    let [balancer, backend] = outer(ip).map(|address| address.ip());
    Packet::raw(balancer, backend, protocol, body)
}

/// `inner` in a tunnel's packet.
fn in_tunnel(tunnel: Tunnel, outer: Ip, inner: Ip, packet: &[u8]) -> Packet {
    match tunnel {
        Tunnel::Ipip => carrier(outer, number(inner), packet.to_vec()),
        _ => gue_frame(outer, &gue(tunnel, inner, packet)),
    }
}

fn gue_frame(outer: Ip, payload: &[u8]) -> Packet {
    carrier(outer, protocol::UDP, udp(GUE_PORT, payload, 0))
}

#[test]
fn what_was_put_in_comes_out() {
    let decap = Decap::load(GUE_PORT);
    for (tunnel, outer, inner) in Tunnel::kinds() {
        let packet = some_syn(inner).payload(b"hello");
        let frame = in_tunnel(tunnel, outer, inner, &ip_packet(&packet));
        for frame in [frame.clone(), frame.clone().ip_options(10)] {
            let out = decap.run(&frame.build());
            assert_eq!(
                out,
                (Verdict::Pass, packet.build()),
                "{tunnel:?} {outer:?} {inner:?}"
            );
        }
        let (verdict, out) = decap.run(&frame.padded_by(7).build());
        assert_eq!(
            (verdict, out),
            (Verdict::Pass, packet.padded_by(7).build()),
            "{tunnel:?} {outer:?} {inner:?}"
        );
    }
    assert_eq!(decap.malformed(), 0);
    assert!(decap.carried().values().all(|&count| count == 3));
    assert_eq!(decap.carried().len(), 12);
    let sources = Ip::BOTH
        .map(|ip| outer(ip)[0])
        .into_iter()
        .flat_map(|source| [source, SocketAddr::new(source.ip(), 0)]);
    assert_eq!(decap.sources(), sources.collect());
}

#[test]
fn what_is_wrong_is_dropped() {
    let mut wrong: Vec<(String, Packet)> = Vec::new();
    for (tunnel, outer, inner) in Tunnel::kinds() {
        let mut add = |what: &str, packet| {
            wrong.push((format!("{tunnel:?} {outer:?} {inner:?}: {what}"), packet));
        };
        let whole = ip_packet(&some_syn(inner));
        let other = match inner {
            Ip::V4 => Ip::V6,
            Ip::V6 => Ip::V4,
        };
        let with = |packet: &[u8]| in_tunnel(tunnel, outer, inner, packet);
        add("a byte lost", with(&whole[..whole.len() - 1]));
        add("a byte too many", with(&[&*whole, &[0]].concat()));
        add("a header cut", with(&whole[..10]));
        add("nothing", with(&[]));
        let right = with(&whole);
        add("a frame cut", right.clone().cut_at(right.build().len() - 1));
        if tunnel != Tunnel::Gue1 {
            // The length is right where the other version has its own.
            let mut bytes = whole.clone();
            let (at, length) = match other {
                Ip::V4 => (2, whole.len()),
                Ip::V6 => (4, whole.len() - 40),
            };
            bytes[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes());
            let packet = in_tunnel(tunnel, outer, other, &bytes);
            add("the other version announced", packet);
        }
        if outer == Ip::V4 {
            add("an outer checksum", right.clone().ip_checksum_off_by(1));
            add("a first fragment", right.clone().fragment(0, true));
            if tunnel == Tunnel::Ipip {
                add("a later fragment", right.fragment(64, false));
            }
        }
        if tunnel != Tunnel::Ipip {
            let payload = gue(tunnel, inner, &whole);
            for error in [1, u16::MAX] {
                let body = udp(GUE_PORT, &payload, error);
                add("a UDP length", carrier(outer, protocol::UDP, body));
            }
        }
    }
    let whole = ip_packet(&some_syn(Ip::V4));
    for outer in Ip::BOTH {
        for header in [
            [0x20, protocol::IPV4, 0, 0], // control message
            [0x01, protocol::IPV4, 0, 0], // a header of more words
            [0x00, protocol::TCP, 0, 0],
            [0x00, protocol::IPV4, 0x80, 0], // flags
            [0x00, protocol::IPV4, 0, 1],
            [0x80, protocol::IPV4, 0, 0], // variants that nobody defined
            [0xc0, protocol::IPV4, 0, 0],
            [0x55, protocol::IPV4, 0, 0], // versions of IP that nobody uses
            [0x70, protocol::IPV4, 0, 0],
        ] {
            let packet = gue_frame(outer, &[&header, &*whole].concat());
            wrong.push((format!("{outer:?} {header:02x?}"), packet));
        }
    }

    let decap = Decap::load(GUE_PORT);
    for (count, (what, packet)) in (1..).zip(&wrong) {
        let frame = packet.build();
        assert_eq!(decap.run(&frame), (Verdict::Drop, frame), "{what}");
        assert_eq!(decap.malformed(), count, "{what}");
    }
    assert_eq!(decap.carried(), [].into());
    assert_eq!(decap.sources(), BTreeSet::new());
}

#[test]
fn what_is_no_tunnel_passes() {
    let decap = Decap::load(GUE_PORT);
    let padding = Extension::Destination { units: 1 };
    let whole = ip_packet(&some_syn(Ip::V4));
    let mut others = vec![arp_request(outer(Ip::V4)[0], outer(Ip::V4)[1])];
    for ip in Ip::BOTH {
        let [balancer, backend] = outer(ip);
        let gue = gue_frame(ip, &whole);
        let ipip = carrier(ip, protocol::IPV4, whole.clone());
        for packet in [
            some_syn(ip),
            Packet::ping(balancer.ip(), backend.ip()),
            carrier(ip, protocol::UDP, udp(GUE_PORT + 1, &whole, 0)),
            gue.clone().fragment(64, false),
            gue.vlan(7),
            ipip.clone().vlan(7),
        ] {
            others.push(packet.build());
        }
        if ip == Ip::V6 {
            others.push(ipip.extension(padding).build());
        }
    }
    for frame in others {
        assert_eq!(decap.run(&frame), (Verdict::Pass, frame));
    }
    assert_eq!((decap.malformed(), decap.carried()), (0, [].into()));
}
