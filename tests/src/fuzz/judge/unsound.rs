//! What nobody sound sends, or nobody could answer.

use super::Case;
use crate::{
    fuzz::{
        dissect::{Ip, Segment},
        end::End,
        sum::Sum,
    },
    packet::flag::*,
};

/// IPv4 options by which the sender chooses the way (RFC 791, section 3.1).
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;

/// What is wrong with a segment, whichever flow it is of.
pub fn of_any(case: &Case<'_>, segment: &Segment) -> Option<&'static str> {
    if let Some(what) = of_ip(case, &segment.ip) {
        return Some(what);
    }
    let possible = matches!(
        segment.flags & (FIN | SYN | RST | ACK),
        SYN | ACK | RST | 0x12 | 0x14 | 0x11
    );
    (segment.is_tcp() && !possible).then_some("its flags")
}

/// What is wrong with a frame or its IP header.
pub fn of_ip(case: &Case<'_>, ip: &Ip) -> Option<&'static str> {
    if (case.sent[0] | case.sent[6]) & 1 != 0 {
        return Some("a MAC address of a group");
    }
    if !ip.v6 && Sum::of(&case.sent[ip.start..ip.body]).remainder() != 0 {
        return Some("the header's checksum");
    }
    (ip.hops == 0).then_some("no hops")
}

/// What is wrong with an end that opens a flow.
pub fn of_client(source: &End, vip: &End) -> Option<&'static str> {
    if source.same_host(vip) {
        return Some("it comes from the vip");
    }
    is_nobody(source).then_some("it comes from an address that no host has")
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

/// It may have options by which the sender chooses the way.
pub fn may_choose_its_way(case: &Case<'_>, ip: &Ip) -> bool {
    !ip.v6
        && case.sent[ip.start + 20..ip.body]
            .iter()
            .any(|byte| matches!(*byte, LOOSE_ROUTE | STRICT_ROUTE))
}
