//! ICMP errors about balanced flows reach whom they concern, and tell of packets that the receiver knows.

use std::net::{IpAddr, SocketAddr};

use lb_common::{PROTOCOL_TCP, PROTOCOL_UDP, reason::Reason, service::mode};
use lb_tests::{
    packet::{Extension, Packet, TcpOption, flag::*, oracle},
    rig::{Table, Verdict},
};

use crate::scene::{BACK, Connection, FRONT, ROUTER, Scene, backend_mac};

/// All of a quoted packet.
pub const WHOLE: usize = usize::MAX;

/// Types and codes of errors, and what the four bytes behind the checksum may say.
fn kinds(v4: bool) -> Vec<(u8, u8, u32)> {
    if v4 {
        let unreachable = (0..=15).map(|code| (3, code, if code == 4 { 1_400 } else { 0 }));
        let others = [(4, 0, 0), (11, 0, 0), (11, 1, 0), (12, 0, 0x0800_0000)];
        unreachable.chain(others).collect()
    } else {
        let unreachable = (0..=6).map(|code| (1, code, 0));
        let others = [
            (2, 0, 1_280),
            (3, 0, 0),
            (3, 1, 0),
            (4, 0, 40),
            (4, 1, 6),
            (4, 2, 0),
        ];
        unreachable.chain(others).collect()
    }
}

/// Bytes of the IP header.
pub fn header(v4: bool) -> usize {
    if v4 { 20 } else { 40 }
}

/// An error that `sender` sends about a packet which it got, quoting this much of it.
pub fn error(sender: IpAddr, quoted: &Packet, to: IpAddr, bytes: usize) -> Packet {
    let kind = if sender.is_ipv4() { 3 } else { 1 };
    Packet::icmp(sender, to, kind, 1).quoting(quoted, bytes)
}

/// A flow, and what its ends know of a packet in either direction.
pub struct Told {
    pub scene: Scene,
    pub connection: Connection,
    protocol: u8,
}

impl Told {
    pub fn all(protocol: u8, mode: u8) -> [Self; 2] {
        let scenes = match protocol {
            PROTOCOL_UDP => Scene::over_udp(mode),
            _ => Scene::in_mode(mode),
        };
        scenes.map(|mut scene| {
            let connection = match protocol {
                PROTOCOL_UDP => ask(&mut scene),
                _ => scene.establish(scene.client),
            };
            Self {
                scene,
                connection,
                protocol,
            }
        })
    }

    pub fn v4(&self) -> bool {
        self.scene.client.is_ipv4()
    }

    pub fn packet(&self, from: SocketAddr, to: SocketAddr) -> Packet {
        let packet = match self.protocol {
            PROTOCOL_UDP => Packet::udp(from, to).udp_checksum(),
            _ => Packet::tcp(from, to).seq(77).ack(78).flags(ACK | PSH),
        };
        packet.ttl(50).payload(b"what was sent")
    }

    /// A packet of the backend, as the client got it and as the backend sent it.
    pub fn to_client(&self) -> [Packet; 2] {
        let Connection {
            client,
            local,
            backend,
            ..
        } = self.connection;
        [
            self.packet(self.scene.vip, client),
            self.packet(backend, local),
        ]
    }

    /// A packet of the client, as the backend got it and as the client sent it.
    pub fn to_backend(&self) -> [Packet; 2] {
        let Connection {
            client,
            local,
            backend,
            ..
        } = self.connection;
        [
            self.packet(local, backend),
            self.packet(client, self.scene.vip),
        ]
    }

    /// An error of the client's side as it comes, and as it must go on.
    pub fn on_the_clients_side(
        &self,
        sender: IpAddr,
        quoted: &[Packet; 2],
        bytes: usize,
    ) -> [Packet; 2] {
        let Connection { local, backend, .. } = self.connection;
        let comes = error(sender, &quoted[0], self.scene.vip.ip(), bytes).macs(ROUTER, FRONT);
        let goes = error(local.ip(), &quoted[1], backend.ip(), bytes)
            .macs(BACK, backend_mac(0))
            .one_hop_less();
        [comes, goes]
    }

    /// The same of the backend's side.
    pub fn on_the_backends_side(
        &self,
        sender: IpAddr,
        quoted: &[Packet; 2],
        bytes: usize,
    ) -> [Packet; 2] {
        let Connection { client, local, .. } = self.connection;
        let comes = error(sender, &quoted[0], local.ip(), bytes).macs(backend_mac(0), BACK);
        let goes = error(self.scene.vip.ip(), &quoted[1], client.ip(), bytes)
            .macs(FRONT, ROUTER)
            .one_hop_less();
        [comes, goes]
    }

