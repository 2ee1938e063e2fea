//! UDP: what is rewritten, what opens and confirms a flow, and where its datagrams go when a backend
//! dies.

use std::net::SocketAddr;

use lb_common::{
    Budgeted,
    backend::{flows, state as backend_state},
    reason::Reason,
    service::mode,
};
use lb_tests::{
    packet::{Extension, Packet, flag::SYN, oracle},
    rig::Table,
};

use crate::{
    aged::{ESTABLISHED_S, HALF_OPEN_S, MARGIN_S, TIMEOUTS},
    scene::{BACK, Connection, FRONT, ROUTER, Scene, backend_mac},
};

const HALF_OPEN: Option<(Table, &str)> = Some((Table::HalfOpen, "half_open"));
/// The backend answered: of TCP it would have sent its SYN-ACK.
const ANSWERED: Option<(Table, &str)> = Some((Table::HalfOpen, "syn_acked"));
const ESTABLISHED: Option<(Table, &str)> = Some((Table::Confirmed, "established"));

fn question(scene: &Scene, client: SocketAddr) -> Packet {
    Packet::udp(client, scene.vip)
        .macs(ROUTER, FRONT)
        .udp_checksum()
}

fn answer(connection: &Connection) -> Packet {
    Packet::udp(connection.backend, connection.local)
        .macs(backend_mac(connection.backend_idx), BACK)
        .udp_checksum()
}

/// Sends a client's first datagram.
#[track_caller]
fn open(scene: &mut Scene, client: SocketAddr) -> Connection {
    let outcome = scene.rig.send(&question(scene, client));
    assert!(
        outcome.counted.contains(&(Reason::FlowNew, 1)),
        "a new flow\n{outcome}"
    );
    let sent = oracle::check_udp(&outcome.frame).unwrap_or_else(|e| panic!("{e}\n{outcome}"));
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

#[track_caller]
fn answered(scene: &mut Scene, client: SocketAddr) -> Connection {
    let connection = open(scene, client);
    scene.backend_sends(&connection, answer(&connection));
    connection
}

#[track_caller]
fn establish(scene: &mut Scene, client: SocketAddr) -> Connection {
    let connection = answered(scene, client);
    let outcome = scene.rig.send(&question(scene, client));
    outcome.counts(&[Reason::FlowConfirmed]);
    connection
}

/// The datagram becomes exactly this one, and nothing is counted but these.
#[track_caller]
fn becomes(scene: &mut Scene, packet: &Packet, expected: &Packet, reasons: &[Reason]) {
    let outcome = scene.rig.send(packet);
    outcome.transmitted_as(expected).counts(reasons);
}

#[test]
pub fn datagrams_pass_both_ways() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 7] = [
        ("a few bytes", |p| p),
        ("none", |p| p.payload(b"")),
        ("an odd number", |p| p.payload(b"odd")),
        ("a full frame", |p| p.payload(&[0x5a; 1_400])),
        ("traffic class and label", |p| p.tos(0xb9).flow_label(7)),
        ("padded to the least frame", |p| p.padded_by(6)),
        ("extension headers", |p| {
            p.ip_options(1)
                .extension(Extension::Destination { units: 1 })
        }),
    ];
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::over_udp(mode) {
            let client = scene.client;
            let connection = establish(&mut scene, client);
            assert_eq!(connection.local == connection.client, mode == mode::ROUTE);
            for (name, make) in kinds {
                eprintln!("{name}");
                let forth = make(question(&scene, scene.client));
                let expected = scene.as_backend_sees(&connection, forth.clone());
                becomes(&mut scene, &forth, &expected, &[]);
                let back = make(answer(&connection));
                let expected = scene.as_client_sees(&connection, back.clone());
                becomes(&mut scene, &back, &expected, &[]);
            }
        }
    }
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let client = scene.client;
        let connection = establish(&mut scene, client);
        let forth = Packet::udp(connection.client, scene.vip).macs(ROUTER, FRONT);
        let expected = scene.as_backend_sees(&connection, forth.clone());
        becomes(&mut scene, &forth, &expected, &[]);
    }
}

