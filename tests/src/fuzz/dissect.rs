//! What a frame holds, by the RFCs: a parser that shares nothing with the XDP program.

use super::end::{End, Ways};
use crate::packet::{ETHERNET_LEN, ethertype, protocol};

/// Extension headers behind which a transport is still looked for.
const MAX_EXTENSIONS: usize = 4;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Not IP.
    Other,
    /// Lengths contradict one another or the frame, or a header is not all there.
    Broken,
    /// IP, but neither TCP nor UDP where they are looked for.
    NoPorts(Ip),
    /// A later fragment: there are no ports in it.
    Later(Ip),
    Segment(Segment),
}

/// An IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where it begins, and where its packet ends.
    pub start: usize,
    pub end: usize,
    pub v6: bool,
    pub source: End,
    pub destination: End,
    pub hops: u8,
    pub traffic_class: u8,
    /// Of what follows, and where that begins.
    pub protocol: u8,
    pub body: usize,
    /// A part of a packet, or marked as one.
    pub fragment: bool,
    /// What its parts have in common.
    pub identification: u32,
}

/// TCP or UDP, its headers whole and its lengths plausible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub ip: Ip,
    pub ways: Ways,
    /// Of TCP; of UDP 0.
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// Bytes behind its header.
    pub payload: usize,
}

impl Segment {
    #[must_use]
    pub const fn is_tcp(&self) -> bool {
        self.ip.protocol == protocol::TCP
    }

    /// Any of these flags is set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Where its checksum stands.
    #[must_use]
    pub const fn checksum_at(&self) -> usize {
        self.ip.body + if self.is_tcp() { 16 } else { 6 }
    }
}

