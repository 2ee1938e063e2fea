//! Answers to segments: resets (RFC 9293, section 3.10.7.1), and errors that tell why a segment could not
//! go on (RFC 792, RFC 1191, RFC 4443).

use lb_common::service::mode;

use super::{Case, Fate, Fault, Judge, bytes, claim, forth, path, unsound};
use crate::{
    fuzz::{
        dissect::{self, Content, Ip, Segment, be16, be32},
        end::{End, Ways},
        frame::Frame,
        sum::Sum,
        world::MTU,
    },
    packet::{ETHERNET_LEN, flag::*, protocol},
};

/// Hops of what the balancer makes itself.
const HOPS: u8 = 64;

/// What came out is a message to who sent the segment.
pub(super) fn is_error(case: &Case<'_>, ip: &Ip) -> bool {
    let is_message = |out: &Ip| {
        out.protocol
            == if ip.v6 {
                protocol::ICMPV6
            } else {
                protocol::ICMP
            }
            && out.destination == ip.source
    };
    matches!(dissect::frame(case.out), Content::NoPorts(out) if is_message(&out))
}

/// What came out goes back to who sent the segment.
pub(super) fn is_reset(case: &Case<'_>, segment: &Segment) -> bool {
    match dissect::frame(case.out) {
        Content::Segment(out) => out.ways == segment.ways.back() && segment.is_tcp(),
        _ => false,
    }
}

impl Judge {
    pub(super) fn answered(&mut self, case: &Case<'_>, segment: &Segment) -> Result<Fate, Fault> {
        claim!(!segment.has(RST), "a reset was answered");
        claim!(
            self.is_ours(case, (segment.ip.protocol, segment.ways)),
            "what is not ours was answered: {:?}",
            segment.ways
        );
        somebody(&segment.ways)?;
        forth::leaves_by(case, true)?;
        reset(&mut self.expected, case, segment)?;
        bytes::same(&self.expected, case.out)?;
        Ok(Fate::Answered)
    }

    /// The sender was told why a segment of it could not go on.
    pub(super) fn told(&mut self, case: &Case<'_>, segment: &Segment) -> Result<Fate, Fault> {
        claim!(
            self.is_ours(case, (segment.ip.protocol, segment.ways)),
            "who sent what is not ours was told something: {:?}",
            segment.ways
        );
        somebody(&segment.ways)?;
        forth::leaves_by(case, true)?;
        let mtus = self.mtus(case, segment);
        let back = self.flows.back(&(segment.ip.protocol, segment.ways));
        let past_us = back.is_some() && self.mode(case, segment) == Some(mode::ROUTE);
        error(&mut self.expected, case, segment, &mtus, past_us)?;
        bytes::same(&self.expected, case.out)?;
        Ok(Fate::Answered)
    }

    fn mode(&self, case: &Case<'_>, segment: &Segment) -> Option<u8> {
        self.service_of_either(case, segment)
            .map(|service| service.mode)
    }

    /// Bytes that such a packet may have on its ways, as it arrives.
    fn mtus(&self, case: &Case<'_>, segment: &Segment) -> Vec<usize> {
        const DIFFERENCE: usize = 20;
        let v6 = segment.ip.v6;
        let least = if v6 { 1_280 } else { 68 };
        let Some(service) = self.service_of_either(case, segment) else {
            return Vec::new();
        };
        let ways = case.world.backends_of(service.idx).iter();
        let ways = ways.map(|backend| match (service.is_tunnel(), service.crossed) {
            (true, _) => self
                .limit(service, backend)
                .saturating_sub(path::overhead(service)),
            (false, false) => MTU as usize,
            // Which becomes one of the other family.
            (false, true) if v6 => MTU as usize + DIFFERENCE,
            (false, true) => MTU as usize - DIFFERENCE,
        });
        ways.map(|most| most.max(least)).collect()
    }
}

/// Whoever is answered exists, and is not whom the packet was for.
fn somebody(ways: &Ways) -> Result<(), Fault> {
    let wrong = unsound::of_client(&ways.source, &ways.destination);
    claim!(wrong.is_empty(), "nobody was answered: {wrong:?}");
    Ok(())
}

