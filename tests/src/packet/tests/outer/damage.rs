//! Damage outside, inside and in between, each found by the oracle.

use super::{
    super::{
        udp::{udp4, udp6},
        v4, v6,
    },
    gue, ip_in_ip, outers, pairs,
};
use crate::packet::{
    ETHERNET_LEN, Gue, Packet, describe,
    oracle::{self, Defect, Tunnel},
};

/// All bytes of an outer IPv4 header, and all behind the outer IP header if UDP has a checksum. The
/// oracle's eye for what is inside does not depend on the tunnel.
#[test]
fn the_oracle_finds_each_flipped_bit() {
    for (outer, inner) in pairs() {
        let frame = inner.inside(outer).build();
        let (outer, _) = oracle::check_outer(&frame).unwrap();
        let (first, behind) = if outer.source.is_ipv4() {
            (ETHERNET_LEN, ETHERNET_LEN + 20)
        } else {
            (ETHERNET_LEN + 40, ETHERNET_LEN + 40)
        };
        let end = match outer.tunnel {
            Tunnel::Gue { checksum, .. } if checksum != 0 => frame.len(),
            _ => behind,
        };
        for at in first..end {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            let found = oracle::check_outer(&flipped);
            assert!(found.is_err(), "byte {at}: {}", describe(&flipped));
        }
    }
}

/// What the oracle finds first in `inner`, in each outer packet, is as expected and is described.
#[track_caller]
fn every_outer_finds(inner: &Packet, expected: impl Fn(&Defect) -> bool) {
    for outer in outers() {
        let frame = inner.clone().inside(outer).build();
        let defect = oracle::check_outer(&frame).expect_err(&describe(&frame));
        assert!(expected(&defect), "{defect}\n{}", describe(&frame));
        assert!(
            describe(&frame).contains(&defect.to_string()),
            "{defect}\n{}",
            describe(&frame)
        );
    }
}

#[test]
fn damage_inside_is_found_through_any_tunnel() {
    let checksum_of = |name: &'static str| move |defect: &Defect| matches!(defect, Defect::Checksum { what, .. } if *what == name);
    every_outer_finds(&v4().ip_checksum_off_by(1), checksum_of("ipv4 header"));
    for inner in [v4(), v6()] {
        every_outer_finds(&inner.tcp_checksum_off_by(1), checksum_of("tcp"));
    }
    for inner in [udp4(), udp6()] {
        every_outer_finds(&inner.clone().udp_checksum_off_by(1), checksum_of("udp"));
        every_outer_finds(&inner.udp_checksum().udp_length(13), |defect| {
            matches!(
                defect,
                Defect::Field {
                    what: "udp length",
                    found: 13,
                    right: 12
                }
            )
        });
    }
    for inner in [v4(), v6(), udp4(), udp6()] {
        let whole = inner.build().len();
        every_outer_finds(&inner.cut_at(whole - 1), |defect| {
            matches!(defect, Defect::Short { .. })
        });
    }
    every_outer_finds(&udp6(), |defect| *defect == Defect::NoChecksum);
}

#[test]
fn bytes_behind_the_inner_packet_are_found() {
    for inner in [v4(), v6()] {
        let len = inner.build().len() - ETHERNET_LEN;
        let expected = Defect::Field {
            what: "inner packet length",
            found: len,
            right: len + 3,
        };
        every_outer_finds(&inner.padded_by(3), |defect| *defect == expected);
    }
}

#[test]
fn wrong_outer_checksums_are_found() {
    for outer in [
        &ip_in_ip()[..1],
        &gue(Gue::Variant0)[..1],
        &gue(Gue::Variant1)[..1],
    ]
    .concat()
    {
        let frame = v6().inside(outer).ip_checksum_off_by(2).build();
        let defect = oracle::check_outer(&frame).unwrap_err();
        assert!(
            defect.to_string().starts_with("ipv4 header checksum is"),
            "{defect}"
        );
    }
    for variant in [Gue::Variant0, Gue::Variant1] {
        for outer in gue(variant) {
            let frame = v4().inside(outer.udp_checksum_off_by(2)).build();
            let defect = oracle::check_outer(&frame).unwrap_err();
            assert!(
                defect.to_string().starts_with("udp checksum is"),
                "{defect}"
            );
        }
    }
}

#[test]
fn outer_lengths_that_lie_are_found() {
    for variant in [Gue::Variant0, Gue::Variant1] {
        for outer in gue(variant) {
            let right = v4().inside(outer.clone()).udp_checksum();
            for packet in [v4().inside(outer), right] {
                let frame = packet.udp_length(9).build();
                let defect = oracle::check_outer(&frame).unwrap_err();
                assert!(
                    defect.to_string().starts_with("udp length is 9"),
                    "{defect}"
                );
            }
        }
    }
    for outer in outers() {
        let mut frame = v4().inside(outer).build();
        // The low byte of IPv4's total length or IPv6's payload length.
        let at = if frame[12..14] == [8, 0] { 17 } else { 19 };
        frame[at] += 1;
        let defect = oracle::check_outer(&frame).unwrap_err();
        assert!(matches!(defect, Defect::Short { .. }), "{defect}");
        frame[at] -= 2;
        assert!(oracle::check_outer(&frame).is_err());
    }
}

#[test]
fn what_gue_does_not_carry_here_is_found() {
    let [outer, _] = gue(Gue::Variant0);
    for (header, expected) in [
        ([0x20, 4, 0, 0], "gue control bit and header length is 32"),
        ([0x01, 4, 0, 0], "gue control bit and header length is 1"),
        ([0, 4, 0x80, 0x01], "gue flags is 32769"),
        ([0, 6, 0, 0], "protocol inside gue is 6"),
        ([0x50, 4, 0, 0], "start of a gue payload is 5"),
        ([0x80, 4, 0, 0], "start of a gue payload is 8"),
        ([0, 41, 0, 0], "ipv6 version is 4"),
    ] {
        let mut frame = v4().inside(outer.clone()).build();
        let at = ETHERNET_LEN + 20 + 8;
        frame[at..at + 4].copy_from_slice(&header);
        let defect = oracle::check_outer(&frame).unwrap_err();
        assert!(defect.to_string().starts_with(expected), "{defect}");
        assert!(describe(&frame).contains(expected), "{}", describe(&frame));
    }
}

#[test]
fn the_protocol_must_be_that_of_the_packet_inside() {
    for (inner, wrong) in [(v4(), 41), (v6(), 4)] {
        let [_, outer] = ip_in_ip();
        let mut frame = inner.inside(outer).build();
        frame[ETHERNET_LEN + 6] = wrong;
        let defect = oracle::check_outer(&frame).unwrap_err();
        assert!(matches!(defect, Defect::Impossible { .. }), "{defect}");
    }
    for packet in [v4(), v6()] {
        let defect = oracle::check_outer(&packet.build()).unwrap_err();
        assert_eq!(defect, Defect::NotTunnel(6));
    }
}
