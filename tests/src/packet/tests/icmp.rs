//! ICMP: the builder and the oracle against each other, and the oracle against figures from outside.

use super::{bytes, v4, v6};
use crate::packet::{Packet, describe, oracle, oracle::Defect};

fn pings() -> [Packet; 2] {
    [
        Packet::ping(
            "198.51.100.7".parse().unwrap(),
            "203.0.113.10".parse().unwrap(),
        ),
        Packet::ping(
            "2001:db8:c::7".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        ),
    ]
}

/// Errors about the packets of the other tests, sent by those who got them.
fn errors(quoted: usize) -> [Packet; 2] {
    let of = |packet: Packet, from: &str, to: &str, kind| {
        let error = Packet::icmp(from.parse().unwrap(), to.parse().unwrap(), kind, 0);
        error.quoting(&packet.payload(&[7; 99]), quoted)
    };
    [
        of(v4(), "203.0.113.10", "198.51.100.7", 3),
        of(v6(), "2001:db8::10", "2001:db8:c::7", 1),
    ]
}

/// The examples of RFC 1071 (section 3) and of a ping with the alphabet as its payload, whose checksum many
/// have seen.
#[test]
fn the_oracle_accepts_what_others_computed() {
    let request = "020000000002 020000000001 0800 4500003c000000004001 0000 c6336407 cb00710a \
                   0800 4d5a 0001 0001 6162636465666768696a6b6c6d6e6f7071727374757677616263646566676869";
    let mut frame = bytes(request);
    // The header's checksum is left to the other tests.
    frame[14 + 10..14 + 12].copy_from_slice(&[0, 0]);
    let (message, defects) = oracle::read_icmp(&frame).unwrap();
    assert_eq!((message.kind, message.rest), (8, 0x0001_0001));
    assert!(
        matches!(
            defects[..],
            [Defect::Checksum {
                what: "ipv4 header",
                ..
            }]
        ),
        "{defects:?}"
    );
}

#[test]
fn what_the_builder_builds_the_oracle_finds_right() {
    for packet in pings() {
        let message = oracle::check_icmp(&packet.payload(b"odd").build()).unwrap();
        assert_eq!(
            (message.payload, message.rest),
            (b"odd".to_vec(), 0x0001_0001)
        );
    }
    for quoted in [60, usize::MAX] {
        for packet in errors(quoted) {
            let message = oracle::check_icmp(&packet.build()).unwrap();
            let (quote, defects) = oracle::quote(&message).unwrap();
            assert_eq!(defects, []);
            assert_eq!(
                (quote.source.port(), quote.destination.port()),
                (40_000, 80)
            );
            assert_eq!((quote.protocol, quote.ttl), (6, 64));
            assert_eq!(quote.whole, quoted == usize::MAX);
        }
    }
}

/// All bytes but Ethernet's and, for IPv6, those that no checksum covers; of an error that quotes its packet
/// to the end, in the quoted packet too, even where the message's own checksum is right again.
#[test]
fn the_oracle_finds_each_flipped_bit() {
    for (packet, first) in pings().into_iter().zip([14, 22]) {
        let frame = packet.build();
        for at in first..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            assert!(
                oracle::check_icmp(&flipped).is_err(),
                "byte {at}: {}",
                describe(&flipped)
            );
        }
    }
    for (packet, first) in errors(usize::MAX).into_iter().zip([0, 8]) {
        let whole = oracle::check_icmp(&packet.build()).unwrap().payload;
        for at in first..whole.len() {
            let mut quoted = whole.clone();
            quoted[at] ^= 0x10;
            let flipped = packet.clone().payload(&quoted).build();
            assert!(
                oracle::check_icmp(&flipped).is_err(),
                "byte {at}: {}",
                describe(&flipped)
            );
        }
    }
}

#[test]
fn any_prefix_of_a_frame_can_be_described() {
    for packet in pings().into_iter().chain(errors(60)) {
        let frame = packet.build();
        for len in 0..frame.len() {
            assert!(oracle::read_icmp(&frame[..len]).is_err());
            assert!(describe(&frame[..len]).ends_with("bytes)"));
        }
    }
    let text = describe(&errors(60)[0].build());
    assert!(
        text.contains("icmp 3/0 rest 0x00000000 of 198.51.100.7:40000"),
        "{text}"
    );
}
