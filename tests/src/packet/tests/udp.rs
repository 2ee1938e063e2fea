//! Datagrams.

use super::{bytes, v4, v6};
use crate::packet::{Extension, Packet, describe, mac, oracle, oracle::Defect};

pub(super) fn udp4() -> Packet {
    Packet::udp(
        "198.51.100.7:40000".parse().unwrap(),
        "203.0.113.10:53".parse().unwrap(),
    )
}

pub(super) fn udp6() -> Packet {
    Packet::udp(
        "[2001:db8:c::7]:40000".parse().unwrap(),
        "[2001:db8::10]:53".parse().unwrap(),
    )
}

/// As the two SYNs were captured.
#[test]
fn the_oracle_accepts_what_a_kernel_sent() {
    let captured = [
        "020000000002 020000000001 0800 4500001f23ae40004011c2a9c6336407c6336408 \
         b9b80035000b1e0f 6f6464",
        "020000000002 020000000001 86dd 6007cdc5000b1140 \
         20010db8000c00000000000000000007 20010db8000c00000000000000000008 \
         bd840035000b1321 6f6464",
    ];
    for text in captured {
        let frame = bytes(text);
        let datagram = oracle::check_udp(&frame).unwrap();
        assert_eq!((datagram.ttl, datagram.tos), (64, 0));
        assert_eq!(datagram.destination.port(), 53);
        assert_eq!(datagram.payload, b"odd");

        let built = Packet::udp(datagram.source, datagram.destination)
            .payload(b"odd")
            .identification(0x23ae)
            .flow_label(0x7_cdc5)
            .udp_checksum();
        assert_eq!(built.build(), frame);
    }
}

/// Other tests rely on these bytes.
#[test]
fn a_datagram_is_a_ping_without_checksum_by_default() {
    for (packet, header_len) in [(udp4(), 34), (udp6(), 54)] {
        let frame = packet.build();
        assert_eq!(frame[header_len..], bytes("9c40 0035 000c 0000 70696e67"));
    }
}

#[test]
fn what_the_builder_builds_the_oracle_finds_right() {
    for packet in [
        udp4().ip_options(2),
        udp6().extension(Extension::Destination { units: 1 }),
    ] {
        let frame = packet
            .macs(mac(7), mac(8))
            .ttl(17)
            .tos(0xb9)
            .payload(b"seven b")
            .udp_checksum()
            .padded_by(3)
            .build();
        let datagram = oracle::check_udp(&frame).unwrap();
        assert_eq!(
            (datagram.source_mac, datagram.destination_mac),
            (mac(7), mac(8))
        );
        assert_eq!((datagram.ttl, datagram.tos), (17, 0xb9));
        assert_eq!(
            (datagram.source.port(), datagram.destination.port()),
            (40000, 53)
        );
        assert_eq!((datagram.ip_extra.len(), datagram.padding), (8, 3));
        assert_eq!(datagram.payload, b"seven b");
        assert_ne!(datagram.checksum, 0);
    }
}

#[test]
fn addresses_and_ports_are_set_together() {
    let (source, destination) = (
        "192.0.2.1:1111".parse().unwrap(),
        "192.0.2.2:2222".parse().unwrap(),
    );
    let frame = udp4().from(source).to(destination).udp_checksum().build();
    let datagram = oracle::check_udp(&frame).unwrap();
    assert_eq!(
        (datagram.source, datagram.destination),
        (source, destination)
    );
}

#[test]
fn a_checksum_may_be_absent_over_ipv4_alone() {
    assert_eq!(oracle::check_udp(&udp4().build()).unwrap().checksum, 0);
    assert_eq!(oracle::check_udp(&udp6().build()), Err(Defect::NoChecksum));
}

/// The payload complements the sum of all else, so that the checksum comes out as 0.
#[test]
fn a_checksum_of_zero_is_sent_as_its_other_form() {
    for packet in [udp4(), udp6()] {
        let packet = packet.payload(&[0, 0]).udp_checksum();
        let rest = oracle::check_udp(&packet.build()).unwrap().checksum;
        let frame = packet.payload(&rest.to_be_bytes()).build();
        assert_eq!(oracle::check_udp(&frame).unwrap().checksum, 0xffff);
    }
}

#[test]
fn a_wrong_checksum_is_wrong_and_never_absent() {
    for packet in [udp4(), udp6()] {
        let right = oracle::check_udp(&packet.clone().udp_checksum().build())
            .unwrap()
            .checksum;
        for error in [1, 0x8000, 0xfffe, !right, !right - 1, 0xffff - (!right)] {
            let frame = packet.clone().udp_checksum_off_by(error).build();
            let (datagram, defects) = oracle::read_udp(&frame).unwrap();
            assert_ne!(datagram.checksum, 0);
            let expected = Defect::Checksum {
                what: "udp",
                found: datagram.checksum,
                right,
            };
            assert_eq!(defects, [expected], "{error:#06x}");
        }
    }
}

#[test]
fn a_length_that_lies_is_found() {
    for (packet, length) in [(udp4(), 11), (udp4(), 13), (udp6(), 0), (udp6(), 0xffff)] {
        for packet in [packet.clone(), packet.udp_checksum()] {
            let frame = packet.udp_length(length).build();
            let expected = Defect::Field {
                what: "udp length",
                found: length.into(),
                right: 12,
            };
            assert_eq!(oracle::check_udp(&frame), Err(expected));
            assert!(describe(&frame).contains(&format!("!! udp length is {length}, should be 12")));
        }
    }
}

/// All bytes but Ethernet's and, for IPv6, the header's first eight, which no checksum covers.
#[test]
fn the_oracle_finds_each_flipped_bit() {
    for (packet, first) in [(udp4().ip_options(1), 14), (udp6(), 22)] {
        let frame = packet.udp_checksum().build();
        for at in first..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            let found = oracle::check_udp(&flipped);
            assert!(found.is_err(), "byte {at}: {}", describe(&flipped));
        }
    }
}

#[test]
fn neither_protocol_is_the_other() {
    for (tcp, udp) in [(v4(), udp4()), (v6(), udp6())] {
        assert_eq!(oracle::check_udp(&tcp.build()), Err(Defect::NotUdp(6)));
        assert_eq!(oracle::check(&udp.build()), Err(Defect::NotTcp(17)));
        let fragment = udp.fragment(0, true).build();
        assert_eq!(
            oracle::check_udp(&fragment),
            Err(Defect::Fragment {
                offset: 0,
                more: true
            })
        );
    }
}

#[test]
fn datagrams_are_described() {
    let text = describe(&udp4().build());
    let expected = "198.51.100.7:40000 > 203.0.113.10:53 ttl 64 udp no checksum payload 4";
    assert!(text.contains(expected), "{text}");
    let text = describe(&udp6().tos(4).build());
    assert!(
        text.contains("tos 0x04 udp no checksum payload 4 !! udp over ipv6"),
        "{text}"
    );
    let frame = udp6().udp_checksum().build();
    for len in 0..frame.len() {
        let found = oracle::read_udp(&frame[..len]);
        assert!(matches!(found, Err(Defect::Short { .. })), "{found:?}");
        assert!(describe(&frame[..len]).ends_with("bytes)"));
    }
}
