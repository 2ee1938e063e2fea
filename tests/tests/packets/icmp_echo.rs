//! Echo requests for an address of a vip are answered; all other ICMP that is about no flow passes.

use std::net::{IpAddr, SocketAddr};

use lb_common::{Budgeted, PROTOCOL_UDP, reason::Reason, service::mode};
use lb_tests::{
    packet::{Extension, Packet, oracle},
    rig::Rig,
};
use lb_userspace::config::{PortRange, Vip};

use crate::scene::{FRONT, ROUTER, Scene};

fn ping(scene: &Scene) -> Packet {
    Packet::ping(scene.client.ip(), scene.vip.ip()).macs(ROUTER, FRONT)
}

/// What the client must get for its request.
fn reply(scene: &Scene, request: &Packet) -> Packet {
    let kind = if scene.client.is_ipv4() { 0 } else { 129 };
    request
        .clone()
        .from(scene.vip)
        .to(scene.client)
        .macs(FRONT, ROUTER)
        .icmp_kind(kind)
        .ttl(64)
}

#[track_caller]
fn answers(scene: &mut Scene, request: &Packet, reply: &Packet) {
    let outcome = scene.rig.send(request);
    outcome
        .transmitted_as(reply)
        .counts(&[Reason::IcmpEcho])
        .sound();
}

#[test]
fn requests_of_any_form_are_answered() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 11] = [
        ("as ping sends it", |p| p),
        ("no payload", |p| p.payload(&[])),
        ("odd length", |p| p.payload(b"odd")),
        ("full frame", |p| p.payload(&[0x5a; 1_400])),
        ("jumbo frame", |p| p.payload(&[0xa5; 3_000])),
        ("another identifier", |p| p.rest(0xbeef_0007)),
        ("traffic class", |p| p.tos(0xb9)),
        ("may be fragmented", |p| {
            p.dont_fragment(false).identification(0xffff)
        }),
        ("last hop", |p| p.ttl(1)),
        ("padded to the least frame", |p| {
            p.payload(&[]).padded_by(18)
        }),
        ("a long way", |p| p.ttl(255)),
    ];
    for mut scene in Scene::both() {
        for (name, make) in kinds {
            eprintln!("{name}");
            let request = make(ping(&scene));
            let reply = reply(&scene, &request);
            answers(&mut scene, &request, &reply);
        }
        // A label is of one direction.
        let request = ping(&scene).flow_label(7);
        let reply = reply(&scene, &request).flow_label(0);
        answers(&mut scene, &request, &reply);
    }
}

#[test]
fn options_and_extension_headers_are_left_out_of_the_reply() {
    for mut scene in Scene::both() {
        let plain = ping(&scene);
        let reply = reply(&scene, &plain);
        let extended = if scene.client.is_ipv4() {
            [1, 4, 10].map(|words| plain.clone().ip_options(words))
        } else {
            let hop = Extension::HopByHop { units: 1 };
            let long = Extension::Destination { units: 30 };
            [
                plain.clone().extension(hop),
                plain.clone().extension(long),
                plain.clone().extension(hop).extension(long),
            ]
        };
        for request in extended {
            answers(&mut scene, &request, &reply);
        }
    }
}

/// Identifiers of all values make checksums of all values; with the last ones, a sum carries over its
/// end. One request is of zeros alone but for its type, so that its reply's sum is 0.
#[test]
fn checksums_of_all_values_are_right() {
    for payload in [&[][..], b"odd", &[0; 32]] {
        for mut scene in Scene::both() {
            for identifier in 0..=u32::from(u16::MAX) {
                if identifier % 4_096 == 0 {
                    scene.rig.budget(Budgeted::Echo, 9_000);
                }
                let request = ping(&scene).rest(identifier << 16).payload(payload);
                let frame = scene.rig.forwarded(&request.build());
                let frame = frame.expect("it is answered");
                if let Err(defect) = oracle::check_icmp(&frame) {
                    panic!("identifier {identifier:#06x}: {defect}");
                }
            }
        }
    }
}

/// Nobody looked at the payload.
#[test]
fn a_wrong_checksum_stays_wrong() {
    for scene in Scene::both() {
        for error in [1, 0x0800, 0x8000, 0xfffe] {
            let request = ping(&scene).icmp_checksum_off_by(error);
            let frame = scene.rig.forwarded(&request.build());
            let frame = frame.expect("it is answered");
            assert!(oracle::check_icmp(&frame).is_err(), "off by {error:#06x}");
        }
    }
}

#[test]
fn addresses_of_all_vips_answer() {
    for mut scene in Scene::in_mode(mode::DSR) {
        // The last of them is a range of ports.
        let addresses: [IpAddr; 3] = if scene.client.is_ipv4() {
            ["203.0.113.11", "203.0.113.12", "203.0.113.13"]
        } else {
            ["2001:db8::11", "2001:db8::12", "2001:db8::13"]
        }
        .map(|text| text.parse().expect("an address"));
        scene.rig.vip(SocketAddr::new(addresses[0], 443), 0);
        scene.rig.over(PROTOCOL_UDP);
        scene.rig.vip(SocketAddr::new(addresses[1], 53), 0);
        let range = Vip {
            address: addresses[2],
            ports: PortRange::ALL,
        };
        scene.rig.vip_range(range, 0);
        for address in addresses {
            scene.vip = SocketAddr::new(address, 0);
            let request = ping(&scene);
            let reply = reply(&scene, &request);
            answers(&mut scene, &request, &reply);
        }
    }
}

