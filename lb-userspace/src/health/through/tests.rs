//! Frames, answers and filters without a network.

use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::answer::{Answer, Kind};
use super::frame::Ends;
use super::*;

const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Any address will do where nothing is sent.
fn way(outer: Option<Outer>) -> Way {
    let link: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Way {
        link: link.into(),
        local_mac: LOCAL_MAC,
        peer_mac: PEER_MAC,
        source4: None,
        source6: None,
        outer,
    }
}

fn ends(from: &str, vip: &str) -> Ends {
    Ends {
        from: from.parse().unwrap(),
        vip: vip.parse().unwrap(),
    }
}

fn ends4() -> Ends {
    ends("10.0.0.5:40000", "203.0.113.10:80")
}

fn ends6() -> Ends {
    ends("[fd00::5]:40000", "[2001:db8::10]:80")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn outer(source: &str, spread: &str, backend: &str, gue: Option<Gue>) -> Option<Outer> {
    Some(Outer {
        source: ip(source),
        spread: ip(spread),
        backend: ip(backend),
        gue,
    })
}

/// The addresses of an IP packet, with its checksum proved where it has one.
fn addresses(packet: &SlicedPacket<'_>) -> (IpAddr, IpAddr) {
    match packet.net.as_ref().expect("an IP header") {
        NetSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            (header.source.into(), header.destination.into())
        }
        NetSlice::Ipv6(v6) => (
            v6.header().source_addr().into(),
            v6.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// Proves that this is the SYN between these ends.
fn assert_syn(packet: &[u8], ends: Ends, sequence: u32) {
    let packet = SlicedPacket::from_ip(packet).expect("an IP packet");
    assert_eq!(addresses(&packet), (ends.from.ip(), ends.vip.ip()));
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        panic!("not TCP: {packet:?}");
    };
    assert_eq!(
        (tcp.source_port(), tcp.destination_port()),
        (ends.from.port(), ends.vip.port())
    );
    assert_eq!((tcp.syn(), tcp.ack(), tcp.rst()), (true, false, false));
    assert_eq!(tcp.sequence_number(), sequence);
    let right = match packet.net.as_ref().expect("an IP header") {
        NetSlice::Ipv4(v4) => {
            let header = v4.header();
            tcp.calc_checksum_ipv4(header.source(), header.destination())
        }
        NetSlice::Ipv6(v6) => tcp.calc_checksum_ipv6(
            v6.header().source_addr().octets(),
            v6.header().destination_addr().octets(),
        ),
        NetSlice::Arp(_) => panic!("ARP"),
    };
    assert_eq!(tcp.checksum(), right.expect("short"));
}

#[test]
fn dsr_changes_nothing_but_the_mac_addresses() {
    for (ends, ethertype) in [(ends4(), [0x08, 0x00]), (ends6(), [0x86, 0xdd])] {
        let frame = frame::syn(&way(None), ends, 7).unwrap();
        assert_eq!(frame[..6], PEER_MAC);
        assert_eq!(frame[6..12], LOCAL_MAC);
        assert_eq!(frame[12..14], ethertype);
        assert_syn(&frame[14..], ends, 7);
    }
}

#[test]
fn ip_in_ip_has_the_packet_right_behind_the_outer_header() {
    for ends in [ends4(), ends6()] {
        let inner = if ends.vip.is_ipv4() { 4 } else { 41 };
        let by4 = outer("10.0.0.5", "0.0.0.0", "10.0.0.11", None);
        let frame = frame::syn(&way(by4), ends, 7).unwrap();
        let header = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
        let header = header.to_header();
        assert_eq!(frame[12..14], [0x08, 0x00]);
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!((header.protocol.0, header.time_to_live), (inner, 64));
        assert!(header.dont_fragment);
        assert_eq!(header.source, [10, 0, 0, 5]);
        assert_eq!(header.destination, [10, 0, 0, 11]);
        assert_eq!(usize::from(header.total_len), frame.len() - 14);
        assert_syn(&frame[34..], ends, 7);

        let by6 = outer("fd00::5", "::", "fd00::11", None);
        let frame = frame::syn(&way(by6), ends, 7).unwrap();
        let header = etherparse::Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        assert_eq!(header.next_header().0, inner);
        assert_eq!(IpAddr::from(header.source_addr()), ip("fd00::5"));
        assert_eq!(IpAddr::from(header.destination_addr()), ip("fd00::11"));
        assert_eq!(usize::from(header.payload_length()), frame.len() - 54);
        assert_syn(&frame[54..], ends, 7);
    }
}

#[test]
fn gue_has_a_udp_header_and_in_variant_0_one_of_its_own() {
    for (bare, header) in [(false, &[0, 4, 0, 0][..]), (true, &[])] {
        let gue = Some(Gue { port: 6080, bare });
        let way = way(outer("10.0.0.5", "0.0.0.0", "10.0.0.11", gue));
        let frame = frame::syn(&way, ends4(), 7).unwrap();
        assert_eq!(frame[14 + 9], 17, "UDP");
        let udp = etherparse::UdpHeaderSlice::from_slice(&frame[34..]).unwrap();
        assert!(udp.source_port() >= 0xc000);
        assert_eq!(udp.destination_port(), 6080);
        assert_eq!(usize::from(udp.length()), frame.len() - 34);
        assert_eq!(udp.checksum(), 0);
        let inner = 42 + header.len();
        assert_eq!(frame[42..inner], *header);
        assert_syn(&frame[inner..], ends4(), 7);
    }
}

#[test]
fn a_datagram_and_a_reset_travel_likewise() {
    let way = way(outer("10.0.0.5", "0.0.0.0", "10.0.0.11", None));
    let frame = frame::datagram(&way, ends4(), b"well?").unwrap();
    let packet = SlicedPacket::from_ip(&frame[34..]).unwrap();
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        panic!("not UDP");
    };
    assert_eq!((udp.source_port(), udp.destination_port()), (40_000, 80));
    assert_eq!(udp.payload(), b"well?");
    assert_ne!(udp.checksum(), 0);

    let frame = frame::reset(&way, ends4(), 8).unwrap();
    let packet = SlicedPacket::from_ip(&frame[34..]).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        panic!("not TCP");
    };
    assert_eq!(
        (tcp.rst(), tcp.syn(), tcp.sequence_number()),
        (true, false, 8)
    );
}

