//! ICMP (RFC 792) and ICMPv6 (RFC 4443), and the packets that their errors quote.

use std::net::{IpAddr, SocketAddr};

use super::{
    Defect, be16, be32, flawless,
    ip::{self, Ip},
    read, read_udp,
    remainder::Remainder,
    split,
};
use crate::packet::{Mac, ethertype, protocol};

/// A message as found in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub source_mac: Mac,
    pub destination_mac: Mac,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// IPv4's.
    pub identification: u16,
    /// IPv4's bit; true for IPv6.
    pub dont_fragment: bool,
    /// IPv4 options, or IPv6 extension headers with their next-header bytes.
    pub ip_extra: Vec<u8>,
    pub kind: u8,
    pub code: u8,
    /// The four bytes behind the checksum.
    pub rest: u32,
    pub payload: Vec<u8>,
    /// Bytes of the frame behind the IP packet.
    pub padding: usize,
}

/// The packet, or its beginning, that an error quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Address and port.
    pub source: SocketAddr,
    /// Address and port.
    pub destination: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// It is quoted to its end, so that the transport checksum could be judged.
    pub whole: bool,
}

/// The message in a frame in which everything is right; where it is an error, in what it quotes too.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_icmp(frame: &[u8]) -> Result<Message, Defect> {
    let (message, mut defects) = read_icmp(frame)?;
    if message.is_error() {
        let (_, found) = quote(&message)?;
        defects.extend(found);
    }
    flawless(message, defects)
}

/// The message in a frame, with the checksums outside of a quoted packet that are wrong.
///
/// # Errors
/// What keeps the frame from being read as one ICMP message of its family.
pub fn read_icmp(frame: &[u8]) -> Result<(Message, Vec<Defect>), Defect> {
    let mut defects = Vec::new();
    let (macs, ip) = ip::read(frame, &mut defects)?;
    ip.whole()?;
    // ICMPv6 alone has a pseudo header (RFC 4443, section 2.3).
    let mut sum = match (ip.source, ip.protocol) {
        (IpAddr::V4(_), protocol::ICMP) => Remainder::default(),
        (IpAddr::V6(_), protocol::ICMPV6) => ip.pseudo_header(),
        (_, other) => return Err(Defect::NotIcmp(other)),
    };
    let (header, payload) = split(ip.body, 8, "icmp header")?;
    sum.add(&header[..2]);
    sum.add(&ip.body[4..]);
    defects.extend(sum.verdict("icmp", be16(&header[2..])));
    let message = Message {
        source_mac: macs.source,
        destination_mac: macs.destination,
        source: ip.source,
        destination: ip.destination,
        ttl: ip.ttl,
        tos: ip.tos,
        identification: ip.identification,
        dont_fragment: ip.dont_fragment,
        ip_extra: ip.extra.to_vec(),
        kind: header[0],
        code: header[1],
        rest: be32(&header[4..]),
        payload: payload.to_vec(),
        padding: ip.padding,
    };
    Ok((message, defects))
}

impl Message {
    /// It quotes a packet: destination unreachable, source quench, time exceeded, parameter problem; of
    /// ICMPv6 those and packet too big.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => matches!(self.kind, 3 | 4 | 11 | 12),
            IpAddr::V6(_) => (1..=4).contains(&self.kind),
        }
    }
}

/// The packet of TCP or UDP that an error quotes, with what is wrong of it as far as can be told: the IPv4
/// header checksum, and all else that is judged of a packet where all of it is there.
///
/// # Errors
/// What keeps it from being read up to the ports.
pub fn quote(message: &Message) -> Result<(Quote, Vec<Defect>), Defect> {
    let packet = &message.payload;
    let (first, _) = split(packet, 1, "quoted packet")?;
    let (kind, header_len) = match first[0] >> 4 {
        4 => (ethertype::IPV4, 20),
        6 => (ethertype::IPV6, 40),
        other => {
            return Err(Defect::Impossible {
                what: "quoted ip version",
                found: other.into(),
            });
        }
    };
    split(packet, header_len, "quoted ip header")?;
    let announced = match kind {
        ethertype::IPV4 => usize::from(be16(&packet[2..])),
        _ => 40 + usize::from(be16(&packet[4..])),
    };
    // As a frame of its own. What is missing of it does not matter but for the transport checksum.
    let mut frame = vec![0; 12];
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    let whole = packet.len() >= announced;
    frame.resize(frame.len().max(14 + announced), 0);
    let mut defects = Vec::new();
    let (_, ip) = ip::read(&frame, &mut defects)?;
    let present = ip.extra.len() + header_len + 8;
    split(packet, present, "quoted packet up to its ports")?;
    let (ports, _) = split(ip.body, 8, "quoted transport header")?;
    let quote = Quote {
        source: SocketAddr::new(ip.source, be16(ports)),
        destination: SocketAddr::new(ip.destination, be16(&ports[2..])),
        protocol: ip.protocol,
        ttl: ip.ttl,
        whole,
    };
    if whole {
        defects = judge(&ip, &frame[..14 + announced])?;
    }
    Ok((quote, defects))
}

/// What is wrong with a quoted packet all of which is there.
fn judge(ip: &Ip<'_>, frame: &[u8]) -> Result<Vec<Defect>, Defect> {
    let mut of_header = Vec::new();
    if ip.whole().is_err() {
        ip::read(frame, &mut of_header)?;
        return Ok(of_header);
    }
    Ok(match ip.protocol {
        protocol::TCP => read(frame)?.1,
        protocol::UDP => read_udp(frame)?.1,
        _ => {
            ip::read(frame, &mut of_header)?;
            of_header
        }
    })
}
