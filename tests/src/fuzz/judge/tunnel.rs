//! A packet inside another (RFC 2003, RFC 2473, RFC 4213; draft-ietf-intarea-gue).

use super::{Case, Fault, bytes, claim, path};
use crate::{
    fuzz::{
        dissect::{Ip, be16, be32},
        end::End,
        frame::Frame,
        plan::Service,
        sum::Sum,
        world::{BACK, Backend},
    },
    packet::{ETHERNET_LEN, ethertype, protocol},
};

/// Hops of outer headers.
const HOPS: u8 = 64;

/// Where an outer packet goes.
pub fn outer_destination(out: &[u8]) -> Option<End> {
    let octets = match be16(out.get(..ETHERNET_LEN)?, 12) {
        ethertype::IPV4 => out.get(30..34)?,
        _ => out.get(38..54)?,
    };
    Some(End::read(octets, 0))
}

/// Has `expected` hold the packet inside another, of which so many bytes fit the way.
pub fn wrap(
    expected: &mut Frame,
    case: &Case<'_>,
    ip: &Ip,
    (service, backend): (&Service, &Backend),
    limit: usize,
) -> Result<(), Fault> {
    let (sent, out) = (case.sent, case.out);
    let v6 = service.backends_v6();
    let outer = ETHERNET_LEN + if v6 { 40 } else { 20 };
    let shim = path::shim(service);
    let inner = outer + shim;
    let length = ip.end - ip.start;
    claim!(
        inner - ETHERNET_LEN + length <= limit,
        "an outer packet of {} bytes, where {limit} fit",
        inner - ETHERNET_LEN + length
    );
    claim!(
        out.len() == sent.len() + inner - ETHERNET_LEN,
        "{} bytes became {}",
        sent.len(),
        out.len()
    );
    let macs = if backend.resolved {
        (backend.mac, BACK)
    } else {
        (
            super::forth::mac(&sent[..6]),
            super::forth::mac(&sent[6..12]),
        )
    };
    expected.clear();
    expected.ethernet(&macs.1, &macs.0, &[], v6);
    let inside = if ip.v6 {
        protocol::IPV6
    } else {
        protocol::IPV4
    };
    let carried = if shim == 0 { inside } else { protocol::UDP };
    if v6 {
        let label = be32(out, ETHERNET_LEN) & 0xf_ffff;
        expected.push32(6 << 28 | u32::from(ip.traffic_class) << 20 | label);
        expected.push16((shim + length) as u16);
        expected.push(&[carried, HOPS]);
        source(expected, &out[22..38], service)?;
    } else {
        expected.push(&[0x45, ip.traffic_class]);
        expected.push16((20 + shim + length) as u16);
        // An identification is of no use where fragmenting is forbidden (RFC 6864).
        expected.push32(0x4000);
        expected.push(&[HOPS, carried]);
        expected.push16(be16(out, 24));
        let sum = Sum::of(&out[ETHERNET_LEN..outer]).remainder();
        claim!(sum == 0, "the outer header's sum is off by {sum:#06x}");
        source(expected, &out[26..30], service)?;
    }
    expected.push(backend.end.octets());
    if shim != 0 {
        let port = be16(out, outer);
        claim!(port >= 0xc000, "the outer source port is {port}");
        expected.push16(port);
        expected.push16(crate::packet::GUE_PORT);
        expected.push16((shim + length) as u16);
        expected.push16(0);
        if shim == 12 {
            expected.push(&[0, inside, 0, 0]);
        }
    }
    expected.push(&sent[ETHERNET_LEN..]);
    let at = inner + ip.start - ETHERNET_LEN;
    let place = at + if ip.v6 { 7 } else { 8 };
    expected.bytes_mut()[place] -= 1;
    if !ip.v6 {
        bytes::copy16(expected.bytes_mut(), out, at + 10);
        bytes::header_sums(case, ip, at)?;
    }
    Ok(())
}

/// The outer source is one of the tunnel's.
fn source(expected: &mut Frame, found: &[u8], service: &Service) -> Result<(), Fault> {
    claim!(
        path::is_source(service, found),
        "the outer source is {:?}",
        End::read(found, 0)
    );
    expected.push(found);
    Ok(())
}
