//! Mode `nat` from one address family to the other: headers are translated, in both directions.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    PROTOCOL_TCP, PROTOCOL_UDP,
    backend::{flows, state as backend_state},
    flow::state,
    reason::Reason,
    service::{mode, setting},
};
use lb_tests::{
    packet::{Extension, Packet, TcpOption, flag::*, oracle},
    rig::{Table, Verdict},
};

use crate::{
    resets::is_reset,
    scene::{BACK, BACKEND_ISN, CLIENT_ISN, FRONT, ROUTER, Scene, backend_mac},
};

/// The client's side of the scene is of one family, the backend's of the other.
pub struct Crossing {
    pub scene: Scene,
    snat: IpAddr,
    pub backend: SocketAddr,
}

impl Crossing {
    pub fn both(protocol: u8) -> [Self; 2] {
        let scenes = match protocol {
            PROTOCOL_UDP => Scene::over_udp(mode::NAT),
            _ => Scene::both(),
        };
        scenes.map(|mut scene| {
            let (snat, backend) = if scene.client.is_ipv4() {
                ("fd00::5", "[fd00::11]:8080")
            } else {
                ("10.0.0.5", "10.0.0.11:8080")
            };
            let snat: IpAddr = snat.parse().expect("an address");
            let backend: SocketAddr = backend.parse().expect("an address and port");
            scene.rig.snat(0, snat);
            scene.rig.change_settings(|s| s.flags |= setting::CROSSED);
            scene.rig.change_backend(0, |entry| {
                entry.address = lb_tests::rig::Rig::address_words(backend.ip());
                entry.version = if backend.is_ipv4() { 4 } else { 6 };
            });
            Self {
                scene,
                snat,
                backend,
            }
        })
    }

    /// Sends a client's packet; returns what the backend gets, which must be sound.
    #[track_caller]
    pub fn forth(&mut self, packet: &Packet) -> (SocketAddr, Vec<u8>) {
        let outcome = self.scene.rig.send(packet);
        outcome.verdict(Verdict::Tx).sound();
        let source = match oracle::check(&outcome.frame) {
            Ok(segment) => (segment.source, segment.destination),
            Err(_) => {
                let datagram = oracle::check_udp(&outcome.frame).expect("it is sound");
                (datagram.source, datagram.destination)
            }
        };
        assert_eq!((source.0.ip(), source.1), (self.snat, self.backend));
        (source.0, outcome.frame)
    }

    pub fn establish(&mut self) -> SocketAddr {
        let client = self.scene.client;
        let (local, _) = self.forth(&self.scene.syn(client));
        let syn_ack = self.by_backend(local).flags(SYN | ACK).seq(BACKEND_ISN);
        self.scene
            .rig
            .send(&syn_ack)
            .counts(&[])
            .verdict(Verdict::Tx);
        let ack = self.scene.ack(client);
        self.scene.rig.send(&ack).counts(&[Reason::FlowConfirmed]);
        local
    }

    pub fn by_backend(&self, local: SocketAddr) -> Packet {
        Packet::tcp(self.backend, local)
            .macs(backend_mac(0), BACK)
            .seq(BACKEND_ISN + 1)
            .ack(CLIENT_ISN + 1)
            .flags(ACK)
    }
}

/// The frame, with 0 for the identification that a small IPv4 packet gets by chance.
pub fn without_identification(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] {
        let checksum = u16::from_be_bytes([frame[24], frame[25]]);
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        // Taking a word out adds it to the complement's sum (RFC 1624).
        let sum = u32::from(checksum) + u32::from(id);
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[24..26].copy_from_slice(&(sum as u16).to_be_bytes());
        frame[18..20].fill(0);
    }
    frame
}

/// A frame is exactly this packet, but for a small one's identification.
#[track_caller]
fn is(frame: Vec<u8>, expected: &Packet) {
    let expected = expected.build();
    let text = lb_tests::packet::describe;
    let same = without_identification(frame.clone()) == without_identification(expected.clone());
    assert!(
        same,
        "is        {}\nshould be {}",
        text(&frame),
        text(&expected)
    );
}

