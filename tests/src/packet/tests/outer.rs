//! Tunnels: each kind, in each pair of families. What goes wrong in them is in [`damage`].

mod damage;

use std::net::{IpAddr, SocketAddr};

use super::{
    bytes,
    udp::{udp4, udp6},
    v4, v6,
};
use crate::packet::{
    Extension, GUE_PORT, Gue, Packet, describe, mac,
    oracle::{self, Defect, Tunnel},
};

fn ends() -> [(IpAddr, IpAddr); 2] {
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8:1::1", "2001:db8:1::2"),
    ]
    .map(|(source, destination)| (source.parse().unwrap(), destination.parse().unwrap()))
}

fn ip_in_ip() -> [Packet; 2] {
    ends().map(|(source, destination)| Packet::ip_in_ip(source, destination))
}

fn gue(variant: Gue) -> [Packet; 2] {
    ends().map(|(source, destination)| {
        Packet::gue(
            variant,
            SocketAddr::new(source, 50_000),
            SocketAddr::new(destination, GUE_PORT),
        )
    })
}

/// Every kind of tunnel over either family; GUE without a checksum and with it.
fn outers() -> Vec<Packet> {
    let mut outers = ip_in_ip().to_vec();
    for variant in [Gue::Variant0, Gue::Variant1] {
        for outer in gue(variant) {
            outers.push(outer.clone());
            outers.push(outer.udp_checksum());
        }
    }
    outers
}

/// TCP and UDP of either family, with all that a header can have.
fn inners() -> [Packet; 6] {
    [
        v4().ip_options(1).payload(b"inner"),
        v6().extension(Extension::HopByHop { units: 2 }),
        v4(),
        v6().payload(b"odd"),
        udp4(),
        udp6().udp_checksum(),
    ]
}

fn pairs() -> Vec<(Packet, Packet)> {
    outers()
        .iter()
        .flat_map(|outer| inners().map(|inner| (outer.clone(), inner)))
        .collect()
}

/// Written out by hand from RFC 791, RFC 768 and the draft; the sums too.
#[test]
fn the_bytes_are_those_of_the_drafts() {
    let source = "192.0.2.1".parse().unwrap();
    let destination = "192.0.2.2".parse().unwrap();
    let nothing = Packet::raw(source, destination, 59, Vec::new())
        .identification(0)
        .dont_fragment(false);
    let inner = "45000014 00000000 403bf6ab c0000201 c0000202";
    let ethernet = "020000000002 020000000001 0800";
    for (outer, expected) in [
        (
            Packet::ip_in_ip(source, destination).identification(0),
            "45000028 00004000 4004b6ce c0000201 c0000202".to_owned(),
        ),
        (
            gue(Gue::Variant0)[0].clone().identification(0),
            "45000034 00004000 4011b6b5 c0000201 c0000202 c35017c0 00200000 00040000".to_owned(),
        ),
        (
            gue(Gue::Variant1)[0].clone().identification(0),
            "45000030 00004000 4011b6b9 c0000201 c0000202 c35017c0 001c0000".to_owned(),
        ),
    ] {
        let frame = nothing.clone().inside(outer).build();
        assert_eq!(
            frame,
            bytes(&format!("{ethernet} {expected} {inner}")),
            "{}",
            describe(&frame)
        );
    }
}

#[test]
fn what_the_builder_builds_the_oracle_finds_right() {
    for (outer, inner) in pairs() {
        let packet = inner.clone().macs(mac(5), mac(6)).vlan(9).inside(outer);
        let frame = packet.build();
        let (outer, found) = oracle::check_outer(&frame)
            .unwrap_or_else(|defect| panic!("{defect}\n{}", describe(&frame)));
        assert_eq!((outer.source_mac, outer.destination_mac), (mac(1), mac(2)));
        assert_eq!(found, inner.build(), "{}", describe(&found));
        assert_eq!((outer.padding, outer.ip_extra.len()), (0, 0));
    }
}