    /// An error of either side by the end that got the packet.
    pub fn both_ways(&self, change: impl Fn(Packet) -> Packet, bytes: usize) -> [[Packet; 2]; 2] {
        let Connection {
            client, backend, ..
        } = self.connection;
        let [to_client, to_backend] =
            [self.to_client(), self.to_backend()].map(|quoted| quoted.map(&change));
        [
            self.on_the_clients_side(client.ip(), &to_client, bytes),
            self.on_the_backends_side(backend.ip(), &to_backend, bytes),
        ]
    }

    #[track_caller]
    pub fn goes_on(&mut self, [comes, goes]: &[Packet; 2]) {
        let outcome = self.scene.rig.send(comes);
        outcome
            .transmitted_as(goes)
            .counts(&[Reason::IcmpError])
            .sound();
    }
}

/// A flow of UDP that is confirmed.
fn ask(scene: &mut Scene) -> Connection {
    let question = Packet::udp(scene.client, scene.vip)
        .macs(ROUTER, FRONT)
        .udp_checksum();
    let outcome = scene.rig.send(&question);
    let sent = oracle::check_udp(&outcome.frame).expect("it is sound");
    let connection = Connection {
        client: scene.client,
        local: sent.source,
        backend: sent.destination,
        backend_idx: 0,
    };
    let answer = Packet::udp(sent.destination, sent.source).macs(backend_mac(0), BACK);
    scene.rig.send(&answer.udp_checksum()).verdict(Verdict::Tx);
    scene.rig.send(&question).counts(&[Reason::FlowConfirmed]);
    connection
}

#[test]
fn errors_of_every_kind_are_translated() {
    for protocol in [PROTOCOL_TCP, PROTOCOL_UDP] {
        for mut told in Told::all(protocol, mode::NAT) {
            for (kind, code, rest) in kinds(told.v4()) {
                eprintln!("type {kind} code {code}");
                for bytes in [header(told.v4()) + 8, WHOLE] {
                    for pair in told.both_ways(|packet| packet, bytes) {
                        let make = |p: Packet| p.icmp_kind(kind).icmp_code(code).rest(rest);
                        told.goes_on(&pair.map(make));
                    }
                }
            }
        }
    }
}

/// A backend may be the end of another service's tunnel as well, or look like one to the filter.
#[test]
fn an_error_about_a_flow_is_no_word_about_a_tunnel() {
    for mut told in Told::all(PROTOCOL_UDP, mode::NAT) {
        told.scene.rig.admit_everything();
        let v4 = told.v4();
        let (kind, code, mtu) = if v4 { (3, 4, 1_000) } else { (2, 0, 1_280) };
        for pair in told.both_ways(|packet| packet.payload(&[7; 1_400]), header(v4) + 8) {
            let make = |p: Packet| p.icmp_kind(kind).icmp_code(code).rest(mtu);
            told.goes_on(&pair.map(make));
        }
    }
}

/// TCP's checksum lies at bytes 16 and 17: where the second is missing, the first stays.
#[test]
fn quotes_of_every_length_are_translated() {
    let payload = |packet: &Packet| {
        let (message, _) = oracle::read_icmp(&packet.build()).expect("a message");
        message.payload
    };
    for protocol in [PROTOCOL_TCP, PROTOCOL_UDP] {
        for mut told in Told::all(protocol, mode::NAT) {
            for bytes in 8..40 {
                for mut pair in told.both_ways(|packet| packet, header(told.v4()) + bytes) {
                    if protocol == PROTOCOL_TCP && bytes == 17 {
                        let [comes, goes] = pair.each_ref().map(payload);
                        let stays = [&goes[..goes.len() - 1], &comes[comes.len() - 1..]].concat();
                        pair[1] = pair[1].clone().payload(&stays);
                    }
                    told.goes_on(&pair);
                    // What Ethernet adds is nobody's.
                    told.goes_on(&pair.map(|packet| packet.padded_by(20)));
                }
            }
        }
    }
}