/// Has `expected` hold the reset of a segment.
fn reset(expected: &mut Frame, case: &Case<'_>, segment: &Segment) -> Result<(), Fault> {
    let (sent, out) = (case.sent, case.out);
    let v6 = segment.ip.v6;
    let ways = segment.ways.back();
    let transport = ETHERNET_LEN + if v6 { 40 } else { 20 };
    claim!(
        out.len() == transport + 20,
        "a reset of {} bytes",
        out.len()
    );
    expected.clear();
    expected.ethernet(&forth::mac(&sent[..6]), &forth::mac(&sent[6..12]), &[], v6);
    if v6 {
        expected.push32(6 << 28);
        expected.push16(20);
        expected.push(&[protocol::TCP, HOPS]);
    } else {
        expected.push(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, HOPS, protocol::TCP]);
        expected.push16(be16(out, 24));
        let sum = Sum::of(&out[ETHERNET_LEN..transport]).remainder();
        claim!(sum == 0, "the header's sum is off by {sum:#06x}");
    }
    expected.push(ways.source.octets());
    expected.push(ways.destination.octets());
    expected.push16(ways.source.port);
    expected.push16(ways.destination.port);
    if segment.has(ACK) {
        expected.push32(segment.acknowledgement);
        expected.push32(0);
        expected.push(&[0x50, RST]);
    } else {
        let more =
            segment.payload as u32 + u32::from(segment.has(SYN)) + u32::from(segment.has(FIN));
        expected.push32(0);
        expected.push32(segment.sequence.wrapping_add(more));
        expected.push(&[0x50, RST | ACK]);
    }
    expected.push16(0);
    expected.push16(be16(out, transport + 16));
    expected.push16(0);
    let sum = Sum::of(&out[transport..])
        .and_pseudo_header(&ways, protocol::TCP, 20)
        .remainder();
    claim!(sum == 0, "the reset's sum is off by {sum:#06x}");
    Ok(())
}

/// Most bytes of a message's packet (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 c).
const fn most(v6: bool) -> usize {
    if v6 { 1_280 } else { 576 }
}

/// Has `expected` hold what its sender is told of a segment: if it was too big, one of these MTUs.
fn error(
    expected: &mut Frame,
    case: &Case<'_>,
    segment: &Segment,
    mtus: &[usize],
    addressed_past_us: bool,
) -> Result<(), Fault> {
    const HEADER: usize = 8;
    let (sent, out, ip) = (case.sent, case.out, &segment.ip);
    let body = ETHERNET_LEN + if ip.v6 { 40 } else { 20 };
    claim!(
        out.len() >= body + HEADER,
        "a message of {} bytes",
        out.len()
    );
    let quote = out.len() - body - HEADER;
    let length = ip.end - ip.start;
    claim!(
        quote <= length && out.len() - ETHERNET_LEN <= most(ip.v6),
        "{quote} bytes of {length} are quoted"
    );
    claim!(
        quote + 3 >= length.min(most(ip.v6) + ETHERNET_LEN - body - HEADER),
        "only {quote} bytes of {length} are quoted"
    );
    let (at, octets) = if ip.v6 { (22, 16) } else { (26, 4) };
    let source = End::read(&out[at..at + octets], 0);
    let (kind, code, rest) = (out[body], out[body + 1], be32(out, body + 4));
    let in_time = if ip.v6 { (3, 0) } else { (11, 0) };
    if (kind, code) == in_time {
        claim!(
            ip.hops == 1 && rest == 0,
            "time exceeded with {} hops left",
            ip.hops
        );
        is_own(case, &source)?;
    } else {
        claim!(
            (kind, code) == if ip.v6 { (2, 0) } else { (3, 4) },
            "a message of type {kind} and code {code}"
        );
        let mtu = rest as usize;
        claim!(mtus.contains(&mtu), "told {mtu}, not one of {mtus:?}");
        claim!(mtu < length, "{length} bytes are too big for {mtu}");
        if addressed_past_us {
            is_own(case, &source)?;
        } else {
            claim!(
                source == ip.destination,
                "an error came from {source:?}, not from whom the packet was for"
            );
        }
    }
    expected.clear();
    expected.ethernet(
        &forth::mac(&sent[..6]),
        &forth::mac(&sent[6..12]),
        &[],
        ip.v6,
    );
    if ip.v6 {
        expected.push32(6 << 28);
        expected.push16((HEADER + quote) as u16);
        expected.push(&[protocol::ICMPV6, HOPS]);
    } else {
        // Precedence "internetwork control" (RFC 1812, section 4.3.2.5).
        expected.push(&[0x45, 0xc0]);
        expected.push16((20 + HEADER + quote) as u16);
        expected.push(&[0, 0, 0x40, 0, HOPS, protocol::ICMP]);
        expected.push16(be16(out, 24));
        let sum = Sum::of(&out[ETHERNET_LEN..body]).remainder();
        claim!(sum == 0, "the header's sum is off by {sum:#06x}");
    }
    expected.push(source.octets());
    expected.push(ip.source.octets());
    expected.push(&[kind, code, out[body + 2], out[body + 3]]);
    expected.push32(rest);
    expected.push(&sent[ip.start..ip.start + quote]);
    let ways = Ways {
        source,
        destination: ip.source,
    };
    let mut sum = Sum::of(&out[body..]);
    if ip.v6 {
        sum = sum.and_pseudo_header(&ways, protocol::ICMPV6, HEADER + quote);
    }
    let sum = sum.remainder();
    claim!(sum == 0, "the message's sum is off by {sum:#06x}");
    Ok(())
}

/// Whoever tells is an address of ours.
fn is_own(case: &Case<'_>, source: &End) -> Result<(), Fault> {
    claim!(
        case.world.is_own(source),
        "an error came from {source:?}, not from our own address"
    );
    Ok(())
}