fn arrival(flags: impl FnOnce(&mut etherparse::TcpHeader)) -> Vec<u8> {
    let mut tcp = etherparse::TcpHeader::new(80, 40_000, 99, 1000);
    tcp.acknowledgment_number = 8;
    flags(&mut tcp);
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([203, 0, 113, 10], [10, 0, 0, 5], 60)
        .tcp_header(tcp)
        .write(&mut packet, &[])
        .unwrap();
    packet
}

#[test]
fn a_syn_ack_accepts_and_a_reset_refuses() {
    let answer = |kind| {
        let Ends { from, vip } = ends4();
        Some(Answer {
            kind,
            from: vip,
            to: from,
            acknowledged: 8,
        })
    };
    let accepted = arrival(|tcp| (tcp.syn, tcp.ack) = (true, true));
    assert_eq!(answer::read(&accepted), answer(Kind::Accepted));
    let refused = arrival(|tcp| (tcp.rst, tcp.ack) = (true, true));
    assert_eq!(answer::read(&refused), answer(Kind::Refused));
    assert_eq!(answer::read(&arrival(|tcp| tcp.ack = true)), None);
    assert_eq!(answer::read(&arrival(|tcp| tcp.syn = true)), None);
    assert_eq!(answer::read(&accepted[..30]), None, "cut short");
}

proptest! {
    #[test]
    fn no_packet_is_too_odd_to_be_read(packet in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = answer::read(&packet);
    }

    #[test]
    fn outer_sources_stay_in_their_prefix_and_differ(first in 1024u16..60_000) {
        let sources: std::collections::HashSet<[u8; 4]> = (first..first + 64).map(|port| {
            let way = way(outer("10.9.0.0", "0.0.255.255", "10.0.0.11", None));
            let from = SocketAddr::new(ip("10.0.0.5"), port);
            let frame = frame::syn(&way, Ends { from, ..ends4() }, 7).unwrap();
            frame[26..30].try_into().unwrap()
        }).collect();
        prop_assert!(sources.iter().all(|source| source[..2] == [10, 9]));
        prop_assert!(sources.len() > 32);
    }
}

#[tokio::test]
async fn what_cannot_be_probed_is_no_failure_and_is_said() {
    let (_tell, path) = watch::channel(Path::None("it is behind a router".to_owned()));
    let mut prober = Prober {
        through: Through {
            mode: Mode::Dsr,
            aims: Vec::new(),
        },
        wire: Err("CAP_NET_RAW is missing".to_owned()),
        path,
    };
    let soon = Instant::now() + Duration::from_secs(20);
    assert_eq!(
        prober.probe(soon).await.unwrap().as_deref(),
        Some("not probed through dsr: CAP_NET_RAW is missing")
    );
}
