//! The Ethernet and IP headers of a frame, of either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Defect, be16, be32, remainder::Remainder, split};
use crate::packet::{ETHERNET_LEN, Mac, ethertype, protocol};

pub(super) struct Macs {
    pub(super) source: Mac,
    pub(super) destination: Mac,
}

/// What the IP headers say, and what follows them.
pub(super) struct Ip<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    /// IPv6's.
    pub(super) flow_label: u32,
    /// IPv4's.
    pub(super) identification: u16,
    pub(super) dont_fragment: bool,
    /// Offset in bytes, and whether more follow.
    pub(super) fragment: Option<(u16, bool)>,
    /// IPv4 options, or IPv6 extension headers.
    pub(super) extra: &'a [u8],
    pub(super) protocol: u8,
    pub(super) body: &'a [u8],
    /// Bytes behind the packet.
    pub(super) padding: usize,
}

impl Ip<'_> {
    /// # Errors
    /// When it is a fragment.
    pub(super) fn whole(&self) -> Result<(), Defect> {
        match self.fragment {
            None => Ok(()),
            Some((offset, more)) => Err(Defect::Fragment { offset, more }),
        }
    }

    /// The sum of the pseudo header, to which the body comes (RFC 9293 section 3.1, RFC 768,
    /// RFC 8200 section 8.1).
    pub(super) fn pseudo_header(&self) -> Remainder {
        let mut sum = Remainder::default();
        sum.add_address(self.source);
        sum.add_address(self.destination);
        sum.add_word(u16::from(self.protocol));
        sum.add_word(self.body.len() as u16);
        sum
    }
}

/// The Ethernet addresses and the IP packet of a frame, with the header's checksum judged. Up to two
/// VLAN tags may stand before it.
///
/// # Errors
/// What keeps the headers from being read.
pub(super) fn read<'a>(
    frame: &'a [u8],
    defects: &mut Vec<Defect>,
) -> Result<(Macs, Ip<'a>), Defect> {
    let (ethernet, mut packet) = split(frame, ETHERNET_LEN, "ethernet header")?;
    let mut kind = be16(&ethernet[12..]);
    for _ in 0..2 {
        if [ethertype::VLAN, ethertype::SERVICE_VLAN].contains(&kind) {
            let (tag, rest) = split(packet, 4, "vlan tag")?;
            (kind, packet) = (be16(&tag[2..]), rest);
        }
    }
    let ip = match kind {
        ethertype::IPV4 => read_v4(packet, defects)?,
        ethertype::IPV6 => read_v6(packet)?,
        other => return Err(Defect::NotIp(other)),
    };
    let macs = Macs {
        destination: ethernet[..6].try_into().expect("six bytes"),
        source: ethernet[6..12].try_into().expect("six bytes"),
    };
    Ok((macs, ip))
}

fn read_v4<'a>(packet: &'a [u8], defects: &mut Vec<Defect>) -> Result<Ip<'a>, Defect> {
    let (fixed, _) = split(packet, 20, "ipv4 header")?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    if fixed[0] >> 4 != 4 || header_len < 20 {
        return Err(Defect::Impossible {
            what: "ipv4 version and header length",
            found: fixed[0].into(),
        });
    }
    let total_len = usize::from(be16(&fixed[2..]));
    let (whole, padding) = split(packet, total_len, "ipv4 packet")?;
    let (header, body) = split(whole, header_len, "ipv4 header with options")?;

    let mut sum = Remainder::default();
    sum.add(&header[..10]);
    sum.add(&header[12..]);
    defects.extend(sum.verdict("ipv4 header", be16(&header[10..])));

    let fragment = be16(&header[6..]);
    let address = |at: usize| {
        let octets: [u8; 4] = header[at..at + 4].try_into().expect("four bytes");
        IpAddr::V4(Ipv4Addr::from(octets))
    };
    Ok(Ip {
        source: address(12),
        destination: address(16),
        ttl: header[8],
        tos: header[1],
        flow_label: 0,
        identification: be16(&header[4..]),
        dont_fragment: fragment & 0x4000 != 0,
        fragment: (fragment & 0x3fff != 0)
            .then_some(((fragment & 0x1fff) * 8, fragment & 0x2000 != 0)),
        extra: &header[20..],
        protocol: header[9],
        body,
        padding: padding.len(),
    })
}

fn read_v6(packet: &[u8]) -> Result<Ip<'_>, Defect> {
    let (header, rest) = split(packet, 40, "ipv6 header")?;
    if header[0] >> 4 != 6 {
        return Err(Defect::Impossible {
            what: "ipv6 version",
            found: (header[0] >> 4).into(),
        });
    }
    let (payload, padding) = split(rest, be16(&header[4..]).into(), "ipv6 payload")?;
    let mut protocol = header[6];
    let mut at = 0;
    let mut fragment = None;
    while fragment.is_none() {
        let left = &payload[at..];
        let len = match protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                let (start, _) = split(left, 8, "ipv6 extension header")?;
                8 + usize::from(start[1]) * 8
            }
            protocol::AUTHENTICATION => {
                let (start, _) = split(left, 8, "ipv6 authentication header")?;
                8 + usize::from(start[1]) * 4
            }
            protocol::FRAGMENT => {
                let (start, _) = split(left, 8, "ipv6 fragment header")?;
                let field = be16(&start[2..]);
                fragment = Some((field & !7, field & 1 != 0));
                8
            }
            _ => break,
        };
        let (extension, _) = split(left, len, "ipv6 extension header")?;
        protocol = extension[0];
        at += len;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    Ok(Ip {
        source: address(8),
        destination: address(24),
        ttl: header[7],
        tos: (be16(header) >> 4) as u8,
        flow_label: be32(header) & 0xf_ffff,
        identification: 0,
        // Only the sender fragments (RFC 8200, section 5).
        dont_fragment: true,
        fragment,
        extra: &payload[..at],
        protocol,
        body: &payload[at..],
        padding: padding.len(),
    })
}
