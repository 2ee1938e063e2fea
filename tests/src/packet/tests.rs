//! The builder and the oracle against each other, and the oracle against figures from outside. What
//! is of ICMP, of UDP or of tunnels alone is in [`icmp`], [`udp`] and [`outer`].

mod icmp;
mod outer;
mod udp;

use super::{Extension, Packet, TcpOption, describe, flag, mac, oracle, oracle::Defect};

fn v4() -> Packet {
    Packet::tcp(
        "198.51.100.7:40000".parse().unwrap(),
        "203.0.113.10:80".parse().unwrap(),
    )
}

fn v6() -> Packet {
    Packet::tcp(
        "[2001:db8:c::7]:40000".parse().unwrap(),
        "[2001:db8::10]:80".parse().unwrap(),
    )
}

/// What hexadecimal digits stand for; spaces between them mean nothing.
fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// Two SYNs that Linux sent through a veth pair with transmit checksum offload off, so that its
/// own stack computed the checksums.
#[test]
fn the_oracle_accepts_what_a_kernel_sent() {
    let captured = [
        "020000000002 020000000001 0800 4500003c0b8640004006dabfc6336407c6336408 \
         c7ce0050df452f9300000000a002faf04acd0000 020405b40402080a4b6d8b63000000000103030a",
        "020000000002 020000000001 86dd 6005833800280640 \
         20010db8000c00000000000000000007 20010db8000c00000000000000000008 \
         e89400507d7b29f000000000a002fd20c1590000 020405a00402080adccfc0dd000000000103030a",
    ];
    for text in captured {
        let mut frame = bytes(text);
        let segment = oracle::check(&frame).unwrap();
        assert_eq!((segment.flags, segment.ttl), (flag::SYN, 64));
        assert_eq!(
            (segment.source_mac, segment.destination_mac),
            (mac(1), mac(2))
        );
        assert_eq!(
            (segment.options.len(), segment.destination.port()),
            (20, 80)
        );
        frame[30] ^= 1; // a byte of an address in either family
        assert!(oracle::check(&frame).is_err());
    }
}

#[test]
fn what_the_builder_builds_the_oracle_finds_right() {
    for packet in [v4().ip_options(3), v6()] {
        let frame = packet
            .ttl(17)
            .seq(0xffff_fff0)
            .ack(77)
            .flags(flag::SYN | flag::ACK)
            .options(&TcpOption::of_a_syn())
            .payload(b"odd")
            .build();
        let segment = oracle::check(&frame).unwrap();
        assert_eq!(
            (segment.ttl, segment.seq, segment.ack),
            (17, 0xffff_fff0, 77)
        );
        assert_eq!(segment.flags, flag::SYN | flag::ACK);
        assert_eq!((segment.options.len(), segment.payload.len()), (20, 3));
    }
}

#[test]
fn the_oracle_walks_extension_headers() {
    let frame = v6()
        .extension(Extension::HopByHop { units: 40 })
        .extension(Extension::Routing { segments_left: 0 })
        .extension(Extension::Destination { units: 1 })
        .build();
    assert_eq!(oracle::check(&frame).unwrap().ip_extra.len(), 336);
}

/// All bytes but Ethernet's and, for IPv6, the header's first eight, which no checksum covers.
#[test]
fn the_oracle_finds_each_flipped_bit() {
    for (packet, first) in [(v4().ip_options(1), 14), (v6(), 22)] {
        let frame = packet.payload(b"bytes").build();
        for at in first..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            let defect = oracle::check(&flipped);
            assert!(defect.is_err(), "byte {at}: {}", describe(&flipped));
        }
    }
}

#[test]
fn wrong_checksums_are_wrong_and_named() {
    let frame = v4().ip_checksum_off_by(1).tcp_checksum_off_by(2).build();
    let (_, defects) = oracle::read(&frame).unwrap();
    assert_eq!(defects.len(), 2);
    assert!(describe(&frame).contains("ipv4 header checksum is"));
    let whole = describe(&v4().build());
    assert!(
        whole.contains("198.51.100.7:40000 > 203.0.113.10:80 ttl 64 [S]"),
        "{whole}"
    );
}

#[test]
fn any_prefix_of_a_frame_can_be_described() {
    for packet in [v4(), v6().extension(Extension::HopByHop { units: 1 })] {
        let frame = packet.payload(b"payload").build();
        for len in 0..frame.len() {
            assert!(matches!(
                oracle::read(&frame[..len]),
                Err(Defect::Short { .. })
            ));
            assert!(describe(&frame[..len]).ends_with("bytes)"));
        }
    }
}

#[test]
fn fragments_are_not_segments() {
    for packet in [v4(), v6()] {
        let defect = oracle::check(&packet.fragment(0, true).build()).unwrap_err();
        assert_eq!(
            defect,
            Defect::Fragment {
                offset: 0,
                more: true
            }
        );
    }
}