#[test]
pub fn segments_are_translated_both_ways() {
    type Kind = (&'static str, usize, fn(Packet) -> Packet);
    let kinds: [Kind; 6] = [
        ("bare ack", 0, |p| p),
        ("data of odd length", 3, |p| p.payload(b"odd")),
        ("more than may be fragmented", 1_400, |p| {
            p.payload(&[0x5a; 1_400])
        }),
        ("more than one buffer holds", 8_900, |p| {
            p.payload(&[0x5a; 8_900])
        }),
        ("options", 0, |p| p.options(&TcpOption::of_data())),
        ("traffic class", 0, |p| p.tos(0xb9)),
    ];
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let local = crossing.establish();
        let (client, vip) = (crossing.scene.client, crossing.scene.vip);
        for (name, bytes, make) in kinds {
            eprintln!("{name}");
            let small = |p: Packet| p.dont_fragment(bytes > 1_240);
            let (_, frame) = crossing.forth(&make(crossing.scene.ack(client)));
            let expected = Packet::tcp(local, crossing.backend)
                .macs(BACK, backend_mac(0))
                .seq(CLIENT_ISN + 1)
                .ack(BACKEND_ISN + 1)
                .flags(ACK)
                .one_hop_less();
            is(frame, &small(make(expected)));
            let outcome = crossing.scene.rig.send(&make(crossing.by_backend(local)));
            let expected = Packet::tcp(vip, client)
                .macs(FRONT, ROUTER)
                .seq(BACKEND_ISN + 1)
                .ack(CLIENT_ISN + 1)
                .flags(ACK)
                .one_hop_less();
            is(
                outcome.verdict(Verdict::Tx).counts(&[]).frame.clone(),
                &small(make(expected)),
            );
        }
        let stats = crossing.scene.rig.stats(0);
        assert_eq!(
            (stats.flows, stats.packets_in, stats.packets_out),
            (1, 8, 7)
        );
    }
}

#[test]
fn options_and_extension_headers_stay_behind() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let local = crossing.establish();
        let more = [
            (1, Extension::Destination { units: 1 }),
            (10, Extension::HopByHop { units: 3 }),
        ];
        for (words, extension) in more {
            let packet = crossing.scene.ack(crossing.scene.client).payload(b"data");
            let (_, frame) = crossing.forth(&packet.ip_options(words).extension(extension));
            let expected = Packet::tcp(local, crossing.backend)
                .macs(BACK, backend_mac(0))
                .seq(CLIENT_ISN + 1)
                .ack(BACKEND_ISN + 1)
                .flags(ACK)
                .payload(b"data")
                .dont_fragment(false)
                .one_hop_less();
            is(frame, &expected);
        }
    }
}

#[test]
fn a_flow_lives_as_any_other() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let local = crossing.establish();
        let table: IpAddr = "::1".parse().expect("an address");
        let states = |crossing: &Crossing| -> Vec<&'static str> {
            let entries = crossing.scene.rig.entries(table, Table::Confirmed);
            entries
                .iter()
                .map(|entry| state::name(entry.state))
                .collect()
        };
        assert_eq!(states(&crossing), ["established"; 2]);
        let fin = crossing.scene.ack(crossing.scene.client).flags(FIN | ACK);
        crossing.forth(&fin);
        assert_eq!(states(&crossing), ["fin"; 2]);
        let fin = crossing.by_backend(local).flags(FIN | ACK);
        crossing.scene.rig.send(&fin).verdict(Verdict::Tx);
        assert_eq!(states(&crossing), ["closed"; 2]);
        // The next SYN opens a new one.
        let syn = crossing.scene.syn(crossing.scene.client);
        let counted = crossing.scene.rig.send(&syn).counted;
        assert!(counted.contains(&(Reason::FlowNew, 1)), "{counted:?}");
        assert_eq!(crossing.scene.rig.sweep(table, Table::HalfOpen).1, 0);
        assert_eq!(crossing.scene.rig.entries(table, Table::HalfOpen).len(), 2);
    }
}

#[test]
fn flows_of_a_dead_backend_are_reset_in_the_family_of_the_sender() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        crossing.establish();
        crossing.scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        let ack = crossing.scene.ack(crossing.scene.client);
        let outcome = crossing.scene.rig.send(&ack);
        is_reset(
            &outcome,
            &crossing.scene,
            Reason::BackendDown,
            (BACKEND_ISN + 1, 0, RST),
        );
    }
}

#[test]
fn what_cannot_go_on_opens_nothing() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let syn = crossing.scene.syn(crossing.scene.client);
        let dying = syn.clone().ttl(1);
        crossing.scene.rig.send(&dying).dropped(Reason::TtlExpired);
        let ack = crossing.scene.ack(crossing.scene.client);
        let outcome = crossing.scene.rig.send(&ack);
        outcome.counts(&[Reason::NoFlow]).verdict(Verdict::Tx);
        crossing
            .scene
            .rig
            .change_settings(|settings| settings.flags = 0);
        crossing.forth(&syn);
        // Only IPv4 packets would have to look elsewhere: without the setting they do not.
        let v4 = crossing.scene.client.is_ipv4();
        let outcome = crossing.scene.rig.send(&ack);
        assert_eq!(outcome.counted.contains(&(Reason::NoFlow, 1)), v4);
    }
    for mut crossing in Crossing::both(PROTOCOL_UDP) {
        let question = Packet::udp(crossing.scene.client, crossing.scene.vip).macs(ROUTER, FRONT);
        let outcome = crossing.scene.rig.send(&question);
        outcome.dropped(Reason::NoChecksum);
        crossing.forth(&question.udp_checksum());
    }
}