/// The checksum after the rewrite comes out as 0 for one of all values of two bytes.
#[test]
fn a_checksum_that_comes_out_as_zero_is_sent_as_its_other_form() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let client = scene.client;
        let connection = establish(&mut scene, client);
        let (packet, expected) = (0..=u16::MAX)
            .map(|word| {
                let packet = question(&scene, scene.client).payload(&word.to_be_bytes());
                let expected = scene.as_backend_sees(&connection, packet.clone());
                (packet, expected)
            })
            .find(|(_, expected)| {
                let sent = oracle::check_udp(&expected.build());
                sent.expect("it is right").checksum == 0xffff
            })
            .expect("every checksum is some word's");
        becomes(&mut scene, &packet, &expected, &[]);
        // And a wrong one stays wrong by as much.
        let wrong = packet.udp_checksum_off_by(1);
        let expected = expected.udp_checksum_off_by(1);
        becomes(&mut scene, &wrong, &expected, &[]);
    }
}

#[test]
fn an_answer_and_the_next_question_confirm() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::over_udp(mode) {
            let client = scene.client;
            let connection = open(&mut scene, client);
            for _ in 0..3 {
                scene.client_sends(&connection, question(&scene, client));
                assert_eq!(scene.state(&connection), HALF_OPEN);
            }
            for _ in 0..3 {
                scene.backend_sends(&connection, answer(&connection));
                assert_eq!(scene.state(&connection), ANSWERED);
            }
            let next = question(&scene, client);
            scene.rig.send(&next).counts(&[Reason::FlowConfirmed]);
            assert_eq!(scene.state(&connection), ESTABLISHED);
            let stats = scene.rig.stats(0);
            assert_eq!(
                (stats.flows, stats.packets_in, stats.packets_out),
                (1, 5, 3)
            );
        }
    }
}

/// Nothing proves that a datagram comes from where it says.
#[test]
fn flows_are_confirmed_within_a_budget() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let client = scene.client;
        let connection = answered(&mut scene, client);
        scene.rig.budget(Budgeted::UnprovenFlow, 0);
        let next = question(&scene, connection.client);
        scene.rig.send(&next).counts(&[]);
        assert_eq!(scene.state(&connection), ANSWERED);
        scene.rig.budget(Budgeted::UnprovenFlow, 1);
        let next = question(&scene, connection.client);
        scene.rig.send(&next).counts(&[Reason::FlowConfirmed]);
    }
}

#[test]
fn the_second_datagram_confirms_where_answers_are_not_seen() {
    for mut scene in Scene::over_udp(mode::DSR) {
        let client = scene.client;
        let packet = question(&scene, client);
        scene.passes_on(&packet, 0, &[Reason::FlowNew]);
        assert_eq!(scene.one_way_state(client), HALF_OPEN);
        scene.passes_on(&packet, 0, &[Reason::FlowConfirmed]);
        assert_eq!(scene.one_way_state(client), ESTABLISHED);
        scene.passes_on(&packet, 0, &[]);
        // It stays, though new ones go elsewhere.
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        scene.passes_on(&packet, 0, &[]);
        let other = question(&scene, scene.other_client(1));
        scene.passes_on(&other, 1, &[Reason::FlowNew]);
    }
}

#[test]
fn an_idle_flow_is_over() {
    for mut scene in Scene::over_udp(mode::NAT) {
        scene
            .rig
            .change_service(0, |service| service.timeouts = TIMEOUTS);
        let family = scene.client.ip();
        let [one, other] = [1, 2].map(|n| scene.other_client(n));
        let half_open = answered(&mut scene, one);
        let confirmed = establish(&mut scene, other);
        scene.age(&half_open, HALF_OPEN_S - MARGIN_S);
        scene.age(&confirmed, ESTABLISHED_S - MARGIN_S);
        assert_eq!(scene.rig.sweep(family, Table::HalfOpen).1, 0);
        assert_eq!(scene.rig.sweep(family, Table::Confirmed).1, 0);
        scene.age(&half_open, 2 * MARGIN_S);
        scene.age(&confirmed, 2 * MARGIN_S);
        // Nobody has swept yet, and the datagram opens a flow anew.
        let again = question(&scene, half_open.client);
        let counted = scene.rig.send(&again).counted;
        assert!(counted.contains(&(Reason::FlowNew, 1)), "{counted:?}");
        scene.rig.sweep(family, Table::Confirmed);
        assert_eq!(scene.state(&confirmed), None);
    }
}

