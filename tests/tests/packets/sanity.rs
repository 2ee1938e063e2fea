//! What no honest sender makes: for a vip or of a flow it is dropped and counted by what is wrong, for
//! others it passes as it came.

use std::net::{IpAddr, SocketAddr};

use lb_common::{PROTOCOL_TCP, reason::Reason, service::mode};
use lb_tests::{
    packet::{Mac, Packet, flag::*},
    rig::Table,
};

use crate::{
    crossed::Crossing,
    scene::{BACK, FRONT, ROUTER, Scene},
};

/// One thing that is wrong with a packet.
type Spoil = fn(Packet) -> Packet;

const FOR_MANY: [Mac; 3] = [
    [0xff; 6],
    [0x01, 0x00, 0x5e, 0, 0, 1],
    [0x33, 0x33, 0, 0, 0, 1],
];

/// Flags that no state of a connection sends.
const IMPOSSIBLE: [u8; 12] = [
    0,
    PSH,
    URG,
    FIN,
    FIN | PSH | URG,
    SYN | FIN,
    SYN | FIN | ACK,
    SYN | RST,
    SYN | RST | ACK,
    RST | FIN,
    RST | FIN | ACK,
    FIN | SYN | RST | PSH | ACK | URG,
];

/// What is wrong whatever the protocol.
const WRONGS: [(Spoil, Reason); 4] = [
    (
        |packet| packet.macs(ROUTER, FOR_MANY[0]),
        Reason::NotUnicast,
    ),
    (
        |packet| packet.macs(ROUTER, FOR_MANY[1]),
        Reason::NotUnicast,
    ),
    (
        |packet| packet.macs(ROUTER, FOR_MANY[2]),
        Reason::NotUnicast,
    ),
    (|packet| packet.ttl(0), Reason::TtlZero),
];

/// The packet is dropped with this wrong, and its like for another address passes.
#[track_caller]
fn drops(scene: &mut Scene, packet: &Packet, spoil: impl Fn(Packet) -> Packet, reason: Reason) {
    let stranger = SocketAddr::new(scene.stranger(), 80);
    scene.rig.send(&spoil(packet.clone())).dropped(reason);
    let other = spoil(packet.clone().from(scene.client).to(stranger));
    scene.rig.send(&other).passed_untouched(Reason::NotOurs);
}

/// Each wrong, and those that only IPv4 knows.
#[track_caller]
fn drops_each(scene: &mut Scene, packet: &Packet) {
    for (spoil, reason) in WRONGS {
        drops(scene, packet, spoil, reason);
    }
    if scene.client.is_ipv4() {
        for error in [1, 0x100, 0x8000, 0xfffe] {
            for options in [0, 1, 10] {
                let spoil = |packet: Packet| packet.ip_options(options).ip_checksum_off_by(error);
                drops(scene, packet, spoil, Reason::BadChecksum);
            }
        }
    }
}

/// A packet that is dropped leaves its flow as it was.
#[track_caller]
fn unchanged(scene: &mut Scene, packet: &Packet, ways: [(SocketAddr, SocketAddr); 2]) {
    let flow = |scene: &Scene| ways.map(|(from, to)| scene.rig.entry(from, to));
    let before = flow(scene);
    drops_each(scene, packet);
    assert_eq!(flow(scene), before);
}

#[test]
fn packets_of_a_flow_that_no_honest_sender_makes_are_dropped() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let ways = scene.ways(&connection);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            unchanged(&mut scene, &packet, ways);
            for flags in IMPOSSIBLE {
                drops(&mut scene, &packet, |p| p.flags(flags), Reason::BadFlags);
            }
        }
        assert_eq!(
            scene.state(&connection),
            Some((Table::Confirmed, "established"))
        );
    }
}

#[test]
fn datagrams_that_no_honest_sender_makes_are_dropped() {
    for mut scene in Scene::over_udp(mode::NAT) {
        let datagram = Packet::udp(scene.client, scene.vip).macs(ROUTER, FRONT);
        drops_each(&mut scene, &datagram);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
        scene.rig.send(&datagram).counts(&[Reason::FlowNew]);
        drops_each(&mut scene, &datagram);
    }
}

#[test]
fn nothing_is_opened_or_answered_by_what_no_honest_sender_makes() {
    for mode in [mode::NAT, mode::ROUTE, mode::DSR] {
        for mut scene in Scene::in_mode(mode) {
            for flags in [SYN, ACK, FIN | ACK, SYN | ACK] {
                let packet = scene.syn(scene.client).flags(flags);
                drops_each(&mut scene, &packet);
            }
            for flags in IMPOSSIBLE {
                let packet = scene.syn(scene.client);
                drops(&mut scene, &packet, |p| p.flags(flags), Reason::BadFlags);
            }
            assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
        }
    }
}

/// What may be said of a state, with and without what may go with it.
#[test]
fn every_possible_set_of_flags_is_judged() {
    const MAY_GO_WITH: u8 = PSH | 0x40 | 0x80;
    let possible = |flags: u8| {
        let rest = flags & !MAY_GO_WITH;
        matches!(rest, SYN | RST | ACK)
            || rest == SYN | URG
            || rest == SYN | ACK
            || rest == RST | ACK
            || rest == FIN | ACK
            || rest == FIN | ACK | URG
            || rest == ACK | URG
    };
    for mut scene in Scene::in_mode(mode::DSR) {
        for flags in 0..=u8::MAX {
            let outcome = scene.rig.send(&scene.syn(scene.client).flags(flags));
            let dropped = outcome.counted == [(Reason::BadFlags, 1)];
            assert_eq!(dropped, !possible(flags), "{flags:#04x}\n{outcome}");
        }
    }
}

