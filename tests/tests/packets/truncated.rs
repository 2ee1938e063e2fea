//! Packets that are shorter than their headers say, or whose headers cannot be: those that are for a vip
//! by what can be read of them are dropped. The kernel judges the others, and sees every byte as it came.

use lb_common::reason::Reason;
use lb_tests::{
    packet::{ETHERNET_LEN, Extension, Packet, TcpOption, flag::*},
    rig::{Outcome, Verdict},
};

use crate::scene::Scene;

/// The kernel hands no frame to a program that is shorter than its Ethernet header.
const SHORTEST: usize = ETHERNET_LEN;

/// Bytes of a frame of the scene before its transport header, if nothing else stands between.
fn plain(scene: &Scene) -> usize {
    ETHERNET_LEN + if scene.client.is_ipv4() { 20 } else { 40 }
}

/// Sends every prefix of a packet, whose ports lie so many bytes behind the frame's start. Without them
/// nobody knows whose it is.
#[track_caller]
fn cut_everywhere(scene: &mut Scene, packet: &Packet, ports: usize) {
    for len in SHORTEST..packet.build().len() {
        let outcome = scene.rig.send(&packet.clone().cut_at(len));
        if len < ports + 4 {
            outcome.passed_untouched(Reason::Truncated);
        } else {
            outcome.dropped(Reason::BadLength);
        }
    }
}

/// The same for a packet that is nobody's here.
#[track_caller]
fn passes_however_short(scene: &mut Scene, packet: &Packet) {
    for len in SHORTEST..packet.build().len() {
        let outcome = scene.rig.send(&packet.clone().cut_at(len));
        outcome.passed_untouched(Reason::Truncated);
    }
}

/// For another address, and for another port of the vip's.
fn others(scene: &Scene, packet: &Packet) -> [Packet; 2] {
    let ends = [(scene.stranger(), 80), (scene.vip.ip(), 22)];
    ends.map(|to| packet.clone().to(to.into()))
}

/// Sends a packet whose lengths contradict one another, and its likes for others.
#[track_caller]
fn contradicts(scene: &mut Scene, packet: &Packet) {
    scene.rig.send(packet).dropped(Reason::BadLength);
    for other in others(scene, packet) {
        scene.rig.send(&other).passed_untouched(Reason::Truncated);
    }
}

#[test]
pub fn a_syn_cut_at_any_byte_of_its_headers_opens_nothing() {
    for mut scene in Scene::both() {
        let (syn, ports) = (scene.syn(scene.client), plain(&scene));
        cut_everywhere(&mut scene, &syn, ports);
        for other in others(&scene, &syn) {
            passes_however_short(&mut scene, &other);
        }
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    }
}

#[test]
fn a_syn_cut_at_any_byte_of_its_options_opens_nothing() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
        let ports = plain(&scene);
        cut_everywhere(&mut scene, &syn, ports);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    }
}

#[test]
fn ipv4_options_may_be_cut_at_any_byte() {
    let [mut scene, _] = Scene::both();
    let syn = scene.syn(scene.client).ip_options(10);
    let ports = plain(&scene) + 40;
    cut_everywhere(&mut scene, &syn, ports);
    // A source route is no way around that.
    let route = [&[1; 32][..], &[131, 7, 8, 10, 0, 0, 99]].concat();
    let routed = scene.syn(scene.client).ip_option_bytes(&route);
    cut_everywhere(&mut scene, &routed.payload(b"data"), ports);
}

#[test]
fn ipv6_extension_headers_may_be_cut_at_any_byte() {
    let [_, mut scene] = Scene::both();
    let syn = scene
        .syn(scene.client)
        .extension(Extension::HopByHop { units: 2 })
        .extension(Extension::Routing { segments_left: 0 })
        .extension(Extension::Destination { units: 1 });
    let ports = syn.build().len() - 20;
    cut_everywhere(&mut scene, &syn, ports);
}

#[test]
fn packets_of_a_flow_may_be_cut_at_any_byte() {
    for mut scene in Scene::both() {
        let ports = plain(&scene);
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            let packet = packet.options(&TcpOption::of_data()).payload(b"data");
            cut_everywhere(&mut scene, &packet, ports);
        }
    }
}

/// IP announces more than there is. A receiver drops such a packet (Linux counts
/// `InTruncatedPkts`), so it must neither open a flow nor be answered with a reset that
/// acknowledges bytes which never came.
#[test]
pub fn a_payload_cut_at_any_byte_is_no_packet() {
    for mut scene in Scene::both() {
        let ports = plain(&scene);
        for flags in [SYN, ACK, PSH | ACK, FIN | ACK] {
            let packet = scene
                .syn(scene.client)
                .flags(flags)
                .payload(b"some payload");
            cut_everywhere(&mut scene, &packet, ports);
        }
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            cut_everywhere(&mut scene, &packet.payload(b"some payload"), ports);
        }
    }
}

