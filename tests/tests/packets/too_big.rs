//! A packet that does not fit its way is answered with ICMP fragmentation needed or packet too big, from its
//! own destination to its sender, with the MTU that such packets may have; what may be fragmented is left
//! to the kernel. No frame leaves that the link cannot carry.

use std::net::IpAddr;

use lb_common::{Budgeted, PROTOCOL_TCP, reason::Reason, service::mode};
use lb_tests::{
    packet::{ETHERNET_LEN, Packet},
    rig::{INGRESS, Verdict},
};

use crate::{
    crossed::Crossing,
    own_errors::{answers, own, own_like, too_big, with_addresses},
    scene::{Scene, backend_mac},
    tunnels::{self, establish, with_each, wraps},
};

/// Interfaces other than that by which packets come in.
const NARROW: u32 = 7;
const WIDE_MTU: u32 = 3_000;
const NARROW_MTU: u32 = 1_400;

/// Headers of a segment without options.
fn headers(client: IpAddr) -> usize {
    if client.is_ipv4() { 40 } else { 60 }
}

/// This packet with a payload that gives it so many bytes from the IP header on.
fn sized(packet: Packet, client: IpAddr, bytes: u32) -> Packet {
    packet.payload(&vec![0x5a; bytes as usize - headers(client)])
}

/// The scene in each family and in this mode, its backend beyond a narrow link.
fn narrow(mode: u8) -> [Scene; 2] {
    Scene::in_mode(mode).map(|mut scene| {
        with_addresses(&mut scene, WIDE_MTU);
        scene.rig.interface(NARROW, NARROW_MTU, &[]);
        scene
            .rig
            .change_backend(0, |backend| backend.ifindex = NARROW);
        scene
    })
}

/// The vip tells the client that its packets may have so many bytes.
#[track_caller]
fn is_told(scene: &mut Scene, packet: &Packet, mtu: u32) {
    let (vip, client) = (scene.vip.ip(), scene.client.ip());
    let icmp = too_big(client, mtu);
    answers(scene, packet, (vip, client), icmp, Reason::PacketTooBig);
}

#[test]
fn in_a_tunnel_the_client_learns_what_fits_inside() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let client = scene.client.ip();
        let room = tunnels::MTU - pipe.overhead();
        let exact = sized(scene.ack(scene.client), client, room);
        wraps(scene, pipe, exact, &[]);
        let received = scene.rig.stats(0);
        for bytes in [room + 1, room + 2, room + 3, room + 4, room + 1_000] {
            let packet = sized(scene.ack(scene.client), client, bytes);
            is_told(scene, &packet, room);
            is_told(scene, &packet.padded_by(5), room);
        }
        assert_eq!(scene.rig.stats(0), received, "the backend got none of them");
        // What may be fragmented gets no exception.
        let packet = sized(scene.ack(scene.client), client, room + 1);
        is_told(scene, &packet.dont_fragment(false), room);
    });
}

#[test]
fn in_a_tunnel_a_packet_that_opens_a_flow_is_no_exception() {
    with_each(|scene, pipe| {
        let room = tunnels::MTU - pipe.overhead();
        let packet = sized(scene.syn(scene.client), scene.client.ip(), room + 1);
        is_told(scene, &packet, room);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None, "no flow");
    });
}

/// IPv6 has no smaller packets than 1,280 bytes for the path's sake: those that do not fit even so are
/// dropped, and others learn that.
#[test]
fn less_than_the_least_mtu_of_the_family_is_told_to_nobody() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let least = if scene.client.is_ipv4() { 68 } else { 1_280 };
        let mut tunnel = pipe.tunnel();
        tunnel.mtu = 60;
        scene.rig.tunnel(0, tunnel);
        let client = scene.client.ip();
        let packet = sized(scene.ack(scene.client), client, least + 1);
        is_told(scene, &packet, least);
        let packet = sized(scene.ack(scene.client), client, least);
        scene.rig.send(&packet).dropped(Reason::TooBig);
    });
}