/// It is the address that answers, not a backend.
#[test]
fn a_service_without_backends_answers_too() {
    for mut scene in Scene::both() {
        scene.rig.service(0, 0);
        let request = ping(&scene);
        let reply = reply(&scene, &request);
        answers(&mut scene, &request, &reply);
    }
}

#[test]
fn what_is_no_request_for_a_vip_passes_untouched() {
    for mut scene in Scene::both() {
        let (client, vip) = (scene.client.ip(), scene.vip.ip());
        let v4 = scene.client.is_ipv4();
        for to in [scene.stranger(), scene.snat, scene.backend(0).ip()] {
            let packet = Packet::ping(client, to);
            scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
        }
        let (request, errors) = if v4 {
            (8, &[3, 4, 11, 12][..])
        } else {
            (128, &[1, 2, 3, 4][..])
        };
        for kind in (0..=u8::MAX).filter(|kind| !errors.contains(kind)) {
            let code = u8::from(kind == request);
            let packet = Packet::icmp(client, vip, kind, code).payload(&[0; 64]);
            let outcome = scene.rig.send(&packet);
            outcome.passed_untouched(Reason::OtherProtocol);
        }
        // Of the other family.
        let protocol = if v4 { 58 } else { 1 };
        let packet = Packet::raw(client, vip, protocol, vec![request; 64]);
        let outcome = scene.rig.send(&packet);
        outcome.passed_untouched(Reason::OtherProtocol);
        // Where a lookup is called for, it finds nothing.
        scene.rig.admit_everything();
        let packet = Packet::ping(client, scene.stranger());
        scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
    }
}

#[test]
fn with_no_vip_nothing_is_answered() {
    let mut rig = Rig::load(lb_tests::rig::SIZES);
    for scene in Scene::both() {
        rig.send(&ping(&scene)).passed_untouched(Reason::NotOurs);
    }
}

#[test]
fn malformed_requests_pass_untouched() {
    for mut scene in Scene::both() {
        let mut packets = vec![
            ping(&scene).from(scene.vip),
            ping(&scene).macs(ROUTER, [0xff; 6]),
            ping(&scene).macs(ROUTER, [0x33, 0x33, 0, 0, 0, 1]),
        ];
        let sources = if scene.client.is_ipv4() {
            for error in [1, 0x0100, 0x8000] {
                packets.push(ping(&scene).ip_checksum_off_by(error));
                packets.push(ping(&scene).ip_options(10).ip_checksum_off_by(error));
            }
            &[
                "0.0.0.0",
                "0.1.2.3",
                "127.0.0.1",
                "224.0.0.1",
                "240.0.0.1",
                "255.255.255.255",
            ][..]
        } else {
            &["::", "::1", "ff02::1", "::ffff:198.51.100.7"][..]
        };
        packets.extend(sources.iter().map(|text| {
            let source: IpAddr = text.parse().expect("an address");
            ping(&scene).from(SocketAddr::new(source, 0))
        }));
        for packet in packets {
            let outcome = scene.rig.send(&packet);
            outcome.passed_untouched(Reason::IcmpMalformed);
        }
        // Next to those there are hosts.
        let hosts = if scene.client.is_ipv4() {
            &["1.0.0.0", "126.255.255.255", "128.0.0.1", "223.255.255.255"][..]
        } else {
            &["::2", "0:0:0:1::", "0:1::1", "fe80::1", "::fffe:0:1"][..]
        };
        for text in hosts {
            let source: IpAddr = text.parse().expect("an address");
            scene.client = SocketAddr::new(source, 0);
            let request = ping(&scene);
            let reply = reply(&scene, &request);
            answers(&mut scene, &request, &reply);
        }
    }
}

#[test]
fn requests_in_fragments_pass_untouched() {
    for mut scene in Scene::both() {
        let request = ping(&scene).payload(&[7; 1_000]);
        let outcome = scene.rig.send(&request.clone().fragment(0, true));
        outcome.passed_untouched(Reason::IcmpFragment);
        let outcome = scene.rig.send(&request.clone().fragment(1_000, false));
        outcome.passed_untouched(Reason::LaterFragment);
        let other = request.to(scene.stranger_at(0)).fragment(0, true);
        scene.rig.send(&other).passed_untouched(Reason::NotOurs);
    }
}

#[test]
fn requests_cut_short_pass_untouched() {
    for mut scene in Scene::both() {
        let request = ping(&scene).payload(&[]);
        let whole = request.build().len();
        for len in 14..whole {
            let outcome = scene.rig.send(&request.clone().cut_at(len));
            outcome.passed_untouched(Reason::Truncated);
        }
        // Headers that leave no room for the message's own.
        let mut frame = ping(&scene).build();
        if scene.client.is_ipv4() {
            frame[16..18].copy_from_slice(&27_u16.to_be_bytes());
        } else {
            frame[18..20].copy_from_slice(&7_u16.to_be_bytes());
        }
        let outcome = scene.rig.send_frame(&frame);
        outcome.passed_untouched(Reason::Truncated);
    }
}

#[test]
fn only_so_many_are_answered() {
    for mut scene in Scene::both() {
        let request = ping(&scene);
        let reply = reply(&scene, &request);
        scene.rig.budget(Budgeted::Echo, 2);
        for _ in 0..2 {
            answers(&mut scene, &request, &reply);
        }
        scene.rig.send(&request).dropped(Reason::IcmpLimited);
        // What would not be answered takes nothing of it.
        scene.rig.budget(Budgeted::Echo, 1);
        let other = request.clone().to(scene.stranger_at(0));
        scene.rig.send(&other).passed_untouched(Reason::NotOurs);
        answers(&mut scene, &request, &reply);
    }
}