#[test]
fn one_way_flows_are_not_followed_by_them() {
    for mut scene in Scene::in_mode(mode::DSR) {
        let syn = scene.syn(scene.client);
        scene.passes_on(&syn, 0, &[Reason::FlowNew]);
        let ack = scene.ack(scene.client);
        drops_each(&mut scene, &ack);
        drops(&mut scene, &ack, |p| p.flags(FIN), Reason::BadFlags);
    }
}

fn sources(scene: &Scene) -> Vec<IpAddr> {
    let texts: &[&str] = if scene.client.is_ipv4() {
        &[
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
        ]
    } else {
        &["::", "::1", "ff02::1", "ff0e::1234", "::ffff:198.51.100.7"]
    };
    let mut sources: Vec<IpAddr> = (texts.iter())
        .map(|text| text.parse().expect("an address"))
        .collect();
    if scene.client.is_ipv4() {
        sources.push("255.255.255.255".parse().expect("an address"));
    }
    sources
}

#[test]
fn sources_that_no_host_has_get_no_flow_and_no_answer() {
    for mode in [mode::NAT, mode::DSR] {
        for mut scene in Scene::in_mode(mode) {
            for source in sources(&scene) {
                let source = SocketAddr::new(source, 40_000);
                for flags in [SYN, ACK] {
                    let packet = scene.syn(source).flags(flags);
                    scene.rig.send(&packet).dropped(Reason::Martian);
                    let other = packet.to(SocketAddr::new(scene.stranger(), 80));
                    scene.rig.send(&other).passed_untouched(Reason::NotOurs);
                }
            }
        }
    }
    for mut scene in Scene::over_udp(mode::NAT) {
        for source in sources(&scene) {
            let packet = Packet::udp(SocketAddr::new(source, 53), scene.vip).macs(ROUTER, FRONT);
            scene.rig.send(&packet).dropped(Reason::Martian);
        }
    }
}

/// From the vip to itself, by the same port or another (CVE-1999-0016).
#[test]
fn land_packets_are_dropped() {
    for mode in [mode::NAT, mode::DSR] {
        for mut scene in Scene::in_mode(mode) {
            for port in [80, 81, 40_000] {
                for flags in [SYN, SYN | ACK, ACK] {
                    let source = SocketAddr::new(scene.vip.ip(), port);
                    let packet = scene.syn(source).flags(flags);
                    scene.rig.send(&packet).dropped(Reason::Land);
                }
            }
            let elsewhere = SocketAddr::new(scene.vip.ip(), 22);
            let packet = scene.syn(scene.vip).to(elsewhere);
            scene.rig.send(&packet).passed_untouched(Reason::NotOurs);
        }
    }
}

/// The replies of a backend, from its side.
#[test]
fn a_backends_packet_for_many_is_dropped() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        for destination in FOR_MANY {
            let packet = scene.by_backend(&connection).macs(BACK, destination);
            scene.rig.send(&packet).dropped(Reason::NotUnicast);
        }
    }
}

#[test]
fn flows_between_the_families_are_not_followed_by_them() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let local = crossing.establish();
        let forth = crossing.scene.ack(crossing.scene.client);
        let back = crossing.by_backend(local);
        let forth_v4 = crossing.scene.client.is_ipv4();
        for (packet, v4) in [(forth, forth_v4), (back, !forth_v4)] {
            let rig = &mut crossing.scene.rig;
            for (spoil, reason) in WRONGS {
                rig.send(&spoil(packet.clone())).dropped(reason);
            }
            let impossible = packet.clone().flags(FIN);
            rig.send(&impossible).dropped(Reason::BadFlags);
            if v4 {
                let spoilt = packet.ip_checksum_off_by(1);
                rig.send(&spoilt).dropped(Reason::BadChecksum);
            }
        }
    }
}

/// A flow of IPv4 is kept by its addresses' form of IPv6: a packet that has them on the wire is not of it.
#[test]
fn a_flow_of_ipv4_is_not_followed_by_ipv6() {
    for mut crossing in Crossing::both(PROTOCOL_TCP) {
        let local = crossing.establish();
        let mapped = |end: SocketAddr| match end.ip() {
            IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        let forth = crossing.scene.ack(crossing.scene.client);
        let packet = if crossing.scene.client.is_ipv4() {
            forth
                .from(mapped(crossing.scene.client))
                .to(mapped(crossing.scene.vip))
        } else {
            let back = crossing.by_backend(local);
            back.from(mapped(crossing.backend)).to(mapped(local))
        };
        let rig = &mut crossing.scene.rig;
        rig.send(&packet).passed_untouched(Reason::NotOurs);
        // The filter lets others by, now and then.
        rig.admit_everything();
        rig.send(&packet).dropped(Reason::Martian);
    }
}

#[test]
fn later_fragments_that_no_honest_sender_makes_are_dropped() {
    for mode in [mode::NAT, mode::DSR] {
        for mut scene in Scene::over_udp(mode) {
            let datagram = Packet::udp(scene.client, scene.vip)
                .macs(ROUTER, FRONT)
                .payload(&[0x5a; 64]);
            let pieces = datagram.fragments(&[32]);
            let later = &pieces[1];
            scene.rig.send(&pieces[0]).counts(&[Reason::FlowNew]);
            for (spoil, reason) in WRONGS {
                scene.rig.send(&spoil(later.clone())).dropped(reason);
            }
            if scene.client.is_ipv4() {
                let spoilt = later.clone().ip_checksum_off_by(1);
                scene.rig.send(&spoilt).dropped(Reason::BadChecksum);
            }
        }
    }
}
