//! The oracle: reads a frame from scratch and judges every length and checksum by full
//! recomputation. It shares no code with the builder or with the XDP program.
//!
//! [`check`] is of TCP, [`check_udp`] of UDP, [`check_icmp`] of ICMP and [`check_outer`] of tunnels; the
//! `read` beside each goes on where it can, and hands out what is wrong.

mod fragment;
mod icmp;
mod ip;
mod outer;
mod remainder;
mod udp;

use std::net::SocketAddr;

use thiserror::Error;

use super::{Mac, protocol};

pub use fragment::{Fragment, check_fragment};
pub use icmp::{Message, Quote, check_icmp, quote, read_icmp};
pub use outer::{Outer, Tunnel, check_outer, read_outer};
pub use udp::{Datagram, check_udp, read_udp};

/// A TCP segment as found in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub source_mac: Mac,
    pub destination_mac: Mac,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 options, or IPv6 extension headers with their next-header bytes.
    pub ip_extra: Vec<u8>,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    /// Bytes of the frame behind the IP packet.
    pub padding: usize,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Defect {
    #[error("ethertype {0:#06x} is not IP")]
    NotIp(u16),
    #[error("protocol {0} is not TCP")]
    NotTcp(u8),
    #[error("protocol {0} is not UDP")]
    NotUdp(u8),
    #[error("protocol {0} is not the family's ICMP")]
    NotIcmp(u8),
    #[error("protocol {0} is no tunnel")]
    NotTunnel(u8),
    #[error("{what} needs {need} bytes and has {have}")]
    Short {
        what: &'static str,
        need: usize,
        have: usize,
    },
    #[error("{what} is {found}, which is impossible")]
    Impossible { what: &'static str, found: usize },
    #[error("is a fragment at {offset}, more to come: {more}")]
    Fragment { offset: u16, more: bool },
    #[error("is no fragment")]
    NoFragment,
    /// A length in bytes, or bits of a header, that could be otherwise but are wrong here.
    #[error("{what} is {found}, should be {right}")]
    Field {
        what: &'static str,
        found: usize,
        right: usize,
    },
    #[error("{what} checksum is {found:#06x}, should be {right:#06x}")]
    Checksum {
        what: &'static str,
        found: u16,
        right: u16,
    },
    /// Outside of a tunnel's own header (RFC 8200 section 8.1, RFC 6935).
    #[error("udp over ipv6 has no checksum")]
    NoChecksum,
}

/// The segment in a frame in which everything is right.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(frame: &[u8]) -> Result<Segment, Defect> {
    let (segment, defects) = read(frame)?;
    flawless(segment, defects)
}

/// The segment in a frame, with the checksums that are wrong.
///
/// # Errors
/// What keeps the frame from being read as one TCP segment.
pub fn read(frame: &[u8]) -> Result<(Segment, Vec<Defect>), Defect> {
    let mut defects = Vec::new();
    let (macs, ip) = ip::read(frame, &mut defects)?;
    ip.whole()?;
    if ip.protocol != protocol::TCP {
        return Err(Defect::NotTcp(ip.protocol));
    }
    let tcp = ip.body;
    let (fixed, _) = split(tcp, 20, "tcp header")?;
    let header_len = usize::from(fixed[12] >> 4) * 4;
    if header_len < 20 {
        return Err(Defect::Impossible {
            what: "tcp header length",
            found: header_len,
        });
    }
    let (header, payload) = split(tcp, header_len, "tcp header with options")?;

    let mut pseudo = ip.pseudo_header();
    pseudo.add(&tcp[..16]);
    pseudo.add(&tcp[18..]);
    defects.extend(pseudo.verdict("tcp", be16(&fixed[16..])));

    let segment = Segment {
        destination_mac: macs.destination,
        source_mac: macs.source,
        source: SocketAddr::new(ip.source, be16(fixed)),
        destination: SocketAddr::new(ip.destination, be16(&fixed[2..])),
        ttl: ip.ttl,
        ip_extra: ip.extra.to_vec(),
        seq: be32(&fixed[4..]),
        ack: be32(&fixed[8..]),
        flags: fixed[13],
        window: be16(&fixed[14..]),
        options: header[20..].to_vec(),
        payload: payload.to_vec(),
        padding: ip.padding,
    };
    Ok((segment, defects))
}

/// What was read, if nothing is wrong with it, and the first defect otherwise.
fn flawless<T>(read: T, defects: Vec<Defect>) -> Result<T, Defect> {
    match defects.into_iter().next() {
        None => Ok(read),
        Some(defect) => Err(defect),
    }
}

fn split<'a>(
    bytes: &'a [u8],
    need: usize,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), Defect> {
    bytes.split_at_checked(need).ok_or(Defect::Short {
        what,
        need,
        have: bytes.len(),
    })
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