#[test]
fn quotes_of_any_form_are_translated() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 7] = [
        ("traffic class and label", |p| p.tos(0xb9).flow_label(7)),
        ("may be fragmented", |p| {
            p.dont_fragment(false).identification(9)
        }),
        ("no hop left", |p| p.ttl(0)),
        ("full frame", |p| p.payload(&[0x5a; 1_000])),
        ("odd length", |p| p.payload(b"odd")),
        ("nothing inside", |p| p.payload(&[])),
        ("last hop", |p| p.ttl(1)),
    ];
    for protocol in [PROTOCOL_TCP, PROTOCOL_UDP] {
        for mut told in Told::all(protocol, mode::NAT) {
            for (name, make) in kinds {
                eprintln!("{name}");
                for pair in told.both_ways(make, WHOLE) {
                    told.goes_on(&pair);
                }
            }
            let v4 = told.v4();
            for pair in told.both_ways(
                |packet| match v4 {
                    true => packet.ip_options(10),
                    false => packet
                        .extension(Extension::HopByHop { units: 2 })
                        .extension(Extension::Destination { units: 1 }),
                },
                WHOLE,
            ) {
                told.goes_on(&pair);
            }
        }
    }
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let options = |packet: Packet| packet.options(&TcpOption::of_data());
        for pair in told.both_ways(options, WHOLE) {
            told.goes_on(&pair);
        }
    }
}

/// The message around it may be of any form too.
#[test]
fn errors_with_options_or_extension_headers_are_translated() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let v4 = told.v4();
        for bytes in [header(v4) + 8, WHOLE] {
            for pair in told.both_ways(|packet| packet, bytes) {
                told.goes_on(&pair.map(|packet| match v4 {
                    true => packet.ip_options(10).tos(0xc0),
                    false => packet.extension(Extension::HopByHop { units: 3 }).tos(0xc0),
                }));
            }
        }
    }
}

/// Between client and balancer, or balancer and backend.
#[test]
fn routers_speak_through_the_end_that_is_known() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let router = told.scene.stranger();
        let pair = told.on_the_clients_side(router, &told.to_client(), WHOLE);
        told.goes_on(&pair);
        let pair = told.on_the_backends_side(router, &told.to_backend(), WHOLE);
        told.goes_on(&pair);
    }
}

/// Backends of mode `route` know the clients' network.
#[test]
fn mode_route_keeps_the_sender_on_the_clients_side() {
    for protocol in [PROTOCOL_TCP, PROTOCOL_UDP] {
        for mut told in Told::all(protocol, mode::ROUTE) {
            for bytes in [header(told.v4()) + 8, WHOLE] {
                for pair in told.both_ways(|packet| packet, bytes) {
                    told.goes_on(&pair);
                }
            }
            let router = told.scene.stranger();
            let [comes, goes] = told.on_the_clients_side(router, &told.to_client(), WHOLE);
            told.goes_on(&[comes, goes.from(SocketAddr::new(router, 0))]);
            let pair = told.on_the_backends_side(router, &told.to_backend(), WHOLE);
            told.goes_on(&pair);
        }
    }
}

#[test]
fn half_open_flows_get_theirs() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let mut told = Told {
            scene,
            connection,
            protocol: PROTOCOL_TCP,
        };
        for pair in told.both_ways(|packet| packet, WHOLE) {
            told.goes_on(&pair);
        }
        // Its source port may be another's, once its other entry is gone.
        told.scene
            .rig
            .delete_entry(connection.backend, connection.local);
        let [[comes, _], _] = told.both_ways(|packet| packet, WHOLE);
        let outcome = told.scene.rig.send(&comes);
        outcome.passed_untouched(Reason::IcmpNoFlow);
    }
}

#[test]
fn no_error_changes_a_flow() {
    for mut scene in Scene::both() {
        let (half_open, closing, reset) = (
            scene.other_client(0),
            scene.other_client(1),
            scene.other_client(2),
        );
        let mut connections = vec![scene.establish(scene.client), scene.open(half_open)];
        for (client, flags) in [(closing, FIN | ACK), (reset, RST)] {
            let connection = scene.establish(client);
            let packet = scene.by_client(&connection).flags(flags);
            scene.client_sends(&connection, packet);
            connections.push(connection);
        }
        for connection in &connections {
            scene.age(connection, 5);
        }
        let family = scene.client.ip();
        let tables = [Table::HalfOpen, Table::Confirmed];
        let before = tables.map(|table| scene.rig.image(family, table));
        let stats = scene.rig.stats(0);
        for connection in connections {
            let mut told = Told {
                scene,
                connection,
                protocol: PROTOCOL_TCP,
            };
            for pair in told.both_ways(|packet| packet, WHOLE) {
                told.goes_on(&pair);
            }
            scene = told.scene;
        }
        assert!(before == tables.map(|table| scene.rig.image(family, table)));
        assert_eq!(scene.rig.stats(0), stats);
    }
}
