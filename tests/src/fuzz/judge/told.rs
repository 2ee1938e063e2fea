//! An ICMP error that went to the other address family (RFC 7915, sections 4.2 and 5.2).

use super::{
    Case, Fault, bytes, claim,
    echo::HEADER,
    error::{LEAST, Quoted},
    translated::ip_header,
};
use crate::{
    fuzz::{
        dissect::{Ip, be16},
        end::Ways,
        frame::Frame,
        sum::Sum,
    },
    packet::{ETHERNET_LEN, Mac, protocol},
};

/// What the error is in the other family: type, code, and what follows the checksum. `None`: nothing.
pub fn likeness(case: &Case<'_>, ip: &Ip) -> Option<(u8, u8, u32)> {
    const UNREACHABLE4: u8 = 3;
    const UNREACHABLE6: u8 = 1;
    const TOO_BIG6: u8 = 2;
    const EXCEEDED4: u8 = 11;
    const EXCEEDED6: u8 = 3;
    const PROBLEM6: u8 = 4;
    let message = &case.sent[ip.body..ip.end];
    let low = u32::from(be16(message, 6));
    let all = u32::from(be16(message, 4)) << 16 | low;
    match (ip.v6, message[0], message[1]) {
        (false, UNREACHABLE4, 0 | 1 | 5..=8 | 11 | 12) => Some((UNREACHABLE6, 0, 0)),
        (false, UNREACHABLE4, 2) => Some((PROBLEM6, 1, 6)),
        (false, UNREACHABLE4, 3) => Some((UNREACHABLE6, 4, 0)),
        (false, UNREACHABLE4, 4) => Some((TOO_BIG6, 0, (low + 20).max(1_280))),
        (false, UNREACHABLE4, 9 | 10 | 13 | 15) => Some((UNREACHABLE6, 1, 0)),
        (false, EXCEEDED4, code) => Some((EXCEEDED6, code, 0)),
        (true, UNREACHABLE6, 0 | 2 | 3) => Some((UNREACHABLE4, 1, 0)),
        (true, UNREACHABLE6, 1) => Some((UNREACHABLE4, 10, 0)),
        (true, UNREACHABLE6, 4) => Some((UNREACHABLE4, 3, 0)),
        (true, TOO_BIG6, _) => Some((UNREACHABLE4, 4, (all.max(1_280) - 20) & 0xffff)),
        (true, EXCEEDED6, code) => Some((EXCEEDED4, code, 0)),
        (true, PROBLEM6, 1) => Some((UNREACHABLE4, 2, 0)),
        _ => None,
    }
}

/// Has `expected` hold the error as it must come out between the ends `outer`, about a packet between those of
/// `inner`.
pub fn rewrite(
    expected: &mut Frame,
    case: &Case<'_>,
    ip: &Ip,
    quoted: &Quoted,
    (outer, inner): (&Ways, &Ways),
    macs: Option<(Mac, Mac)>,
) -> Result<(), Fault> {
    let (sent, out) = (case.sent, case.out);
    let Some((kind, code, rest)) = likeness(case, ip) else {
        return Err("an error went to a family that has none like it".to_owned());
    };
    let v6 = !ip.v6;
    let header = if v6 { 40 } else { 20 };
    let message = HEADER + header + LEAST;
    claim!(
        out.len() == ETHERNET_LEN + header + message,
        "an error of {} bytes went to the other family",
        out.len()
    );
    expected.clear();
    let mac = super::forth::mac;
    expected.ethernet(&mac(&sent[6..12]), &mac(&sent[..6]), &[], v6);
    bytes::macs(expected, macs);
    let hops = ip.hops - u8::from(macs.is_some());
    let number = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
    let fields = (ip.traffic_class, hops, number);
    ip_header(expected, out, fields, outer, message)?;

    let icmp = ETHERNET_LEN + header;
    expected.push(&[kind, code]);
    expected.push16(be16(out, icmp + 2));
    expected.push32(rest);
    let sum = Sum::of(&out[icmp..]);
    let sum = match v6 {
        true => sum.and_pseudo_header(outer, number, message),
        false => sum,
    };
    claim!(sum.remainder() == 0, "the new error's sum is wrong");

    let start = quoted.start;
    let (class, hops) = if quoted.v6 {
        let class = (be16(sent, start) >> 4) as u8;
        (class, sent[start + 7])
    } else {
        (sent[start + 1], sent[start + 8])
    };
    let length = quoted.length - (quoted.transport - start);
    let fields = (class, hops, quoted.protocol);
    ip_header(expected, out, fields, inner, length)?;

    let transport = icmp + HEADER + header;
    let head = &sent[quoted.transport..][..LEAST];
    expected.push(head);
    bytes::ports(expected.bytes_mut(), transport, inner);
    if quoted.protocol == protocol::UDP {
        bytes::copy16(expected.bytes_mut(), out, transport + 6);
        let sum = |head: &[u8], ways| {
            Sum::of(head)
                .and_pseudo_header(ways, quoted.protocol, 0)
                .remainder()
        };
        let (before, after) = (sum(head, &quoted.ways), sum(&out[transport..], inner));
        claim!(
            before == after,
            "the quoted datagram's sum was off by {before:#06x} and is by {after:#06x}"
        );
    }
    bytes::same(expected, out)
}
