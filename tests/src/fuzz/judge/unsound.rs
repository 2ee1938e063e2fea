//! What nobody sound sends, or nobody could answer.

use lb_common::reason::Reason;

use super::Case;
use crate::{
    fuzz::{
        dissect::{Ip, Segment, be16},
        end::End,
        reasons::Reasons,
        sum::Sum,
    },
    packet::{ETHERNET_LEN, ethertype, flag::*},
};

/// IPv4 options by which the sender chooses the way (RFC 791, section 3.1).
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;

/// What is wrong with a segment, whichever flow it is of.
pub fn of_any(case: &Case<'_>, segment: &Segment) -> Reasons {
    let impossible = segment.is_tcp() && !is_possible(segment.flags);
    of_ip(case, &segment.ip)
        .or(Reason::BadFlags, impossible)
        .or(Reason::SourceRouted, chooses_its_way(case))
}

/// Flags that Linux's connection tracking takes; PSH, ECE and CWR may come with any.
const fn is_possible(flags: u8) -> bool {
    const URG: u8 = 0x20;
    match (flags & (FIN | SYN | RST | ACK), flags & URG != 0) {
        (SYN | ACK | 0x11, _) => true,
        (RST | 0x12 | 0x14, urgent) => !urgent,
        _ => false,
    }
}

/// What is wrong with a frame or its IP header.
pub fn of_ip(case: &Case<'_>, ip: &Ip) -> Reasons {
    let header = &case.sent[ip.start..ip.body.min(case.sent.len())];
    let wrong = !ip.v6 && Sum::of(header).remainder() != 0;
    Reasons::default()
        .or(Reason::NotUnicast, case.sent[0] & 1 != 0)
        .or(Reason::BadChecksum, wrong)
        .or(Reason::TtlZero, ip.hops == 0)
}

/// What is wrong with an end that opens a flow, or would be answered.
pub fn of_client(source: &End, vip: &End) -> Reasons {
    Reasons::default()
        .or(Reason::Land, source.same_host(vip))
        .or(Reason::Martian, is_nobody(source))
}

/// No single host has this address.
pub fn is_nobody(end: &End) -> bool {
    let octets = end.octets();
    if !end.v6 {
        return matches!(octets[0], 0 | 127 | 224..);
    }
    let is_special = octets[..15].iter().all(|octet| *octet == 0) && octets[15] <= 1;
    is_special || is_mapped(end) || octets[0] == 0xff
}

/// It is an IPv4 address in the form of IPv6.
pub fn is_mapped(end: &End) -> bool {
    let octets = end.octets();
    end.v6 && octets[..10].iter().all(|octet| *octet == 0) && octets[10..12] == [0xff; 2]
}

/// Among its IPv4 options is one by which the sender chooses the way.
pub fn chooses_its_way(case: &Case<'_>) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const HEADER: usize = 20;
    let Some(packet) = case.sent.get(ETHERNET_LEN..ETHERNET_LEN + HEADER) else {
        return false;
    };
    let length = usize::from(packet[0] & 15) * 4;
    if be16(case.sent, 12) != ethertype::IPV4 || packet[0] >> 4 != 4 || length < HEADER {
        return false;
    }
    let all = &case.sent[ETHERNET_LEN + HEADER..];
    let mut options = &all[..all.len().min(length - HEADER)];
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest.first()) {
            (END, _) => return false,
            (NO_OPERATION, _) => rest,
            (LOOSE_ROUTE | STRICT_ROUTE, _) => return true,
            (_, Some(length @ 2..)) => options.get(usize::from(*length)..).unwrap_or(&[]),
            _ => return false,
        };
    }
    false
}
