//! Packets that are shorter than their headers say, or whose headers cannot be: the kernel judges
//! them, and sees every byte as it came.

use lb_common::reason::Reason;
use lb_tests::{
    packet::{ETHERNET_LEN, Extension, Packet, TcpOption, flag::*},
    rig::Verdict,
};

use crate::scene::Scene;

/// The kernel hands no frame to a program that is shorter than its Ethernet header.
const SHORTEST: usize = ETHERNET_LEN;

/// Sends every prefix of a packet that reaches a byte of its headers.
#[track_caller]
fn cut_everywhere(scene: &mut Scene, packet: &Packet, payload: usize) {
    let whole = packet.build();
    for len in SHORTEST..whole.len() - payload {
        let outcome = scene.rig.send(&packet.clone().cut_at(len));
        outcome
            .passed_untouched(Reason::Truncated)
            .verdict(Verdict::Pass);
    }
}

#[test]
pub fn a_syn_cut_at_any_byte_of_its_headers_passes_untouched() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client);
        cut_everywhere(&mut scene, &syn, 0);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    }
}

#[test]
fn a_syn_cut_at_any_byte_of_its_options_passes_untouched() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
        cut_everywhere(&mut scene, &syn, 0);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    }
}

#[test]
fn ipv4_options_cut_at_any_byte_pass_untouched() {
    let [mut scene, _] = Scene::both();
    let syn = scene.syn(scene.client).ip_options(10);
    cut_everywhere(&mut scene, &syn, 0);
}

#[test]
fn ipv6_extension_headers_cut_at_any_byte_pass_untouched() {
    let [_, mut scene] = Scene::both();
    let syn = scene
        .syn(scene.client)
        .extension(Extension::HopByHop { units: 2 })
        .extension(Extension::Routing { segments_left: 0 })
        .extension(Extension::Destination { units: 1 });
    cut_everywhere(&mut scene, &syn, 0);
}

#[test]
fn packets_of_a_flow_cut_at_any_byte_of_their_headers_pass_untouched() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            let packet = packet.options(&TcpOption::of_data()).payload(b"data");
            cut_everywhere(&mut scene, &packet, 4);
        }
    }
}

/// IP announces more than there is. A receiver drops such a packet (Linux counts
/// `InTruncatedPkts`), so it must neither open a flow nor be answered with a reset that
/// acknowledges bytes which never came.
#[test]
pub fn a_payload_cut_at_any_byte_passes_untouched() {
    for mut scene in Scene::both() {
        for flags in [SYN, ACK, PSH, FIN] {
            let packet = scene
                .syn(scene.client)
                .flags(flags)
                .payload(b"some payload");
            cut_everywhere(&mut scene, &packet, 0);
        }
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            cut_everywhere(&mut scene, &packet.payload(b"some payload"), 0);
        }
    }
}

#[test]
fn a_tcp_header_shorter_than_one_can_be_passes_untouched() {
    for mut scene in Scene::both() {
        for words in 0..5 {
            for flags in [SYN, ACK] {
                let packet = scene
                    .syn(scene.client)
                    .flags(flags)
                    .tcp_header_words(words)
                    .payload(b"payload");
                scene.rig.send(&packet).passed_untouched(Reason::Truncated);
            }
        }
    }
}

#[test]
fn a_tcp_header_longer_than_its_packet_passes_untouched() {
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
                scene.rig.send(&packet).passed_untouched(Reason::Truncated);
            }
        }
    }
}

/// Every length that IP could announce for a SYN which is shorter than its headers, with the rest
/// of the frame taken for padding.
#[test]
fn an_ip_length_that_ends_within_the_headers_passes_untouched() {
    for mut scene in Scene::both() {
        let frame = scene.syn(scene.client).build();
        // IPv4 counts its own header, IPv6 does not.
        let (field, headers) = if scene.client.is_ipv4() {
            (16, 40_u16)
        } else {
            (18, 20)
        };
        for len in 0..headers {
            let mut frame = frame.clone();
            frame[field..field + 2].copy_from_slice(&len.to_be_bytes());
            scene
                .rig
                .send_frame(&frame)
                .passed_untouched(Reason::Truncated);
        }
    }
}

#[test]
fn an_impossible_version_or_header_length_passes_untouched() {
    let [mut scene, _] = Scene::both();
    let frame = scene.syn(scene.client).payload(&[0; 64]).build();
    for first in 0..=255 {
        let (version, words) = (first >> 4, first & 0x0f);
        if version == 4 && words >= 5 {
            continue; // may be right
        }
        let mut frame = frame.clone();
        frame[ETHERNET_LEN] = first;
        scene
            .rig
            .send_frame(&frame)
            .passed_untouched(Reason::Truncated);
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
