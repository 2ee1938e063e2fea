//! Echo requests for an address of a vip (RFC 792; RFC 4443, section 4), which are answered.

use super::{Case, Fate, Fault, Judge, bytes, claim, forth, unsound};
use crate::{
    fuzz::{
        dissect::{Ip, be16},
        end::Ways,
        frame::Frame,
        sum::Sum,
    },
    packet::{ETHERNET_LEN, protocol},
};

const HOPS: u8 = 64;

/// Bytes of the header of a message.
pub const HEADER: usize = 8;

/// Types of the request and of its reply.
const fn kinds(v6: bool) -> (u8, u8) {
    if v6 { (128, 129) } else { (8, 0) }
}

/// The header of the message is there, and lengths do not contradict one another.
pub fn is_whole(case: &Case<'_>, ip: &Ip) -> bool {
    ip.end <= case.sent.len() && ip.body + HEADER <= ip.end
}

/// It is the ICMP of its family.
pub const fn is_icmp(ip: &Ip) -> bool {
    ip.protocol
        == if ip.v6 {
            protocol::ICMPV6
        } else {
            protocol::ICMP
        }
}

/// An echo request.
pub fn is_request(case: &Case<'_>, ip: &Ip) -> bool {
    is_icmp(ip) && is_whole(case, ip) && case.sent[ip.body..ip.body + 2] == [kinds(ip.v6).0, 0]
}

/// A message about a packet that it quotes.
pub fn is_error(case: &Case<'_>, ip: &Ip) -> bool {
    is_icmp(ip)
        && is_whole(case, ip)
        && match case.sent[ip.body] {
            1..=4 if ip.v6 => true,
            3 | 4 | 11 | 12 => !ip.v6,
            _ => false,
        }
}

impl Judge {
    /// ICMP was passed. An echo request that is all right is answered.
    pub(super) fn icmp_passed(&mut self, case: &Case<'_>, ip: &Ip) -> Result<(), Fault> {
        self.hear(case, ip);
        self.error_passed(case, ip);
        if !is_request(case, ip) || !case.world.is_vip_address(&ip.destination) {
            return Ok(());
        }
        let sound = !ip.fragment
            && !unsound::chooses_its_way(case)
            && unsound::of_ip(case, ip).is_empty()
            && unsound::of_client(&ip.source, &ip.destination).is_empty();
        claim!(!sound, "an echo request for a vip was passed");
        Ok(())
    }

    pub(super) fn may_drop_icmp(&self, case: &Case<'_>, ip: &Ip) -> bool {
        if is_request(case, ip) {
            return case.world.is_vip_address(&ip.destination);
        }
        self.is_about_ours(case, ip)
    }

    pub(super) fn icmp_sent_on(&mut self, case: &Case<'_>, ip: &Ip) -> Result<Fate, Fault> {
        claim!(is_whole(case, ip), "half a message was sent on");
        claim!(!ip.fragment, "a fragment of a message was sent on");
        if !is_request(case, ip) {
            return self.error_sent_on(case, ip);
        }
        claim!(
            case.world.is_vip_address(&ip.destination),
            "an echo request for others was answered"
        );
        claim!(
            case.sent[0] & 1 == 0 && unsound::of_client(&ip.source, &ip.destination).is_empty(),
            "nobody was answered"
        );
        claim!(
            ip.v6 || Sum::of(&case.sent[ip.start..ip.body]).remainder() == 0,
            "an echo request with a wrong header checksum was answered"
        );
        reply(&mut self.expected, case, ip)?;
        bytes::same(&self.expected, case.out)?;
        forth::leaves_by(case, true)?;
        Ok(Fate::Answered)
    }
}

/// Has `expected` hold the reply.
fn reply(expected: &mut Frame, case: &Case<'_>, ip: &Ip) -> Result<(), Fault> {
    let (sent, out) = (case.sent, case.out);
    let length = ip.end - ip.body;
    let body = ETHERNET_LEN + if ip.v6 { 40 } else { 20 };
    claim!(
        out.len() == body + sent.len() - ip.body,
        "{} bytes became {}",
        sent.len(),
        out.len()
    );
    expected.clear();
    expected.ethernet(
        &forth::mac(&sent[..6]),
        &forth::mac(&sent[6..12]),
        &[],
        ip.v6,
    );
    if ip.v6 {
        expected.push32(6 << 28 | u32::from(ip.traffic_class) << 20);
        expected.push16(length as u16);
        expected.push(&[ip.protocol, HOPS]);
    } else {
        expected.push(&[0x45, ip.traffic_class]);
        expected.push16((20 + length) as u16);
        expected.push16(be16(sent, ip.start + 4));
        expected.push16(be16(sent, ip.start + 6) & 0x4000);
        expected.push(&[HOPS, ip.protocol]);
        expected.push16(be16(out, 24));
        let sum = Sum::of(&out[ETHERNET_LEN..body]).remainder();
        claim!(sum == 0, "the header's sum is off by {sum:#06x}");
    }
    expected.push(ip.destination.octets());
    expected.push(ip.source.octets());
    expected.push(&sent[ip.body..]);
    expected.bytes_mut()[body] = kinds(ip.v6).1;
    bytes::copy16(expected.bytes_mut(), out, body + 2);
    let ways = Ways {
        source: ip.source,
        destination: ip.destination,
    };
    message_sums(case, ip, body, (&ways, &ways.back()))
}

/// The checksum of a message, which now begins there, is as right as it was. It covers the ends of
/// IPv6 packets, which were and are these.
pub fn message_sums(
    case: &Case<'_>,
    ip: &Ip,
    body: usize,
    (before, after): (&Ways, &Ways),
) -> Result<(), Fault> {
    let length = ip.end - ip.body;
    let sum = |bytes: &[u8], ways: &Ways| {
        let sum = Sum::of(bytes);
        if ip.v6 {
            sum.and_pseudo_header(ways, ip.protocol, length).remainder()
        } else {
            sum.remainder()
        }
    };
    let before = sum(&case.sent[ip.body..ip.end], before);
    let after = sum(&case.out[body..body + length], after);
    claim!(
        before == after,
        "the message's sum was off by {before:#06x} and is by {after:#06x}"
    );
    Ok(())
}
