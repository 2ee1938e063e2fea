//! The oracle: reads a frame from scratch and judges every length and checksum by full
//! recomputation. It shares no code with the builder or with the XDP program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use super::{ETHERNET_LEN, Mac, ethertype, protocol};

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
    #[error("{what} checksum is {found:#06x}, should be {right:#06x}")]
    Checksum {
        what: &'static str,
        found: u16,
        right: u16,
    },
}

/// The segment in a frame in which everything is right.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(frame: &[u8]) -> Result<Segment, Defect> {
    let (segment, mut defects) = read(frame)?;
    if defects.is_empty() {
        Ok(segment)
    } else {
        Err(defects.swap_remove(0))
    }
}

/// The segment in a frame, with the checksums that are wrong.
///
/// # Errors
/// What keeps the frame from being read as one TCP segment.
pub fn read(frame: &[u8]) -> Result<(Segment, Vec<Defect>), Defect> {
    let (ethernet, packet) = split(frame, ETHERNET_LEN, "ethernet header")?;
    let kind = be16(&ethernet[12..]);
    let mut defects = Vec::new();
    let ip = match kind {
        ethertype::IPV4 => read_v4(packet, &mut defects)?,
        ethertype::IPV6 => read_v6(packet)?,
        other => return Err(Defect::NotIp(other)),
    };
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

    let mut pseudo = Remainder::default();
    pseudo.add_address(ip.source);
    pseudo.add_address(ip.destination);
    pseudo.add_word(u16::from(protocol::TCP));
    pseudo.add_word(tcp.len() as u16);
    pseudo.add(&tcp[..16]);
    pseudo.add(&tcp[18..]);
    defects.extend(pseudo.verdict("tcp", be16(&fixed[16..])));

    let segment = Segment {
        destination_mac: ethernet[..6].try_into().expect("six bytes"),
        source_mac: ethernet[6..12].try_into().expect("six bytes"),
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

struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    extra: &'a [u8],
    protocol: u8,
    body: &'a [u8],
    padding: usize,
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
    if fragment & 0x3fff != 0 {
        return Err(Defect::Fragment {
            offset: (fragment & 0x1fff) * 8,
            more: fragment & 0x2000 != 0,
        });
    }
    let address = |at: usize| {
        let octets: [u8; 4] = header[at..at + 4].try_into().expect("four bytes");
        IpAddr::V4(Ipv4Addr::from(octets))
    };
    Ok(Ip {
        source: address(12),
        destination: address(16),
        ttl: header[8],
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
    loop {
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
                return Err(Defect::Fragment {
                    offset: field & !7,
                    more: field & 1 != 0,
                });
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
        extra: &payload[..at],
        protocol,
        body: &payload[at..],
        padding: padding.len(),
    })
}

/// The Internet checksum by its arithmetic definition: the bytes as base-65536 digits of one
/// large number, which is taken modulo 65535 (RFC 1071, section 2, property 1).
#[derive(Default)]
struct Remainder {
    value: u64,
    any: bool,
}

impl Remainder {
    fn add(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            let weight = if at % 2 == 0 { 256 } else { 1 };
            self.value = (self.value + weight * u64::from(*byte)) % 0xffff;
            self.any |= *byte != 0;
        }
    }

    fn add_word(&mut self, word: u16) {
        self.add(&word.to_be_bytes());
    }

    fn add_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    /// A defect if `found` is not the checksum of what was added.
    fn verdict(&self, what: &'static str, found: u16) -> Option<Defect> {
        // Ones' complement has two zeros; a sum of anything but zeros yields the one of all bits.
        let sum = if self.value == 0 && self.any {
            0xffff
        } else {
            self.value as u16
        };
        let right = !sum;
        (found != right).then_some(Defect::Checksum { what, found, right })
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
