//! Fragments: only the first has ports. The others of its datagram follow it, whatever the mode and the
//! direction.

use std::net::SocketAddr;

use lb_common::{
    fragment::{LIFE_NS, MAX_DATAGRAMS},
    reason::Reason,
    service::mode,
};
use lb_tests::{
    packet::{Extension, Packet, flag::*, oracle},
    rig::{Outcome, Verdict},
};

use crate::{
    scene::{BACK, Connection, FRONT, ROUTER, Scene, backend_mac},
    tunnels::{Pipe, judged, with_each},
};

/// Where a datagram of 4,000 bytes is cut on links of 1,500.
pub const CUTS: [usize; 2] = [1_480, 2_960];
const LIFE_S: u64 = LIFE_NS / 1_000_000_000;
const MARGIN_S: u64 = 2;

/// A datagram too large for one packet; its bytes tell where they belong.
pub fn large(packet: Packet) -> Packet {
    let bytes: Vec<u8> = (0..4_000_u32).map(|at| (at / 8 % 251) as u8).collect();
    packet.payload(&bytes).udp_checksum()
}

pub fn question(scene: &Scene, client: SocketAddr) -> Packet {
    large(Packet::udp(client, scene.vip).macs(ROUTER, FRONT))
}

fn answer(connection: &Connection) -> Packet {
    let mac = backend_mac(connection.backend_idx);
    large(Packet::udp(connection.backend, connection.local).macs(mac, BACK))
}

/// A flow that is opened by a datagram in one piece.
#[track_caller]
fn open(scene: &mut Scene, client: SocketAddr) -> Connection {
    let packet = Packet::udp(client, scene.vip).macs(ROUTER, FRONT);
    let outcome = scene.rig.send(&packet);
    let (sent, _) = oracle::read_udp(&outcome.frame).unwrap_or_else(|e| panic!("{e}\n{outcome}"));
    let backend_idx = (0..10)
        .find(|idx| scene.backend(*idx) == sent.destination)
        .expect("it goes to a backend");
    Connection {
        client,
        local: sent.source,
        backend: sent.destination,
        backend_idx,
    }
}

/// The same by the scene's client.
#[track_caller]
fn open_by_client(scene: &mut Scene) -> Connection {
    let client = scene.client;
    open(scene, client)
}

/// The fragment becomes exactly this one, and exactly these are counted.
#[track_caller]
fn becomes(outcome: &Outcome, expected: &Packet, reasons: &[Reason]) {
    outcome.transmitted_as(expected).counts(reasons);
    if let Err(defect) = oracle::check_fragment(&outcome.frame) {
        panic!("{defect}\n{outcome}");
    }
}

/// Sends the fragments of a packet in this order, which must come out as those of `expected`; `opens`
/// are counted with the first of them.
#[track_caller]
fn follow(
    scene: &mut Scene,
    (packet, expected): (&Packet, &Packet),
    cuts: &[usize],
    order: &[usize],
    opens: &[Reason],
) {
    let (pieces, expected) = (packet.fragments(cuts), expected.fragments(cuts));
    for at in order {
        let outcome = scene.rig.send(&pieces[*at]);
        let counted = if *at == 0 { opens } else { &[] };
        becomes(&outcome, &expected[*at], counted);
    }
}

/// The kernel gets it, and its own rules hold from there.
#[track_caller]
pub fn left_to_the_kernel(scene: &mut Scene, packet: &Packet) {
    let outcome = scene.rig.send(packet);
    outcome.passed_untouched(Reason::LaterFragment);
}

#[test]
fn fragments_go_where_their_first_went_both_ways() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::over_udp(mode) {
            let connection = open_by_client(&mut scene);
            for (n, order) in (0..).zip([[0, 1, 2], [0, 2, 1]]) {
                let forth = question(&scene, scene.client).identification(n);
                let expected = scene.as_backend_sees(&connection, forth.clone());
                oracle::check_udp(&expected.build()).expect("the whole is right");
                let confirmed: &[Reason] = if n == 0 {
                    &[]
                } else {
                    &[Reason::FlowConfirmed]
                };
                follow(&mut scene, (&forth, &expected), &CUTS, &order, confirmed);

                let back = answer(&connection).identification(n);
                let expected = scene.as_client_sees(&connection, back.clone());
                oracle::check_udp(&expected.build()).expect("the whole is right");
                follow(&mut scene, (&back, &expected), &CUTS, &order, &[]);
            }
            let stats = scene.rig.stats(connection.backend_idx);
            assert_eq!(
                (stats.flows, stats.packets_in, stats.packets_out),
                (1, 1 + 6, 6)
            );
        }
    }
}

