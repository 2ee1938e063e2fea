//! Frames that lie in several buffers, as those of 9,000 bytes do: balanced like others as long as their
//! headers lie in the first, counted with all their bytes, answered without what they were.

use lb_common::{reason::Reason, service::mode};
use lb_tests::{
    packet::{Packet, flag::*},
    rig::in_buffers,
};

use crate::{
    crossed, dsr, established,
    resets::{self, is_reset},
    route,
    scene::{BACK, CLIENT_ISN, FRONT, ROUTER, Scene, backend_mac},
    truncated, tunnels, udp,
};

/// Bytes of an IP packet in a network of jumbo frames.
pub const MTU: usize = 9_000;

/// As much as a TCP segment can carry there.
fn full(scene: &Scene) -> Vec<u8> {
    let headers = if scene.client.is_ipv4() { 40 } else { 60 };
    (0..MTU - headers).map(|n| (n % 251) as u8).collect()
}

#[test]
fn segments_pass_both_ways_and_count_whole() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::in_mode(mode) {
            let connection = scene.establish(scene.client);
            let payload = full(&scene);
            let before = scene.rig.stats(0);
            for tags in [0, 1, 2] {
                let tagged = |packet: Packet| (0..tags).fold(packet, |p, n| p.vlan(7 + n));
                let forth = scene.by_client(&connection).payload(&payload);
                scene.client_sends(&connection, tagged(forth));
                let back = scene.by_backend(&connection).payload(&payload);
                scene.backend_sends(&connection, tagged(back));
            }
            let after = scene.rig.stats(0);
            let bytes = 3 * (14 + MTU as u64);
            assert_eq!(after.bytes_in - before.bytes_in, bytes);
            assert_eq!(after.bytes_out - before.bytes_out, bytes);
        }
    }
}

#[test]
fn a_syn_with_much_data_opens_a_flow() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client).payload(&full(&scene));
        let outcome = scene.rig.send(&syn);
        outcome.counts(&[Reason::FlowNew]).sound();
        let sent = outcome.segment();
        let connection = scene.connection(scene.client, sent.source, sent.destination);
        outcome.transmitted_as(&scene.as_backend_sees(&connection, syn));
    }
}

#[test]
fn one_way_it_goes_as_it_is() {
    for mut scene in Scene::in_mode(mode::DSR) {
        let payload = full(&scene);
        let packet = scene.syn(scene.client).payload(&payload);
        scene.passes_on(&packet, 0, &[Reason::FlowNew]);
        let packet = scene.ack(scene.client).payload(&payload);
        scene.passes_on(&packet, 0, &[Reason::FlowConfirmed]);
    }
}

#[test]
fn datagrams_pass() {
    for mut scene in Scene::over_udp(mode::DSR) {
        let packet = Packet::udp(scene.client, scene.vip)
            .macs(ROUTER, FRONT)
            .payload(&[3; 8_000])
            .udp_checksum();
        let expected = packet.clone().macs(BACK, backend_mac(0));
        scene.rig.send(&packet).transmitted_as(&expected);
    }
}

/// It quotes nothing, so that nothing of the buffers behind the first may be left.
#[test]
fn a_reset_answers_it_in_one_buffer() {
    for mut scene in Scene::both() {
        let payload = full(&scene);
        scene.rig.service(0, 0);
        let syn = scene.syn(scene.client).payload(&payload);
        let outcome = scene.rig.send(&syn);
        let next = CLIENT_ISN + 1 + payload.len() as u32;
        is_reset(&outcome, &scene, Reason::NoBackend, (0, next, RST | ACK));
        // Behind a short packet there may be as much.
        for padding in [3_000, 5_000, 8_000] {
            let padded = scene.syn(scene.client).padded_by(padding);
            let outcome = scene.rig.send(&padded);
            let next = CLIENT_ISN + 1;
            is_reset(&outcome, &scene, Reason::NoBackend, (0, next, RST | ACK));
        }
    }
}

#[test]
fn padding_in_further_buffers_goes_along() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        for padding in [3_500, 8_000] {
            let packet = scene.by_client(&connection).payload(b"short");
            scene.client_sends(&connection, packet.padded_by(padding));
        }
    }
}

#[test]
fn what_is_not_ours_passes_untouched() {
    for mut scene in Scene::both() {
        let payload = full(&scene);
        let other = std::net::SocketAddr::new(scene.stranger(), 80);
        for flags in [SYN, ACK] {
            let packet = scene.syn(scene.client).flags(flags).payload(&payload);
            let packet = packet.to(other);
            for packet in [
                packet.clone(),
                packet.clone().vlan(7),
                packet.vlan(7).vlan(8),
            ] {
                scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
            }
        }
    }
}

#[test]
fn one_that_is_cut_off_is_dropped() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let payload = full(&scene);
        for packet in [
            scene.syn(scene.other_client(1)).payload(&payload),
            scene.by_client(&connection).payload(&payload),
            scene.by_backend(&connection).payload(&payload),
        ] {
            for len in [1_000, 3_000, 4_096, 8_000, 9_000, 14 + MTU - 1] {
                let outcome = scene.rig.send(&packet.clone().cut_at(len));
                outcome.dropped(Reason::BadLength);
            }
        }
    }
}

/// Where a driver puts less than the headers into the first buffer, the packet is the kernel's.
#[test]
fn headers_in_a_further_buffer_pass_untouched() {
    for first in [14, 20, 33, 34, 40, 53] {
        in_buffers(first, || {
            for mut scene in Scene::both() {
                for packet in [
                    scene.syn(scene.client),
                    scene.ack(scene.client).payload(&[1; 1_000]),
                ] {
                    scene.rig.send(&packet).passed_untouched(Reason::Truncated);
                }
                let tagged = scene.syn(scene.client).vlan(7).vlan(8);
                let reason = if first < 22 {
                    Reason::NotIp
                } else {
                    Reason::Truncated
                };
                scene.rig.send(&tagged).passed_untouched(reason);
            }
        });
    }
}

/// Fixtures that know nothing of buffers: only what fits beside the headers lies in the first.
#[test]
fn what_holds_in_one_buffer_holds_in_several() {
    in_buffers(128, || {
        established::packets_pass_both_ways_as_they_are();
        established::each_packet_counts_for_its_backend();
        resets::a_packet_of_no_flow_is_answered_as_the_rfc_says();
        route::packets_pass_both_ways_with_the_clients_address();
        dsr::the_mac_addresses_alone_change();
        tunnels::packets_come_out_wrapped();
        tunnels::a_packet_may_fill_the_mtu_and_no_more();
        crossed::segments_are_translated_both_ways();
        truncated::a_payload_cut_at_any_byte_is_no_packet();
    });
    in_buffers(512, || {
        resets::the_reset_has_the_length_of_bare_headers_whatever_it_answers();
        udp::datagrams_pass_both_ways();
        tunnels::a_backend_behind_another_interface_gets_its_packets_redirected();
    });
}
