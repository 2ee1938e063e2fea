//! Packets of every kind that a trace meets.

use etherparse::PacketBuilder;

use super::*;

const GUE: &[u16] = &[6080];

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([198, 51, 100, 7], [203, 0, 113, 10], 61)
        .tcp(40_000, 80, 1, 1_024)
        .syn()
        .ack(7)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn texts(packet: &Packet) -> (String, String, &str) {
    (packet.from_text(), packet.to_text(), &packet.protocol)
}

#[test]
fn a_segment_is_read_and_its_end_may_be_missing() {
    let whole = tcp(&[7; 500]);
    for length in [whole.len(), 192, 54] {
        let packet = Packet::in_frame(&whole[..length], GUE).unwrap();
        let ends = ("198.51.100.7:40000".into(), "203.0.113.10:80".into(), "tcp");
        assert_eq!(texts(&packet), ends, "{length}");
        assert_eq!((packet.flags.as_str(), packet.hops), ("S.", 61));
    }
    assert_eq!(macs(&whole), Some(([4; 6], [2; 6])));
}

#[test]
fn the_packet_in_a_tunnel_is_read_too() {
    let inner = &tcp(b"x")[14..];
    let address: IpAddr = "fd00::1".parse().unwrap();
    let IpAddr::V6(v6) = address else { panic!() };
    let gue = [&[0, 4, 0, 0], inner].concat();
    for (port, payload) in [(6080, gue.as_slice()), (6080, inner)] {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6(v6.octets(), v6.octets(), 64)
            .udp(50_000, port)
            .write(&mut frame, payload)
            .unwrap();
        let outer = Packet::in_frame(&frame, GUE).unwrap();
        assert_eq!(outer.to_text(), "[fd00::1]:6080");
        assert_eq!(outer.inner.unwrap().to_text(), "203.0.113.10:80");
        assert!(Packet::in_frame(&frame, &[]).unwrap().inner.is_none());
    }
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(v6.octets(), v6.octets(), 64)
        .write(&mut frame, etherparse::IpNumber(PROTOCOL_IPV4), inner)
        .unwrap();
    let outer = Packet::in_frame(&frame, &[]).unwrap();
    assert_eq!(texts(&outer).0, "fd00::1");
    assert_eq!(outer.inner.unwrap().from_text(), "198.51.100.7:40000");
}

#[test]
fn what_is_not_ip_is_no_packet() {
    let mut frame = tcp(b"");
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(Packet::in_frame(&frame, GUE), None);
    assert_eq!(Packet::in_frame(&frame[..10], GUE), None);
}