#[test]
fn a_flow_may_begin_with_a_fragment() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::over_udp(mode) {
            let packet = question(&scene, scene.client);
            let pieces = packet.fragments(&CUTS);
            let outcome = scene.rig.send(&pieces[0]);
            outcome.verdict(Verdict::Tx).counts(&[Reason::FlowNew]);
            let entry = (scene.rig.entry(scene.client, scene.vip)).expect("a flow");
            let whole = packet
                .from(entry.source)
                .to(entry.destination)
                .macs(BACK, backend_mac(0))
                .one_hop_less();
            let expected = whole.fragments(&CUTS);
            becomes_frame(&outcome, &expected[0]);
            for at in [2, 1] {
                becomes(&scene.rig.send(&pieces[at]), &expected[at], &[]);
            }
        }
    }
}

#[track_caller]
fn becomes_frame(outcome: &Outcome, expected: &Packet) {
    assert!(outcome.frame == expected.build(), "\n{outcome}");
}

#[test]
fn fragments_follow_in_mode_dsr() {
    for mut scene in Scene::over_udp(mode::DSR) {
        let packet = question(&scene, scene.client);
        let expected = packet.clone().macs(BACK, backend_mac(0));
        let order = [0, 2, 1];
        let both = (&packet, &expected);
        follow(&mut scene, both, &CUTS, &order, &[Reason::FlowNew]);
        follow(&mut scene, both, &CUTS, &order, &[Reason::FlowConfirmed]);
        follow(&mut scene, both, &CUTS, &order, &[]);
    }
}

#[test]
fn each_fragment_is_wrapped_by_itself() {
    with_each(|scene: &mut Scene, pipe: Pipe| {
        let packet = scene.ack(scene.client).payload(&[0x5a; 2_000]);
        for (at, piece) in (0..).zip(packet.fragments(&[800, 1_600])) {
            let outcome = scene.rig.send(&piece);
            let expected = pipe.wrapped(scene, piece, 0);
            let reasons: &[Reason] = if at == 0 { &[Reason::FlowNew] } else { &[] };
            outcome.transmitted_as(&expected).counts(reasons);
            judged(&outcome);
        }
        // Too long for the way once it is wrapped.
        scene.rig.tunnel(0, pipe.tunnel_of(800));
        let later = packet.piece(800..1_600);
        scene.rig.send(&later).dropped(Reason::TooBig);
    });
}

#[test]
fn segments_of_tcp_are_followed_too() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::in_mode(mode) {
            let connection = scene.establish(scene.client);
            let forth = scene.by_client(&connection).payload(&[7; 1_000]);
            let expected = scene.as_backend_sees(&connection, forth.clone());
            follow(&mut scene, (&forth, &expected), &[24, 512], &[0, 1, 2], &[]);
            let back = scene.by_backend(&connection).payload(&[7; 1_000]);
            let expected = scene.as_client_sees(&connection, back.clone());
            follow(&mut scene, (&back, &expected), &[24, 512], &[0, 2, 1], &[]);
        }
    }
}

/// The flags of a first fragment count; what follows only keeps the flow alive.
#[test]
fn a_first_fragments_flags_count() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let packet = scene.by_client(&connection).flags(ACK | FIN);
        let [first, later]: [Packet; 2] = (packet.payload(&[0; 100]).fragments(&[64]))
            .try_into()
            .expect("two fragments");
        scene.rig.send(&first).verdict(Verdict::Tx);
        assert_eq!(scene.state(&connection).map(|(_, name)| name), Some("fin"));
        scene.age(&connection, 100);
        let before = scene.rig.entry(connection.client, scene.vip);
        scene.rig.send(&later).verdict(Verdict::Tx);
        let after = scene.rig.entry(connection.client, scene.vip);
        let seen = |entry: Option<lb_tests::rig::Entry>| entry.expect("a flow").last_seen_ns;
        assert!(seen(after) > seen(before), "the fragment keeps it");
        assert_eq!(scene.state(&connection).map(|(_, name)| name), Some("fin"));
    }
}

#[test]
fn ip_options_and_extension_headers_travel_in_each() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let connection = open_by_client(&mut scene);
        let packet = question(&scene, scene.client)
            .ip_options(2)
            .extension(Extension::HopByHop { units: 1 });
        let expected = scene.as_backend_sees(&connection, packet.clone());
        follow(&mut scene, (&packet, &expected), &CUTS, &[0, 2, 1], &[]);
    }
}

/// A fragment header without others to come (RFC 6946): all ports are there.
#[test]
fn a_datagram_in_one_fragment_is_whole() {
    let [_, mut scene] = Scene::both();
    let syn = scene.syn(scene.client).fragment(0, false);
    let outcome = scene.rig.send(&syn);
    outcome.verdict(Verdict::Tx).counts(&[Reason::FlowNew]);
    assert_eq!(scene.rig.fragmented(scene.client.ip()), 0);
    let short = scene.syn(scene.client).payload(&[0; 8]).tcp_header_words(8);
    let outcome = scene.rig.send(&short.fragment(0, false));
    outcome.dropped(Reason::BadLength);
}