#[test]
fn a_tcp_header_is_not_shorter_than_one_can_be() {
    for mut scene in Scene::both() {
        for words in 0..5 {
            for flags in [SYN, ACK] {
                let packet = scene
                    .syn(scene.client)
                    .flags(flags)
                    .tcp_header_words(words)
                    .payload(b"payload");
                contradicts(&mut scene, &packet);
            }
        }
    }
}

#[test]
fn a_tcp_header_is_not_longer_than_its_packet() {
    for mut scene in Scene::both() {
        // 20 bytes of header and 8 of payload hold a header of 7 words at most. What lies behind
        // the IP packet is not its.
        for padding in [0, 64] {
            for words in 8..=15 {
                let packet = scene
                    .syn(scene.client)
                    .payload(&[1; 8])
                    .tcp_header_words(words)
                    .padded_by(padding);
                contradicts(&mut scene, &packet);
            }
        }
    }
}

/// Every length that IP could announce for a SYN which is shorter than its headers, with the rest
/// of the frame taken for padding.
#[test]
fn an_ip_length_does_not_end_within_the_headers() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client);
        let others = others(&scene, &syn);
        // IPv4 counts its own header, IPv6 does not.
        let (field, headers) = if scene.client.is_ipv4() {
            (16, 40_u16)
        } else {
            (18, 20)
        };
        for len in 0..headers {
            let mut with_length = |packet: &Packet| -> Outcome {
                let mut frame = packet.build();
                frame[field..field + 2].copy_from_slice(&len.to_be_bytes());
                scene.rig.send_frame(&frame)
            };
            with_length(&syn).dropped(Reason::BadLength);
            for other in &others {
                with_length(other).passed_untouched(Reason::Truncated);
            }
        }
    }
}

#[test]
fn an_impossible_version_or_header_length_is_no_packet_for_a_vip() {
    let [mut scene, _] = Scene::both();
    let syn = scene.syn(scene.client).payload(&[0; 64]);
    let other = syn.clone().to((scene.stranger(), 80).into()).build();
    let frame = syn.build();
    for first in 0..=255 {
        let (version, words) = (first >> 4, first & 0x0f);
        if version == 4 && words >= 5 {
            continue; // may be right
        }
        let mut begins_so = |frame: &[u8]| {
            let mut frame = frame.to_vec();
            frame[ETHERNET_LEN] = first;
            scene.rig.send_frame(&frame)
        };
        begins_so(&other).passed_untouched(Reason::Truncated);
        // Another version is another protocol, whose header nobody knows here.
        let outcome = begins_so(&frame);
        if version == 4 {
            outcome.dropped(Reason::BadLength);
        } else {
            outcome.passed_untouched(Reason::Truncated);
        }
    }
    let [_, mut scene] = Scene::both();
    let frame = scene.syn(scene.client).build();
    for version in (0..16).filter(|version| *version != 6) {
        let mut frame = frame.clone();
        frame[ETHERNET_LEN] = version << 4;
        scene
            .rig
            .send_frame(&frame)
            .passed_untouched(Reason::Truncated);
    }
}

/// More extension headers than are walked, and headers that are none: whatever the program makes
/// of them, it must not change them or give up on the packet.
#[test]
fn endless_extension_headers_pass_untouched() {
    let [_, mut scene] = Scene::both();
    for count in 5..=12 {
        let syn = (0..count).fold(scene.syn(scene.client), |syn, _| {
            syn.extension(Extension::Destination { units: 1 })
        });
        scene.rig.send(&syn).passed_untouched(Reason::OtherProtocol);
    }
}

/// A hop of a source route that is not the last: the address in the header is the router's, not
/// the packet's destination (RFC 8200, section 4.4), and the TCP checksum covers the latter.
#[test]
fn a_source_route_that_goes_on_passes_untouched() {
    let [_, mut scene] = Scene::both();
    for flags in [SYN, ACK] {
        let packet = scene
            .syn(scene.client)
            .flags(flags)
            .extension(Extension::Routing { segments_left: 1 });
        let outcome = scene.rig.send(&packet);
        outcome.verdict(Verdict::Pass);
        assert_eq!(outcome.frame, outcome.sent, "\n{outcome}");
    }
}
