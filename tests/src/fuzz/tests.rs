//! What makes packets, and what reads them, against the builder and the oracle that the fixtures use.

use super::{
    dissect::{self, Content},
    end::{End, Ways},
    frame::Frame,
    make::write::{Body, Payload, Spec},
    sum::Sum,
};
use crate::packet::{Extension, Packet, TcpOption, flag::*, mac, oracle, protocol};

const FAMILIES: [[&str; 2]; 2] = [
    ["192.0.2.1:40000", "203.0.113.10:80"],
    ["[2001:db8::1]:40000", "[2001:db8::10]:80"],
];

fn ways([source, destination]: [&str; 2]) -> Ways {
    let end = |text: &str| {
        let address: std::net::SocketAddr = text.parse().expect("an address and port");
        End::new(address.ip(), address.port())
    };
    Ways {
        source: end(source),
        destination: end(destination),
    }
}

/// Every valid packet of the maker is one in the eyes of the oracle.
#[test]
fn what_is_made_is_sound() {
    let mut frame = Frame::default();
    for ends in FAMILIES {
        for (options, payload) in [(0, 0), (1, 1), (10, 37), (3, 1_300)] {
            let tcp = Body::Tcp {
                sequence: 0xffff_ffff,
                acknowledgement: 7,
                flags: ACK,
                options,
            };
            let macs = [mac(1), mac(2)];
            let mut spec = Spec::new(ways(ends), macs, tcp);
            spec.options = options;
            spec.extended = 3;
            spec.write(&mut frame, Payload::Text(payload));
            let segment = oracle::check(frame.bytes()).expect("a sound segment");
            assert_eq!(segment.payload.len(), payload);
            spec.body = Body::Udp { summed: true };
            spec.write(&mut frame, Payload::Text(payload));
            let datagram = oracle::check_udp(frame.bytes()).expect("a sound datagram");
            assert_eq!(datagram.payload.len(), payload);
        }
    }
}

/// The parser finds what the builder wrote.
#[test]
fn what_is_built_is_found() {
    for ends in FAMILIES {
        let [source, destination] = ends.map(|text| text.parse().expect("an address and port"));
        let packet = Packet::tcp(source, destination)
            .flags(SYN | ACK)
            .seq(77)
            .ack(99)
            .ttl(9)
            .tos(0x2e)
            .options(&TcpOption::of_a_syn())
            .ip_options(2)
            .payload(b"hello")
            .padded_by(6);
        let packet = match source.is_ipv4() {
            true => packet,
            false => packet.extension(Extension::Destination { units: 2 }),
        };
        let frame = packet.build();
        let Content::Segment(segment) = dissect::frame(&frame) else {
            panic!("{:?}", dissect::frame(&frame));
        };
        assert_eq!(segment.ways, ways(ends));
        assert_eq!(dissect::rough(&frame), Some((protocol::TCP, ways(ends))));
        assert_eq!((segment.sequence, segment.acknowledgement), (77, 99));
        assert_eq!((segment.flags, segment.payload), (SYN | ACK, 5));
        let ip = segment.ip;
        assert_eq!(
            (ip.hops, ip.traffic_class, ip.end),
            (9, 0x2e, frame.len() - 6)
        );
        let sum = Sum::of(&frame[ip.body..ip.end]);
        let sum = sum.and_pseudo_header(&segment.ways, ip.protocol, ip.end - ip.body);
        assert_eq!(sum.remainder(), 0);
    }
}

/// A cut frame is no segment, wherever it is cut.
#[test]
fn what_is_cut_is_broken() {
    for ends in FAMILIES {
        let [source, destination] = ends.map(|text| text.parse().expect("an address and port"));
        let frame = Packet::tcp(source, destination).payload(b"hello").build();
        for len in 0..frame.len() {
            assert_eq!(
                dissect::frame(&frame[..len]),
                Content::Broken,
                "{len} bytes"
            );
        }
    }
}