#[test]
fn toward_a_narrow_link_the_client_is_told() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in narrow(mode) {
            let client = scene.client;
            // While the flow is opened, ...
            let syn = sized(scene.syn(client), client.ip(), NARROW_MTU + 1);
            is_told(&mut scene, &syn, NARROW_MTU);
            assert_eq!(scene.rig.entry(client, scene.vip), None, "no flow");
            // ... and when it is.
            let connection = establish_redirected(&mut scene);
            for bytes in [NARROW_MTU + 1, NARROW_MTU + 6, WIDE_MTU] {
                let packet = sized(scene.by_client(&connection), client.ip(), bytes);
                is_told(&mut scene, &packet, NARROW_MTU);
            }
            let exact = sized(scene.by_client(&connection), client.ip(), NARROW_MTU);
            let expected = scene.as_backend_sees(&connection, exact.clone());
            scene.rig.send(&exact).redirected_as(&expected).sound();
        }
    }
}

fn establish_redirected(scene: &mut Scene) -> crate::scene::Connection {
    let client = scene.client;
    let outcome = scene.rig.send(&scene.syn(client));
    let sent = outcome.verdict(Verdict::Redirect).segment();
    let connection = crate::scene::Connection {
        client,
        local: sent.source,
        backend: sent.destination,
        backend_idx: 0,
    };
    let syn_ack = scene.syn_ack(&connection);
    scene.rig.send(&syn_ack).verdict(Verdict::Tx);
    let ack = scene.by_client(&connection);
    let confirmed = [Reason::FlowConfirmed];
    scene
        .rig
        .send(&ack)
        .counts(&confirmed)
        .verdict(Verdict::Redirect);
    connection
}

/// In mode `nat` the address that the backend knows speaks, in mode `route` we do: the client did not send it.
#[test]
fn toward_a_narrow_client_the_backend_is_told() {
    for (mode, from_own) in [(mode::NAT, false), (mode::ROUTE, true)] {
        for mut scene in Scene::in_mode(mode) {
            let connection = scene.establish(scene.client);
            with_addresses(&mut scene, NARROW_MTU);
            let (local, backend) = (connection.local.ip(), connection.backend.ip());
            let source = if from_own { own_like(local) } else { local };
            let packet = sized(scene.by_backend(&connection), local, NARROW_MTU + 1);
            let icmp = too_big(local, NARROW_MTU);
            answers(
                &mut scene,
                &packet,
                (source, backend),
                icmp,
                Reason::PacketTooBig,
            );
            let exact = sized(scene.by_backend(&connection), local, NARROW_MTU);
            scene.backend_sends(&connection, exact);
        }
    }
}

#[test]
fn what_may_be_fragmented_goes_to_the_kernel_rewritten() {
    for mode in [mode::NAT, mode::ROUTE] {
        let [mut scene, _] = narrow(mode);
        let connection = establish_redirected(&mut scene);
        let client = connection.client.ip();
        let packet = sized(scene.by_client(&connection), client, NARROW_MTU + 1)
            .dont_fragment(false)
            .identification(7);
        // The kernel takes the hop off, and finds the way.
        let expected = packet.clone().from(connection.local).to(connection.backend);
        let outcome = scene.rig.send(&packet);
        outcome
            .passed_as(&expected)
            .counts(&[Reason::ToFragment])
            .sound();

        scene.rig.interface(INGRESS, NARROW_MTU, &own());
        let packet = sized(scene.by_backend(&connection), client, NARROW_MTU + 1)
            .dont_fragment(false)
            .identification(7);
        let expected = packet.clone().from(scene.vip).to(connection.client);
        let outcome = scene.rig.send(&packet);
        outcome
            .passed_as(&expected)
            .counts(&[Reason::ToFragment])
            .sound();
    }
}

#[test]
fn a_datagram_that_opens_a_flow_may_be_fragmented_too() {
    let [mut scene, _] = Scene::over_udp(mode::NAT);
    scene.rig.interface(INGRESS, NARROW_MTU, &own());
    let datagram = Packet::udp(scene.client, scene.vip)
        .payload(&[7; NARROW_MTU as usize])
        .dont_fragment(false);
    let outcome = scene.rig.send(&datagram);
    outcome
        .verdict(Verdict::Pass)
        .counts(&[Reason::FlowNew, Reason::ToFragment])
        .sound();
}