#[test]
fn the_same_identification_of_two_clients_is_two_datagrams() {
    for mut scene in Scene::over_udp(mode::NAT) {
        scene.add_backend(1);
        let mut pieces = Vec::new();
        for n in 0..8 {
            scene.rig.ring(0, |_| u32::from(n) % 2);
            let client = scene.other_client(n);
            let connection = open(&mut scene, client);
            let packet = question(&scene, client).identification(7);
            let expected = scene.as_backend_sees(&connection, packet.clone());
            pieces.push((packet.fragments(&CUTS), expected.fragments(&CUTS)));
        }
        for at in [0, 2, 1] {
            for (sent, expected) in &pieces {
                becomes(&scene.rig.send(&sent[at]), &expected[at], &[]);
            }
        }
    }
}

/// The latest first fragment has it.
#[test]
fn an_identification_may_come_again() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let other = SocketAddr::new(scene.client.ip(), scene.client.port() + 1);
        for client in [scene.client, other, scene.client] {
            let connection = open(&mut scene, client);
            let packet = question(&scene, client).identification(7);
            let expected = scene.as_backend_sees(&connection, packet.clone());
            let (pieces, expected) = (packet.fragments(&CUTS), expected.fragments(&CUTS));
            for at in [0, 1, 2] {
                let outcome = scene.rig.send(&pieces[at]);
                becomes_frame(&outcome, &expected[at]);
            }
        }
        assert_eq!(scene.rig.fragmented(scene.client.ip()), 1);
    }
}

#[test]
fn a_first_fragment_is_forgotten_after_its_life() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let connection = open_by_client(&mut scene);
        let packet = question(&scene, scene.client);
        let expected = scene.as_backend_sees(&connection, packet.clone());
        let (pieces, expected) = (packet.fragments(&CUTS), expected.fragments(&CUTS));
        scene.rig.send(&pieces[0]).verdict(Verdict::Tx);
        scene
            .rig
            .age_fragments(scene.client.ip(), LIFE_S - MARGIN_S);
        becomes(&scene.rig.send(&pieces[1]), &expected[1], &[]);
        scene.rig.age_fragments(scene.client.ip(), 2 * MARGIN_S);
        left_to_the_kernel(&mut scene, &pieces[2]);
        // Its identification is free again.
        becomes(&scene.rig.send(&pieces[0]), &expected[0], &[]);
        becomes(&scene.rig.send(&pieces[2]), &expected[2], &[]);
    }
}

/// Nothing is held back until its first comes.
#[test]
fn a_fragment_before_its_first_is_left_to_the_kernel() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let connection = open_by_client(&mut scene);
        for packet in [question(&scene, scene.client), answer(&connection)] {
            let pieces = packet.fragments(&CUTS);
            left_to_the_kernel(&mut scene, &pieces[1]);
            scene.rig.send(&pieces[0]).verdict(Verdict::Tx);
            scene.rig.send(&pieces[2]).verdict(Verdict::Tx);
        }
    }
}

/// Ten times as many datagrams as are remembered, all in the making.
#[test]
fn a_flood_of_first_fragments_harms_no_flow() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let client = scene.stranger_at(999);
        let connection = open(&mut scene, client);
        let small = Packet::udp(client, scene.vip)
            .macs(ROUTER, FRONT)
            .udp_checksum();
        for n in 0..(10 * MAX_DATAGRAMS) {
            let from = scene.other_client((n / 4) as u16);
            let first = Packet::udp(from, scene.vip)
                .macs(ROUTER, FRONT)
                .identification((n % 65_536) as u16)
                .payload(&[0; 32])
                .udp_length(1_000)
                .fragment(0, true);
            assert_eq!(scene.rig.fire(&first.build()), Verdict::Tx, "number {n}");
            if n % 5_000 == 0 {
                scene.backend_sends(&connection, answer_of(&connection));
                scene.client_sends(&connection, small.clone());
            }
        }
        scene.rig.newly_counted();
        let remembered = scene.rig.fragmented(client.ip());
        assert!(remembered <= MAX_DATAGRAMS as usize, "{remembered}");
        let packet = question(&scene, client);
        let expected = scene.as_backend_sees(&connection, packet.clone());
        follow(&mut scene, (&packet, &expected), &CUTS, &[0, 2, 1], &[]);
    }
}

fn answer_of(connection: &Connection) -> Packet {
    Packet::udp(connection.backend, connection.local)
        .macs(backend_mac(connection.backend_idx), BACK)
        .udp_checksum()
}
