//! The frames that are tried. Pure.

use std::net::IpAddr;

use etherparse::{PacketBuilder, PacketBuilderStep};
use lb_common::PROTOCOL_UDP;

use super::Question;

const HOP_LIMIT: u8 = 64;
/// What a SYN offers, and nobody uses, in bytes.
const WINDOW: u16 = 64_240;
/// Whose MAC address it comes from is of no matter: a locally administered one.
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ETHERNET: usize = 14;

/// The first packet: one that opens a flow, or one of a flow that exists.
pub(super) fn first(question: &Question, exists: bool) -> Vec<u8> {
    let ip = ip(question);
    let ports = (question.client.port(), question.vip.port());
    if question.protocol == PROTOCOL_UDP {
        return written(|to| ip.udp(ports.0, ports.1).write(to, b"divvy"));
    }
    let tcp = ip.tcp(ports.0, ports.1, 1, WINDOW);
    if exists {
        return written(|to| tcp.ack(1).write(to, &[]));
    }
    written(|to| tcp.syn().write(to, &[]))
}

/// A packet of that size, with its IP header, which must not be fragmented.
pub(super) fn large(question: &Question) -> Vec<u8> {
    let ip = ip(question);
    let ports = (question.client.port(), question.vip.port());
    let headers = if question.vip.is_ipv4() { 20 } else { 40 };
    let room = |transport: usize| (question.size as usize).saturating_sub(headers + transport);
    if question.protocol == PROTOCOL_UDP {
        return written(|to| ip.udp(ports.0, ports.1).write(to, &vec![0; room(8)]));
    }
    let tcp = ip.tcp(ports.0, ports.1, 2, WINDOW).ack(1);
    written(|to| tcp.write(to, &vec![0; room(20)]))
}

/// What an ICMP error says that the way carries (RFC 1191, section 4; RFC 4443, section 3.2). Its IP header
/// has no options: the program wrote it.
pub(super) fn told_mtu(frame: &[u8]) -> Option<u32> {
    let version = frame.get(ETHERNET)? >> 4;
    let bytes = if version == 4 {
        let at = ETHERNET + 20 + 6;
        [0, 0, *frame.get(at)?, *frame.get(at + 1)?]
    } else {
        let at = ETHERNET + 40 + 4;
        frame.get(at..at + 4)?.try_into().ok()?
    };
    Some(u32::from_be_bytes(bytes))
}

/// # Panics
/// Never for ends of one family, which they are.
fn ip(question: &Question) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(SENDER, question.mac);
    match (question.client.ip(), question.vip.ip()) {
        (IpAddr::V4(client), IpAddr::V4(vip)) => {
            ethernet.ipv4(client.octets(), vip.octets(), HOP_LIMIT)
        }
        (IpAddr::V6(client), IpAddr::V6(vip)) => {
            ethernet.ipv6(client.octets(), vip.octets(), HOP_LIMIT)
        }
        _ => unreachable!("a question has ends of one family"),
    }
}

fn written<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).expect("a vector takes what is written, and sizes are limited");
    frame
}