#[must_use]
pub fn be16(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[must_use]
pub fn be32(frame: &[u8], at: usize) -> u32 {
    u32::from(be16(frame, at)) << 16 | u32::from(be16(frame, at + 2))
}

/// What a frame without tags holds.
#[must_use]
pub fn frame(frame: &[u8]) -> Content {
    if frame.len() < ETHERNET_LEN {
        return Content::Broken;
    }
    match be16(frame, 12) {
        ethertype::IPV4 => ipv4(frame, ETHERNET_LEN),
        ethertype::IPV6 => ipv6(frame, ETHERNET_LEN),
        _ => Content::Other,
    }
}

/// Protocol and ends of a packet, as far as they can be read, whatever the lengths say. Not of one that
/// has no ports.
#[must_use]
pub fn rough(frame: &[u8]) -> Option<(u8, Ways)> {
    let start = ETHERNET_LEN;
    let header = frame.get(start..)?;
    let (protocol, at, source, destination) = match be16(frame, 12) {
        ethertype::IPV4 => {
            if header.len() < 20 || header[0] >> 4 != 4 || be16(header, 6) & 0x1fff != 0 {
                return None;
            }
            let length = usize::from(header[0] & 15).max(5) * 4;
            (header[9], start + length, &header[12..16], &header[16..20])
        }
        ethertype::IPV6 => {
            if header.len() < 40 || header[0] >> 4 != 6 {
                return None;
            }
            let (protocol, at) = behind_extensions(frame, start)?;
            (protocol, at, &header[8..24], &header[24..40])
        }
        _ => return None,
    };
    let ports = frame.get(at..at + 4)?;
    matches!(protocol, protocol::TCP | protocol::UDP).then(|| {
        let ways = Ways {
            source: End::read(source, be16(ports, 0)),
            destination: End::read(destination, be16(ports, 2)),
        };
        (protocol, ways)
    })
}

/// The destination of a packet whose IPv4 header says that it is shorter than one can be, and which is no
/// later fragment.
#[must_use]
pub fn too_short(frame: &[u8]) -> Option<End> {
    let header = frame.get(ETHERNET_LEN..ETHERNET_LEN + 20)?;
    let short = be16(frame, 12) == ethertype::IPV4
        && header[0] >> 4 == 4
        && header[0] & 15 < 5
        && be16(header, 6) & 0x1fff == 0;
    short.then(|| End::read(&header[16..20], 0))
}

/// The packet begins a datagram that comes in several, whatever its lengths say.
#[must_use]
pub fn is_first_fragment(frame: &[u8]) -> bool {
    match be16(frame, 12) {
        ethertype::IPV4 => frame
            .get(ETHERNET_LEN..ETHERNET_LEN + 20)
            .is_some_and(|header| header[0] & 15 >= 5 && be16(header, 6) & 0x3fff == 0x2000),
        _ => matches!(ipv6_headers(frame, ETHERNET_LEN), Ok((ip, false)) if ip.fragment),
    }
}

/// Which protocol follows the extension headers of the IPv6 packet that begins there, and where.
#[must_use]
pub fn behind_extensions(frame: &[u8], start: usize) -> Option<(u8, usize)> {
    let (mut next, mut at) = (frame[start + 6], start + 40);
    for _ in 0..MAX_EXTENSIONS {
        let header = match next {
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION
            | protocol::FRAGMENT => frame.get(at..at + 4)?,
            _ => break,
        };
        if next == protocol::FRAGMENT {
            if be16(header, 2) & 0xfff8 != 0 {
                return None;
            }
            at += 8;
        } else {
            at += (usize::from(header[1]) + 1) * 8;
        }
        next = header[0];
    }
    Some((next, at))
}

/// An IPv4 packet that begins there.
#[must_use]
pub fn ipv4(frame: &[u8], start: usize) -> Content {
    let header = &frame[start.min(frame.len())..];
    if header.len() < 20 {
        return Content::Broken;
    }
    let length = usize::from(header[0] & 15) * 4;
    if header[0] >> 4 != 4 || length < 20 {
        return Content::Broken;
    }
    let fragment = be16(header, 6);
    let ip = Ip {
        start,
        end: start + usize::from(be16(header, 2)),
        v6: false,
        source: End::read(&header[12..16], 0),
        destination: End::read(&header[16..20], 0),
        hops: header[8],
        traffic_class: header[1],
        protocol: header[9],
        body: start + length,
        fragment: fragment & 0x3fff != 0,
        identification: u32::from(be16(header, 4)),
    };
    body(frame, ip, fragment & 0x1fff != 0)
}

/// An IPv6 packet that begins there.
#[must_use]
pub fn ipv6(frame: &[u8], start: usize) -> Content {
    match ipv6_headers(frame, start) {
        Ok((ip, later)) => body(frame, ip, later),
        Err(Some(ip)) => Content::NoPorts(ip),
        Err(None) => Content::Broken,
    }
}

/// The headers of such a packet, and whether it is a later fragment. Else, if they are all there, they are
/// those of a packet whose route goes on.
fn ipv6_headers(frame: &[u8], start: usize) -> Result<(Ip, bool), Option<Ip>> {
    let header = &frame[start.min(frame.len())..];
    if header.len() < 40 || header[0] >> 4 != 6 {
        return Err(None);
    }
    let mut ip = Ip {
        start,
        end: start + 40 + usize::from(be16(header, 4)),
        v6: true,
        source: End::read(&header[8..24], 0),
        destination: End::read(&header[24..40], 0),
        hops: header[7],
        traffic_class: (be16(header, 0) >> 4) as u8,
        protocol: header[6],
        body: start + 40,
        fragment: false,
        identification: 0,
    };
    let mut later = false;
    for _ in 0..MAX_EXTENSIONS {
        let is_fragment = ip.protocol == protocol::FRAGMENT;
        let is_routing = ip.protocol == protocol::ROUTING;
        let is_options = matches!(ip.protocol, protocol::HOP_BY_HOP | protocol::DESTINATION);
        if later || !(is_fragment || is_routing || is_options) {
            break;
        }
        let Some(extension) = frame.get(ip.body..ip.body + 4) else {
            return Err(None);
        };
        if is_routing && extension[3] != 0 {
            return Err(Some(ip));
        }
        let length = if is_fragment {
            later = be16(extension, 2) & 0xfff8 != 0;
            // One that is all of its datagram is none (RFC 6946).
            ip.fragment |= be16(extension, 2) & 0xfff9 != 0;
            if let Some(fragment) = frame.get(ip.body..ip.body + 8) {
                ip.identification = be32(fragment, 4);
            }
            8
        } else {
            (usize::from(extension[1]) + 1) * 8
        };
        ip.protocol = extension[0];
        ip.body += length;
    }
    Ok((ip, later))
}

fn body(frame: &[u8], ip: Ip, later: bool) -> Content {
    if later {
        return Content::Later(ip);
    }
    let header = match ip.protocol {
        protocol::TCP => 20,
        protocol::UDP => 8,
        _ => return Content::NoPorts(ip),
    };
    if ip.body + header > frame.len() || ip.end > frame.len() || ip.body > ip.end {
        return Content::Broken;
    }
    let length = ip.end - ip.body;
    let bytes = &frame[ip.body..];
    let announced = if ip.protocol == protocol::TCP {
        usize::from(bytes[12] >> 4) * 4
    } else {
        usize::from(be16(bytes, 4))
    };
    // A first fragment of UDP tells how long the whole datagram is.
    let part = ip.fragment && ip.protocol == protocol::UDP;
    if announced < header || length < header || announced > length && !part {
        return Content::Broken;
    }
    let tcp = ip.protocol == protocol::TCP;
    Content::Segment(Segment {
        ways: Ways {
            source: ip.source.at_port(be16(bytes, 0)),
            destination: ip.destination.at_port(be16(bytes, 2)),
        },
        flags: if tcp { bytes[13] } else { 0 },
        sequence: if tcp { be32(bytes, 4) } else { 0 },
        acknowledgement: if tcp { be32(bytes, 8) } else { 0 },
        payload: if tcp {
            length - announced
        } else {
            announced.min(length) - header
        },
        ip,
    })
}