/// There the kernel would not send it to the backend.
#[test]
fn in_mode_dsr_all_are_told() {
    for mut scene in narrow(mode::DSR) {
        let client = scene.client;
        let small = scene.syn(client);
        let outcome = scene.rig.send(&small);
        outcome.redirected_as(&small.clone().macs(crate::scene::BACK, backend_mac(0)));
        // Of a flow, and of none.
        for from in [client, scene.other_client(9)] {
            for forbidden in [true, false] {
                let packet = sized(scene.ack(from), from.ip(), NARROW_MTU + 1);
                let packet = packet.dont_fragment(forbidden);
                let ends = (scene.vip.ip(), from.ip());
                let icmp = too_big(from.ip(), NARROW_MTU);
                answers(&mut scene, &packet, ends, icmp, Reason::PacketTooBig);
            }
        }
    }
}

/// Toward IPv6 a packet grows by 20 bytes, toward IPv4 it shrinks.
#[test]
fn between_the_families_the_difference_of_headers_counts() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let local = crossing.establish();
        let scene = &mut crossing.scene;
        with_addresses(scene, NARROW_MTU);
        let (client, vip) = (scene.client.ip(), scene.vip.ip());
        let forth_room = if client.is_ipv4() {
            NARROW_MTU - 20
        } else {
            NARROW_MTU + 20
        };
        let forth = |scene: &Scene, bytes| sized(scene.ack(scene.client), client, bytes);
        let packet = forth(scene, forth_room + 1);
        is_told(scene, &packet, forth_room);
        let opens = sized(scene.syn(scene.other_client(3)), client, forth_room + 1);
        let ends = (vip, scene.other_client(3).ip());
        let icmp = too_big(client, forth_room);
        answers(scene, &opens, ends, icmp, Reason::PacketTooBig);
        let exact = forth(scene, forth_room);
        let (_, frame) = crossing.forth(&exact);
        assert_eq!(frame.len(), ETHERNET_LEN + NARROW_MTU as usize);

        let back_room = 2 * NARROW_MTU - forth_room;
        let (local, backend) = (local, crossing.backend);
        let packet = sized(crossing.by_backend(local), backend.ip(), back_room + 1);
        let icmp = too_big(backend.ip(), back_room);
        answers(
            &mut crossing.scene,
            &packet,
            (local.ip(), backend.ip()),
            icmp,
            Reason::PacketTooBig,
        );
        let exact = sized(crossing.by_backend(local), backend.ip(), back_room);
        let outcome = crossing.scene.rig.send(&exact);
        outcome.verdict(Verdict::Tx).sound();
        assert_eq!(outcome.frame.len(), ETHERNET_LEN + NARROW_MTU as usize);
    }
}

/// Bytes behind the packet can make a frame too long that the link could carry without them.
#[test]
fn a_frame_that_is_too_long_by_its_padding_alone_is_dropped() {
    for mut scene in narrow(mode::NAT) {
        let connection = establish_redirected(&mut scene);
        let client = connection.client.ip();
        let packet = sized(scene.by_client(&connection), client, NARROW_MTU);
        let padded = packet.padded_by(9);
        scene.rig.send(&padded).dropped(Reason::TooBig);
    }
}

#[test]
fn no_more_are_told_than_the_budget_has() {
    for mut scene in narrow(mode::NAT) {
        scene.rig.budget(Budgeted::TooBig, 0);
        let client = scene.client;
        let packet = sized(scene.syn(client), client.ip(), NARROW_MTU + 1);
        scene.rig.send(&packet).dropped(Reason::IcmpLimited);
        scene.rig.budget(Budgeted::TooBig, 1);
        is_told(&mut scene, &packet, NARROW_MTU);
    }
}

/// Of an interface that is not known, nothing is known that would speak against it.
#[test]
fn a_way_that_is_not_known_is_not_too_narrow() {
    for mut scene in narrow(mode::NAT) {
        let connection = establish_redirected(&mut scene);
        let client = connection.client.ip();
        let packet = sized(scene.by_client(&connection), client, WIDE_MTU);
        for (ifindex, verdict) in [(9, Verdict::Redirect), (0, Verdict::Pass)] {
            scene
                .rig
                .change_backend(0, |backend| backend.ifindex = ifindex);
            scene.rig.send(&packet).verdict(verdict);
        }
    }
}
