//! What a packet must look like once it was rewritten: byte by byte what it was, but for what had to
//! change. Checksums are taken from what came out, and must be as right, or as wrong, as before.

use super::{Case, Fault, claim};
use crate::{
    fuzz::{
        dissect::{Ip, Segment, be16},
        end::Ways,
        frame::Frame,
        sum::Sum,
    },
    packet::Mac,
};

/// What changes in a packet that stays in its family.
pub struct Rewrite {
    pub ways: Ways,
    /// Destination and source.
    pub macs: Option<(Mac, Mac)>,
    /// One hop less.
    pub hop: bool,
}

/// Has `expected` hold the packet so rewritten, with checksums as in what came out.
///
/// # Errors
/// When those are not right, or no longer wrong by the same difference.
pub fn rewrite(
    expected: &mut Frame,
    case: &Case<'_>,
    segment: &Segment,
    rewrite: &Rewrite,
) -> Result<(), Fault> {
    let (sent, out) = (case.sent, case.out);
    claim!(
        out.len() == sent.len(),
        "{} bytes became {}",
        sent.len(),
        out.len()
    );
    let ip = &segment.ip;
    header(expected, case, ip, rewrite)?;
    let bytes = expected.bytes_mut();
    ports(bytes, ip.body, &rewrite.ways);
    copy16(bytes, out, segment.checksum_at());
    transport_sums(case, segment, ip.body, &rewrite.ways)
}

/// The same for what has no ports: all but the IP header stays.
pub fn header(
    expected: &mut Frame,
    case: &Case<'_>,
    ip: &Ip,
    rewrite: &Rewrite,
) -> Result<(), Fault> {
    expected.take(case.sent);
    macs(expected, rewrite.macs);
    let bytes = expected.bytes_mut();
    addresses(bytes, ip.start, ip.v6, &rewrite.ways);
    hop(bytes, ip, rewrite.hop);
    if !ip.v6 {
        copy16(bytes, case.out, ip.start + 10);
        header_sums(case, ip, ip.start)?;
    }
    Ok(())
}

/// Writes both addresses of the IP header that begins there.
pub fn addresses(bytes: &mut [u8], start: usize, v6: bool, ways: &Ways) {
    let (source, length) = if v6 { (8, 16) } else { (12, 4) };
    let addresses = &mut bytes[start + source..][..2 * length];
    addresses[..length].copy_from_slice(ways.source.octets());
    addresses[length..].copy_from_slice(ways.destination.octets());
}

/// One hop less in an IP header; its checksum is taken from what came out.
pub fn hop(bytes: &mut [u8], ip: &Ip, less: bool) {
    let at = ip.start + if ip.v6 { 7 } else { 8 };
    bytes[at] = bytes[at].wrapping_sub(u8::from(less));
}

pub fn macs(expected: &mut Frame, macs: Option<(Mac, Mac)>) {
    if let Some((destination, source)) = macs {
        let bytes = expected.bytes_mut();
        bytes[..6].copy_from_slice(&destination);
        bytes[6..12].copy_from_slice(&source);
    }
}

pub fn ports(bytes: &mut [u8], transport: usize, ways: &Ways) {
    bytes[transport..][..2].copy_from_slice(&ways.source.port.to_be_bytes());
    bytes[transport + 2..][..2].copy_from_slice(&ways.destination.port.to_be_bytes());
}

pub fn copy16(to: &mut [u8], from: &[u8], at: usize) {
    to[at..at + 2].copy_from_slice(&from[at..at + 2]);
}

/// The IPv4 header's checksum, which stands in what came out at `start`, is as right as it was.
pub fn header_sums(case: &Case<'_>, ip: &Ip, start: usize) -> Result<(), Fault> {
    let length = ip.body - ip.start;
    let before = Sum::of(&case.sent[ip.start..ip.body]).remainder();
    let after = Sum::of(&case.out[start..start + length]).remainder();
    claim!(
        before == after,
        "the header's sum was off by {before:#06x} and is by {after:#06x}"
    );
    Ok(())
}

/// The transport's checksum is as right as it was, where its header now begins there.
pub fn transport_sums(
    case: &Case<'_>,
    segment: &Segment,
    start: usize,
    ways: &Ways,
) -> Result<(), Fault> {
    let ip = &segment.ip;
    let place = segment.checksum_at() - ip.body;
    let (found, was) = (
        be16(case.out, start + place),
        be16(case.sent, ip.body + place),
    );
    if !segment.is_tcp() {
        claim!(
            (was == 0) == (found == 0),
            "UDP's checksum was {was:#06x} and is {found:#06x}"
        );
        if was == 0 {
            return Ok(());
        }
    }
    let length = ip.end - ip.body;
    let sum = |bytes: &[u8], ways| {
        Sum::of(bytes)
            .and_pseudo_header(ways, ip.protocol, length)
            .remainder()
    };
    let before = sum(&case.sent[ip.body..ip.end], &segment.ways);
    let after = sum(&case.out[start..start + length], ways);
    claim!(
        before == after,
        "the transport's sum was off by {before:#06x} and is by {after:#06x}"
    );
    Ok(())
}

/// What came out is what was expected.
pub fn same(expected: &Frame, out: &[u8]) -> Result<(), Fault> {
    let expected = expected.bytes();
    let differs = expected.iter().zip(out).position(|(a, b)| a != b);
    claim!(
        expected.len() == out.len(),
        "{} bytes were expected, not {}",
        expected.len(),
        out.len()
    );
    if let Some(at) = differs {
        return Err(format!(
            "byte {at} is {:#04x}, not {:#04x}",
            out[at], expected[at]
        ));
    }
    Ok(())
}
