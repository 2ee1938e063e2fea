//! VLAN tags: a frame with one or two is balanced as it would be without, and keeps them, whatever
//! becomes of it.

use lb_common::reason::Reason;
use lb_tests::{
    packet::{Tag, ethertype, flag::*},
    rig::wearing,
};

use crate::{
    backends, crossed, dsr, established, fragments_astray, handshake, new_flows, not_ours, resets,
    route,
    scene::{FRONT, Scene},
    truncated, tunnels, udp,
};

const VLAN_7: Tag = (ethertype::VLAN, 7);
/// Priority 5, drop eligible, the last VLAN.
const VLAN_4094: Tag = (ethertype::VLAN, 5 << 13 | 1 << 12 | 4_094);
/// Of no VLAN: it tells a priority alone.
const PRIORITY: Tag = (ethertype::VLAN, 6 << 13);
const PROVIDER: Tag = (ethertype::SERVICE_VLAN, 100);

/// Every kind of one and two tags.
const STACKS: [&[Tag]; 7] = [
    &[VLAN_7],
    &[PRIORITY],
    &[PROVIDER],
    &[PROVIDER, VLAN_4094],
    &[VLAN_4094, VLAN_7],
    &[VLAN_7, PROVIDER],
    &[PROVIDER, PRIORITY],
];

#[test]
fn a_connection_keeps_its_tags_in_both_directions() {
    for mut scene in Scene::both() {
        for (n, tags) in (0..).zip(STACKS) {
            let client = scene.other_client(n);
            // Its SYN is tagged too; the flow is the same with and without.
            let syn = scene.syn(client).tagged(tags);
            let outcome = scene.rig.send(&syn);
            outcome.counts(&[Reason::FlowNew]);
            let sent = outcome.segment();
            let connection = scene.connection(client, sent.source, sent.destination);
            let expected = scene.as_backend_sees(&connection, syn);
            outcome.transmitted_as(&expected).sound();

            scene.backend_sends(&connection, scene.syn_ack(&connection).tagged(tags));
            let ack = scene.by_client(&connection).tagged(tags);
            let outcome = scene.rig.send(&ack);
            let expected = scene.as_backend_sees(&connection, ack.clone());
            outcome.transmitted_as(&expected);
            outcome.counts(&[Reason::FlowConfirmed]).sound();
            for payload in [&[][..], b"odd", &[0x5a; 1_400]] {
                scene.client_sends(&connection, ack.clone().payload(payload));
                let back = scene.by_backend(&connection).tagged(tags);
                scene.backend_sends(&connection, back.payload(payload));
            }
            // And it goes on without.
            scene.client_sends(&connection, scene.by_client(&connection));
            scene.backend_sends(&connection, scene.by_backend(&connection));
        }
    }
}

#[test]
fn a_reset_has_the_tags_of_what_it_answers() {
    for mut scene in Scene::both() {
        for tags in STACKS {
            let stray = scene.ack(scene.client).payload(b"data");
            let outcome = scene.rig.send(&stray.clone().tagged(tags));
            let plain = scene.rig.send(&stray).frame;
            outcome.counts(&[Reason::NoFlow]).sound();
            let (macs, behind) = plain.split_at(12);
            let mut expected = macs.to_vec();
            for (kind, number) in tags {
                expected.extend(kind.to_be_bytes());
                expected.extend(number.to_be_bytes());
            }
            expected.extend(behind);
            assert_eq!(outcome.frame, expected, "\n{outcome}");
        }
    }
}

/// Of a frame for a vip: cut at any byte from the MAC addresses to the end of its headers.
#[test]
fn a_tagged_frame_that_is_cut_off_opens_nothing() {
    for mut scene in Scene::both() {
        for tags in STACKS {
            let syn = scene.syn(scene.client).tagged(tags);
            let behind_tags = 14 + 4 * tags.len();
            let whole = syn.build().len();
            for len in 14..whole {
                let outcome = scene.rig.send(&syn.clone().cut_at(len));
                if len < behind_tags {
                    outcome.passed_untouched(Reason::NotIp);
                } else if len < whole - 20 + 4 {
                    outcome.passed_untouched(Reason::Truncated);
                } else {
                    outcome.dropped(Reason::BadLength);
                }
            }
        }
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    }
}

