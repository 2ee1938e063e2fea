//! IPv4 options and IPv6 extension headers: what is for a vip keeps them, or is left to the kernel; what is
//! not for a vip passes, whatever they are.

use std::net::SocketAddr;

use lb_common::{reason::Reason, service::mode};
use lb_tests::{
    packet::{Extension, Packet, flag::*, protocol},
    rig::{Outcome, Verdict},
};

use crate::{
    scene::{BACK, Scene, backend_mac},
    tunnels::{Pipe, judged, with_each},
};

/// Options of IPv4 that say nothing about the way.
const HARMLESS: [(&str, &[u8]); 8] = [
    ("none but the end", &[0]),
    ("no operation", &[1, 1, 1, 1]),
    ("router alert (RFC 2113)", &[148, 4, 0, 0]),
    ("record route", &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("timestamp", &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("an unknown one", &[30, 3, 0, 1]),
    ("a source route behind the end", &[0, 131, 3, 4]),
    (
        "one of no length, and what cannot be read",
        &[30, 0, 131, 7],
    ),
];

/// Source routes (RFC 791, section 3.1), to be followed or at their end.
fn source_routes() -> Vec<Vec<u8>> {
    let mut routes = Vec::new();
    for kind in [131, 137] {
        for pointer in [4, 8] {
            let route = [kind, 7, pointer, 10, 0, 0, 99];
            routes.push(route.to_vec());
            let behind = |first: &[u8]| [first, &route].concat();
            routes.push(behind(&[1; 33]));
            routes.push(behind(&[148, 4, 0, 0]));
            routes.push(behind(
                &[30, 33].into_iter().chain([0; 31]).collect::<Vec<u8>>(),
            ));
        }
        // Cut off by the header's end.
        routes.push([&[1; 39][..], &[kind]].concat());
    }
    routes
}

fn v4(mode: u8) -> Scene {
    let [scene, _] = Scene::in_mode(mode);
    scene
}

fn v6() -> Scene {
    let [_, scene] = Scene::both();
    scene
}

/// Whom packets are for that are for no vip.
fn others(scene: &Scene) -> [SocketAddr; 3] {
    [
        SocketAddr::new(scene.stranger(), 80),
        SocketAddr::new(scene.vip.ip(), 22),
        SocketAddr::new(scene.snat, 2_000),
    ]
}

#[track_caller]
fn untouched(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome}");
    assert!(outcome.frame == outcome.sent, "{outcome}");
}

#[test]
fn ipv4_options_travel_both_ways() {
    for mode in [mode::NAT, mode::ROUTE] {
        let mut scene = v4(mode);
        let connection = scene.establish(scene.client);
        for (name, options) in HARMLESS {
            eprintln!("{name}");
            let forth = scene.by_client(&connection).payload(b"data");
            scene.client_sends(&connection, forth.ip_option_bytes(options));
            let back = scene.by_backend(&connection).payload(b"data");
            scene.backend_sends(&connection, back.ip_option_bytes(options));
        }
    }
}

#[test]
fn packets_with_ipv4_options_open_flows() {
    for mode in [mode::NAT, mode::ROUTE, mode::DSR] {
        let mut scene = v4(mode);
        for (n, (name, options)) in (0..).zip(HARMLESS) {
            eprintln!("{name}");
            let syn = scene.syn(scene.other_client(n)).ip_option_bytes(options);
            let outcome = scene.rig.send(&syn);
            outcome.counts(&[Reason::FlowNew]).verdict(Verdict::Tx);
            if mode == mode::DSR {
                outcome.transmitted_as(&syn.macs(BACK, backend_mac(0)));
            } else {
                outcome.segment();
            }
        }
    }
}

#[test]
fn ipv4_options_travel_inside_tunnels() {
    with_each(|scene: &mut Scene, pipe: Pipe| {
        if scene.client.is_ipv6() {
            return;
        }
        for (_, options) in HARMLESS {
            let packet = scene.ack(scene.client).ip_option_bytes(options);
            let outcome = scene.rig.send(&packet);
            outcome.transmitted_as(&pipe.wrapped(scene, packet, 0));
            judged(&outcome);
        }
    });
}

#[test]
fn a_source_route_to_a_vip_is_dropped() {
    for mode in [mode::NAT, mode::ROUTE, mode::DSR] {
        let mut scene = v4(mode);
        for (n, route) in (0..).zip(source_routes()) {
            let client = scene.other_client(n);
            for packet in [scene.syn(client), scene.ack(client)] {
                let packet = packet.ip_option_bytes(&route);
                scene.rig.send(&packet).dropped(Reason::SourceRouted);
            }
            assert_eq!(scene.rig.entry(client, scene.vip), None);
            if mode == mode::DSR {
                continue;
            }
            let connection = scene.establish(client);
            for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
                let packet = packet.ip_option_bytes(&route);
                scene.rig.send(&packet).dropped(Reason::SourceRouted);
            }
        }
    }
}