#[test]
fn flows_of_a_dead_backend_move_at_once() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in Scene::over_udp(mode) {
            let [young, old] = [1, 2].map(|n| scene.other_client(n));
            let young = answered(&mut scene, young);
            let old = establish(&mut scene, old);
            scene.add_backend(1);
            scene.rig.ring(0, |_| 1);
            scene.rig.change_backend(0, |backend| {
                backend.state = backend_state::DOWN;
                backend.flows = flows::RESET;
            });
            for connection in [young, old] {
                // What it sent before it died still arrives.
                scene.backend_sends(&connection, answer(&connection));
                let moved = open(&mut scene, connection.client);
                assert_eq!(moved.backend_idx, 1);
                scene.backend_sends(&moved, answer(&moved));
            }
        }
    }
    for mut scene in Scene::over_udp(mode::DSR) {
        let packet = question(&scene, scene.client);
        scene.passes_on(&packet, 0, &[Reason::FlowNew]);
        scene.passes_on(&packet, 0, &[Reason::FlowConfirmed]);
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        scene.passes_on(&packet, 1, &[Reason::FlowNew]);
    }
}

#[test]
pub fn without_a_backend_datagrams_are_dropped() {
    for mode in [mode::NAT, mode::ROUTE, mode::DSR] {
        for mut scene in Scene::over_udp(mode) {
            scene.rig.change_service(0, |service| service.eligible = 0);
            let packet = question(&scene, scene.client);
            scene.rig.send(&packet).dropped(Reason::Unanswered);
        }
    }
}

/// RFC 768 lets nothing be read from these.
#[test]
fn lengths_that_contradict_one_another_open_nothing() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let sound = question(&scene, scene.client).payload(&[1; 20]);
        for length in [0, 7, 29, u16::MAX] {
            let packet = sound.clone().udp_length(length);
            scene.rig.send(&packet).dropped(Reason::BadLength);
        }
        let whole = question(&scene, scene.client);
        let header = if scene.client.is_ipv4() { 34 } else { 54 };
        scene
            .rig
            .send(&whole.clone().cut_at(header + 7))
            .dropped(Reason::BadLength);
        let cut = whole.cut_at(header + 3);
        scene.rig.send(&cut).passed_untouched(Reason::Truncated);
        let outcome = scene.rig.send(&sound.udp_length(28));
        outcome.counts(&[Reason::FlowNew]);
    }
}

#[test]
fn a_vip_of_udp_takes_no_tcp() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let syn = scene.syn(scene.client).flags(SYN);
        scene.rig.send(&syn).passed_untouched(Reason::NotOurs);
    }
}

/// A question without an answer may still get one; what was answered and is quiet is over sooner.
#[test]
fn ports_of_answered_questions_are_given_out_again_first() {
    const PORTS: u16 = 40;
    for mut scene in Scene::over_udp(mode::NAT) {
        scene.rig.ports(2_000..=2_000 + PORTS - 1);
        let mut over = Vec::new();
        for n in 0..PORTS {
            let client = scene.other_client(n);
            if n % 2 == 0 {
                over.push(answered(&mut scene, client));
            } else {
                let unanswered = open(&mut scene, client);
                scene.age(&unanswered, 2);
            }
        }
        let next = question(&scene, scene.other_client(PORTS));
        scene.rig.send(&next);
        for connection in &over {
            if scene.rig.entry(connection.client, scene.vip).is_some() {
                scene.age(connection, 2);
            }
        }
        for n in 0..10 {
            let client = scene.other_client(100 + n);
            let taken = open(&mut scene, client);
            let had = over.iter().any(|before| before.local == taken.local);
            assert!(had, "{} was still waiting for an answer", taken.local);
            scene.backend_sends(&taken, answer(&taken));
        }
    }
}
