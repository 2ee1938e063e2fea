//! A packet in the other address family (RFC 7915, sections 4.1 and 5.1).

use super::{Case, Fault, bytes, claim};
use crate::{
    fuzz::{
        dissect::{Segment, be16},
        end::Ways,
        frame::Frame,
        sum::Sum,
    },
    packet::{ETHERNET_LEN, Mac},
};

/// Bytes up to which an IPv4 packet may be fragmented on its way.
const MAY_FRAGMENT: usize = 1_260;

/// Has `expected` hold the packet with a header of the other family.
pub fn rewrite(
    expected: &mut Frame,
    case: &Case<'_>,
    segment: &Segment,
    ways: &Ways,
    macs: Option<(Mac, Mac)>,
    hop: bool,
) -> Result<(), Fault> {
    let (sent, out, ip) = (case.sent, case.out, &segment.ip);
    let length = ip.end - ip.body;
    let v6 = !ip.v6;
    claim!(
        ways.source.v6 == v6 && ways.destination.v6 == v6,
        "the ends are of one family: {ways:?}"
    );
    let transport = ETHERNET_LEN + if v6 { 40 } else { 20 };
    claim!(
        out.len() == transport + sent.len() - ip.body,
        "{} bytes became {}",
        sent.len(),
        out.len()
    );
    expected.clear();
    expected.ethernet(
        &super::forth::mac(&sent[6..12]),
        &super::forth::mac(&sent[..6]),
        &[],
        v6,
    );
    bytes::macs(expected, macs);
    let hops = ip.hops - u8::from(hop);
    let fields = (ip.traffic_class, hops, ip.protocol);
    ip_header(expected, out, fields, ways, length)?;
    expected.push(&sent[ip.body..]);
    bytes::ports(expected.bytes_mut(), transport, ways);
    let place = segment.checksum_at() - ip.body;
    bytes::copy16(expected.bytes_mut(), out, transport + place);
    claim!(
        be16(sent, ip.body + place) != 0 || segment.is_tcp(),
        "UDP without a checksum went to the other family"
    );
    bytes::transport_sums(case, segment, transport, ways)
}

/// The next header of IP in `expected`; what is by chance is taken from what came out.
pub fn ip_header(
    expected: &mut Frame,
    out: &[u8],
    (class, hops, number): (u8, u8, u8),
    ways: &Ways,
    length: usize,
) -> Result<(), Fault> {
    let start = expected.bytes().len();
    if ways.source.v6 {
        expected.push32(6 << 28 | u32::from(class) << 20);
        expected.push16(length as u16);
        expected.push(&[number, hops]);
    } else {
        expected.push(&[0x45, class]);
        expected.push16((20 + length) as u16);
        let fragments = 20 + length <= MAY_FRAGMENT;
        expected.push16(if fragments { be16(out, start + 4) } else { 0 });
        expected.push16(if fragments { 0 } else { 0x4000 });
        expected.push(&[hops, number]);
        expected.push16(be16(out, start + 10));
        let sum = Sum::of(&out[start..start + 20]).remainder();
        claim!(sum == 0, "a new header's sum is off by {sum:#06x}");
    }
    expected.push(ways.source.octets());
    expected.push(ways.destination.octets());
    Ok(())
}