#[test]
fn three_tags_pass_untouched() {
    for mut scene in Scene::both() {
        for tags in STACKS {
            let more = [tags, &[VLAN_7, VLAN_4094]].concat();
            for flags in [SYN, ACK] {
                let packet = scene.syn(scene.client).flags(flags).tagged(&more);
                scene.rig.send(&packet).passed_untouched(Reason::NotIp);
            }
        }
    }
}

/// What hides behind a tag that is none of ours, or behind one that is no IP.
#[test]
fn other_protocols_behind_tags_pass_untouched() {
    for mut scene in Scene::both() {
        for tags in STACKS {
            let frame = scene.syn(scene.client).tagged(tags).build();
            let behind = 12 + 4 * tags.len();
            for kind in [0, ethertype::ARP, 0x8863, 0x8847, 0x9100, 0xffff] {
                let mut frame = frame.clone();
                frame[behind..behind + 2].copy_from_slice(&kind.to_be_bytes());
                scene.rig.send_frame(&frame).passed_untouched(Reason::NotIp);
            }
            let mut frame = frame.clone();
            frame[12..14].copy_from_slice(&0x9100_u16.to_be_bytes());
            scene.rig.send_frame(&frame).passed_untouched(Reason::NotIp);
        }
    }
}

/// The next hop toward the client is learned from tagged frames as from others.
#[test]
fn a_tagged_client_is_answered_by_its_router() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let moved = scene
            .by_client(&connection)
            .macs(lb_tests::packet::mac(77), FRONT)
            .vlan(7);
        scene.rig.send(&moved);
        let syn_ack = scene.syn_ack(&connection).vlan(7);
        let expected = scene
            .as_client_sees(&connection, syn_ack.clone())
            .macs(FRONT, lb_tests::packet::mac(77));
        let outcome = scene.rig.send(&syn_ack);
        outcome.transmitted_as(&expected).sound();
    }
}

/// Fixtures that know nothing of tags, with tags on every frame.
#[test]
fn what_holds_without_tags_holds_with_one() {
    wearing(&[VLAN_7], all);
}

#[test]
fn what_holds_without_tags_holds_with_two() {
    wearing(&[PROVIDER, VLAN_4094], all);
}

/// Fixtures in which each packet is one of its own.
pub fn all() {
    established::packets_pass_both_ways_as_they_are();
    established::ipv4_options_pass_untouched();
    established::ipv6_extension_headers_pass_untouched();
    established::each_packet_counts_for_its_backend();
    established::replies_follow_the_client_to_another_interface();
    handshake::the_clients_ack_of_the_syn_ack_confirms();
    new_flows::a_syn_reaches_the_backend_from_an_address_of_ours();
    resets::a_packet_of_no_flow_is_answered_as_the_rfc_says();
    resets::the_reset_has_the_length_of_bare_headers_whatever_it_answers();
    resets::flows_of_a_dead_backend_are_reset_from_either_side();
    udp::datagrams_pass_both_ways();
    udp::without_a_backend_datagrams_are_dropped();
    route::packets_pass_both_ways_with_the_clients_address();
    dsr::the_mac_addresses_alone_change();
    tunnels::packets_come_out_wrapped();
    tunnels::a_packet_may_fill_the_mtu_and_no_more();
    tunnels::with_the_next_hop_unknown_the_wrapped_packet_goes_to_the_kernel();
    tunnels::a_backend_behind_another_interface_gets_its_packets_redirected();
    crossed::segments_are_translated_both_ways();
    crossed::datagrams_are_translated_both_ways();
    backends::a_backend_behind_another_interface_gets_its_packets_redirected();
    backends::with_the_next_hop_unknown_the_rewritten_packet_goes_to_the_kernel();
    not_ours::packets_for_others_pass_untouched();
    not_ours::arp_passes_untouched();
    not_ours::no_other_ethertype_is_taken_for_ip();
    truncated::a_syn_cut_at_any_byte_of_its_headers_opens_nothing();
    truncated::a_payload_cut_at_any_byte_is_no_packet();
    fragments_astray::later_fragments_pass_untouched();
    fragments_astray::fragments_for_others_pass_untouched();
}