#[test]
pub fn datagrams_are_translated_both_ways() {
    for mut crossing in Crossing::both(PROTOCOL_UDP) {
        let (client, vip) = (crossing.scene.client, crossing.scene.vip);
        let question = Packet::udp(client, vip).macs(ROUTER, FRONT).udp_checksum();
        let (local, frame) = crossing.forth(&question);
        let expected = Packet::udp(local, crossing.backend)
            .macs(BACK, backend_mac(0))
            .udp_checksum()
            .dont_fragment(false)
            .one_hop_less();
        is(frame, &expected);
        let answer = Packet::udp(crossing.backend, local)
            .macs(backend_mac(0), BACK)
            .udp_checksum();
        let outcome = crossing.scene.rig.send(&answer);
        let expected = Packet::udp(vip, client)
            .macs(FRONT, ROUTER)
            .udp_checksum()
            .dont_fragment(false)
            .one_hop_less();
        is(outcome.verdict(Verdict::Tx).frame.clone(), &expected);
        crossing
            .scene
            .rig
            .send(&question)
            .counts(&[Reason::FlowConfirmed]);
    }
}

#[test]
fn with_the_next_hop_unknown_the_translated_packet_goes_to_the_kernel() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        crossing
            .scene
            .rig
            .change_backend(0, |backend| backend.ifindex = 0);
        let syn = crossing.scene.syn(crossing.scene.client);
        let outcome = crossing.scene.rig.send(&syn);
        outcome.verdict(Verdict::Pass).sound();
        let sent = outcome.segment();
        assert_eq!(sent.destination, crossing.backend);
        let expected = Packet::tcp(sent.source, crossing.backend)
            .macs(ROUTER, FRONT)
            .seq(CLIENT_ISN)
            .dont_fragment(false);
        is(outcome.frame, &expected);
    }
}

/// A translated fragment needs a header that the packet has no room for; and so for its datagram.
#[test]
fn fragments_between_the_families_are_dropped() {
    for mut crossing in Crossing::both(PROTOCOL_UDP) {
        let (client, vip) = (crossing.scene.client, crossing.scene.vip);
        let question = Packet::udp(client, vip).macs(ROUTER, FRONT).udp_checksum();
        let pieces = question.clone().payload(&[1; 200]).fragments(&[64]);
        for piece in &pieces {
            let outcome = crossing.scene.rig.send(piece);
            outcome.dropped(Reason::FragmentCrossed);
        }
        assert!(crossing.scene.rig.entry(client, vip).is_none());
        // Of a flow, too.
        let (local, _) = crossing.forth(&question);
        for piece in &pieces {
            let outcome = crossing.scene.rig.send(piece);
            outcome.dropped(Reason::FragmentCrossed);
        }
        let answer = Packet::udp(crossing.backend, local)
            .macs(backend_mac(0), BACK)
            .udp_checksum();
        let first = answer.payload(&[1; 200]).piece(0..64);
        let outcome = crossing.scene.rig.send(&first);
        outcome.dropped(Reason::FragmentCrossed);
    }
}

/// Replies to it could be of either flow: who comes second takes another port.
#[test]
fn a_source_port_is_free_only_if_it_is_in_both_tables() {
    const PORTS: std::ops::RangeInclusive<u16> = 2_000..=2_001;
    let [mut plain, _] = Scene::both();
    plain.rig.ports(PORTS);
    let connection = plain.establish(plain.client);
    let entry = plain.rig.entry(connection.backend, connection.local);
    let entry = entry.expect("a flow of IPv4");

    let [_, mut crossing] = Crossing::both(PROTOCOL_TCP);
    let scene = &mut crossing.scene;
    scene.rig.ports(PORTS);
    scene
        .rig
        .write_entry(connection.backend, connection.local, &entry);
    let (local, _) = crossing.forth(&crossing.scene.syn(crossing.scene.client));
    assert_ne!(local, connection.local);
    let scene = &mut crossing.scene;
    let syn = scene.syn(scene.other_client(1));
    scene.rig.send(&syn).dropped(Reason::PortsExhausted);

    // The other way round.
    let wide = |at: SocketAddr| match at.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
        IpAddr::V6(_) => at,
    };
    let entry = scene.rig.entry(wide(crossing.backend), wide(local));
    let entry = entry.expect("a flow between the families");
    let [mut plain, _] = Scene::both();
    plain.rig.ports(PORTS);
    plain.rig.change_settings(|s| s.flags |= setting::CROSSED);
    plain
        .rig
        .write_entry(wide(crossing.backend), wide(local), &entry);
    let connection = plain.open(plain.client);
    assert_ne!(connection.local, local);
    let syn = plain.syn(plain.other_client(1));
    plain.rig.send(&syn).dropped(Reason::PortsExhausted);
}
