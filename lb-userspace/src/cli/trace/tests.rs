//! What a trace looks like to people and to Wireshark.

use std::net::IpAddr;

use pcap_file::pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};

use super::*;
use crate::control::view::trace::Packet;

fn packet(source: (&str, u16), destination: (&str, u16)) -> Packet {
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    Packet {
        source: ip(source.0),
        source_port: Some(source.1),
        destination: ip(destination.0),
        destination_port: Some(destination.1),
        protocol: "tcp".to_owned(),
        flags: "S".to_owned(),
        hops: 64,
        inner: None,
    }
}

fn forwarded() -> Decision {
    Decision {
        time: "2026-11-29T11:02:03.123456Z".to_owned(),
        service: "web".to_owned(),
        backend: Some("web-1".to_owned()),
        interface: "eth0".to_owned(),
        verdict: "forward".to_owned(),
        reason: None,
        meaning: None,
        arrived: Some(packet(("198.51.100.7", 40_000), ("203.0.113.10", 80))),
        left: Some(packet(("10.0.0.5", 2_000), ("10.0.0.11", 8_080))),
        arrived_length: 66,
        left_length: 66,
        arrived_bytes: "0a0b".to_owned(),
        left_bytes: "0c".to_owned(),
    }
}

fn dropped() -> Decision {
    Decision {
        verdict: "drop".to_owned(),
        backend: None,
        reason: Some("source_denied".to_owned()),
        meaning: Some("The lists say no.".to_owned()),
        left: None,
        left_length: 0,
        left_bytes: String::new(),
        ..forwarded()
    }
}

#[test]
fn a_line_says_what_became_of_a_packet() {
    assert_eq!(
        human::line(&forwarded()),
        "11:02:03.123456  web-1        forward  eth0 198.51.100.7:40000 > 203.0.113.10:80 tcp S 66 B  \
         as 10.0.0.5:2000 > 10.0.0.11:8080 tcp S"
    );
    assert_eq!(
        human::line(&dropped()),
        "11:02:03.123456  -            drop     eth0 198.51.100.7:40000 > 203.0.113.10:80 tcp S 66 B  \
         source_denied: The lists say no"
    );
}

#[test]
fn a_capture_holds_both_frames_with_comment_time_and_direction() {
    let mut file = Vec::new();
    let mut capture = Capture::begin(&mut file).unwrap();
    capture.add(&forwarded()).unwrap();
    capture.add(&dropped()).unwrap();
    drop(capture);
    let mut reader = PcapNgReader::new(file.as_slice()).unwrap();
    let (mut names, mut packets) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => {
                names.push(format!("{:?}", interface.options[0]));
            }
            Block::EnhancedPacket(packet) => packets.push(packet.into_owned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names, ["IfName(\"eth0\")", "IfName(\"divvy\")"]);
    let told: Vec<_> = (packets.iter())
        .map(|packet| {
            (
                packet.interface_id,
                packet.data.to_vec(),
                packet.original_len,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (0, vec![0x0a, 0x0b], 66),
            (1, vec![0x0c], 66),
            (0, vec![0x0a, 0x0b], 66)
        ]
    );
    assert_eq!(packets[0].timestamp.as_micros() % 1_000_000, 123_456);
    let comment = human::line(&dropped());
    assert_eq!(
        packets[2].options,
        [
            EnhancedPacketOption::Comment(comment.into()),
            EnhancedPacketOption::Flags(1)
        ]
    );
    assert!(matches!(
        packets[1].options[1],
        EnhancedPacketOption::Flags(2)
    ));
}

#[test]
fn shares_are_read() {
    for (text, every) in [
        ("all", 1),
        ("100%", 1),
        ("1%", 100),
        ("0.1%", 1_000),
        ("1/7", 7),
    ] {
        assert_eq!(text.parse(), Ok(Sample(every)), "{text}");
    }
    for text in [
        "", "0%", "101%", "-1%", "1/0", "2/3", "1", "%", "NaN%", "1/x",
    ] {
        assert!(text.parse::<Sample>().is_err(), "{text}");
    }
}