#[test]
fn a_source_route_to_others_passes_untouched() {
    let mut scene = v4(mode::NAT);
    for route in source_routes() {
        for to in others(&scene) {
            for packet in [
                Packet::tcp(scene.client, to).flags(SYN),
                Packet::udp(scene.client, to),
            ] {
                let packet = packet.ip_option_bytes(&route);
                scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
            }
        }
        let (from, to) = (scene.client.ip(), scene.vip.ip());
        let ping = Packet::ping(from, to).ip_option_bytes(&route);
        untouched(&scene.rig.send(&ping));
    }
}

#[test]
fn ipv4_options_for_others_pass_untouched() {
    let mut scene = v4(mode::NAT);
    for (_, options) in HARMLESS {
        for to in others(&scene) {
            let packet = scene.syn(scene.client).to(to).ip_option_bytes(options);
            scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
        }
    }
}

/// Nobody can read these, wherever they go.
#[test]
fn hidden_and_unknown_headers_pass_untouched() {
    const ESP: u8 = 50;
    const MOBILITY: u8 = 135;
    const HOST_IDENTITY: u8 = 139;
    const SHIM: u8 = 140;
    const NONE: u8 = 59;
    let mut scene = v6();
    let addresses = [scene.vip.ip(), scene.stranger(), scene.snat];
    for to in addresses {
        for number in [ESP, MOBILITY, HOST_IDENTITY, SHIM, NONE, 253, 254, 255] {
            let packet = Packet::raw(scene.client.ip(), to, number, vec![0; 64]);
            let outcome = scene.rig.send(&packet);
            outcome.passed_untouched(Reason::OtherProtocol);
            let behind = packet.extension(Extension::HopByHop { units: 1 });
            let outcome = scene.rig.send(&behind);
            outcome.passed_untouched(Reason::OtherProtocol);
        }
        // A TCP segment behind an authentication header.
        let segment = scene.syn(scene.client).build()[54..].to_vec();
        let mut bytes = vec![protocol::TCP, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        bytes.resize(24, 0);
        bytes.extend(segment);
        let packet = Packet::raw(scene.client.ip(), to, protocol::AUTHENTICATION, bytes);
        let outcome = scene.rig.send(&packet);
        outcome.passed_untouched(Reason::OtherProtocol);
    }
}

#[test]
fn extension_headers_for_others_pass_untouched() {
    let chains: [&[Extension]; 5] = [
        &[Extension::HopByHop { units: 1 }],
        &[Extension::HopByHop { units: 255 }],
        &[Extension::Routing { segments_left: 0 }],
        &[Extension::Routing { segments_left: 3 }],
        &[
            Extension::HopByHop { units: 2 },
            Extension::Destination { units: 1 },
            Extension::Routing { segments_left: 0 },
            Extension::Destination { units: 9 },
        ],
    ];
    let mut scene = v6();
    for to in others(&scene) {
        for chain in chains {
            let packet = (chain.iter()).fold(scene.syn(scene.client).to(to), |packet, header| {
                packet.extension(*header)
            });
            let outcome = scene.rig.send(&packet);
            outcome.passed_untouched(Reason::NotOurs);
            let whole = packet.build().len();
            for length in 14..whole {
                untouched(&scene.rig.send(&packet.clone().cut_at(length)));
            }
        }
        for count in 5..=9 {
            let packet = (0..count).fold(scene.syn(scene.client).to(to), |packet, _| {
                packet.extension(Extension::Destination { units: 1 })
            });
            let outcome = scene.rig.send(&packet);
            outcome.passed_untouched(Reason::OtherProtocol);
        }
    }
}

/// The IP header announces nothing, and an option announces it all (RFC 2675), for packets that are larger
/// than any frame.
#[test]
fn jumbograms_are_not_balanced() {
    let mut scene = v6();
    for to in [scene.vip, SocketAddr::new(scene.stranger(), 80)] {
        let packet = scene.syn(scene.client).to(to).payload(&[0; 500]);
        let mut frame = packet.extension(Extension::HopByHop { units: 1 }).build();
        frame[18..20].fill(0);
        frame[56..62].copy_from_slice(&[0xc2, 4, 0, 1, 0, 0]);
        let outcome = scene.rig.send_frame(&frame);
        if to == scene.vip {
            outcome.dropped(Reason::BadLength);
        } else {
            outcome.passed_untouched(Reason::Truncated);
        }
    }
}