#[test]
fn outer_fields_are_set_before_and_after() {
    for outer in outers() {
        let frame = v4()
            .ttl(9)
            .tos(1)
            .inside(outer.ttl(40).tos(0xb8).flow_label(0xa_bcde))
            .macs(mac(3), mac(4))
            .identification(77)
            .dont_fragment(false)
            .padded_by(2)
            .build();
        let (outer, inner) = oracle::check_outer(&frame).unwrap();
        assert_eq!((outer.source_mac, outer.destination_mac), (mac(3), mac(4)));
        assert_eq!((outer.ttl, outer.tos, outer.padding), (40, 0xb8, 2));
        assert_eq!(
            (outer.identification, outer.dont_fragment, outer.flow_label),
            if outer.source.is_ipv4() {
                (77, false, 0)
            } else {
                (0, true, 0xa_bcde)
            }
        );
        assert_eq!(inner, v4().ttl(9).tos(1).macs(mac(3), mac(4)).build());
    }
}

#[test]
fn gue_has_its_ports_and_a_checksum_if_asked() {
    for variant in [Gue::Variant0, Gue::Variant1] {
        for outer in gue(variant) {
            for (outer, has_checksum) in [(outer.clone(), false), (outer.udp_checksum(), true)] {
                let (outer, _) = oracle::check_outer(&v6().inside(outer).build()).unwrap();
                let Tunnel::Gue {
                    variant: found,
                    source_port,
                    destination_port,
                    checksum,
                } = outer.tunnel
                else {
                    panic!("{outer:?}");
                };
                assert_eq!(found, variant);
                assert_eq!((source_port, destination_port), (50_000, GUE_PORT));
                assert_eq!(checksum != 0, has_checksum);
            }
        }
    }
}

/// Of these, the header is judged, and no more is known.
#[test]
fn fragments_and_other_protocols_may_be_inside() {
    let ping = Packet::ping(
        "198.51.100.7".parse().unwrap(),
        "203.0.113.10".parse().unwrap(),
    );
    for inner in [v4().fragment(1480, true), udp6().fragment(0, true), ping] {
        for outer in outers() {
            let (_, found) = oracle::check_outer(&inner.clone().inside(outer).build()).unwrap();
            assert_eq!(found, inner.build());
        }
    }
    let [outer, _] = ip_in_ip();
    let frame = v4()
        .fragment(1480, true)
        .ip_checksum_off_by(1)
        .inside(outer)
        .build();
    assert!(oracle::check_outer(&frame).is_err());
}

#[test]
fn a_tunnel_may_be_inside_a_tunnel() {
    let [outer, _] = gue(Gue::Variant1);
    let [_, middle] = ip_in_ip();
    let frame = v4().inside(middle.clone()).inside(outer.clone()).build();
    let (_, inner) = oracle::check_outer(&frame).unwrap();
    let (_, innermost) = oracle::check_outer(&inner).unwrap();
    assert_eq!(innermost, v4().build());

    let damaged = v4().tcp_checksum_off_by(1);
    let frame = damaged.inside(middle).inside(outer).build();
    assert!(oracle::check_outer(&frame).is_err());
}

#[test]
fn any_prefix_can_be_described() {
    for (outer, inner) in pairs() {
        let frame = inner.inside(outer).build();
        for len in 0..frame.len() {
            let found = oracle::read_outer(&frame[..len]);
            assert!(matches!(found, Err(Defect::Short { .. })), "{found:?}");
            assert!(describe(&frame[..len]).ends_with("bytes)"));
        }
    }
}

#[test]
fn both_headers_are_described() {
    let [over_v4, over_v6] = ip_in_ip();
    let text = describe(&v4().inside(over_v4.tos(0xb8)).build());
    assert_eq!(
        text,
        "02:00:00:00:00:01 > 02:00:00:00:00:02 192.0.2.1 > 192.0.2.2 ttl 64 tos 0xb8 \
         id 0x1234 df ip in ip | 198.51.100.7:40000 > 203.0.113.10:80 ttl 64 [S] \
         seq 1000 ack 0 win 64240 (74 bytes)"
    );
    let text = describe(&udp4().inside(over_v6).build());
    assert!(
        text.contains("flow 0x00000 ip in ip | 198.51.100.7:40000"),
        "{text}"
    );
    let [outer, _] = gue(Gue::Variant0);
    let text = describe(&v4().inside(outer).build());
    assert!(
        text.contains("gue Variant0 ports 50000 > 6080 no checksum | "),
        "{text}"
    );
}
