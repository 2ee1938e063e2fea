//! UDP (RFC 768), on its own and as what carries GUE.

use std::net::SocketAddr;

use super::{
    Defect, be16, flawless,
    ip::{self, Ip},
    split,
};
use crate::packet::{Mac, protocol};

/// A UDP datagram as found in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Of the frame.
    pub source_mac: Mac,
    /// Of the frame.
    pub destination_mac: Mac,
    /// Address and port.
    pub source: SocketAddr,
    /// Address and port.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// IPv4 options, or IPv6 extension headers with their next-header bytes.
    pub ip_extra: Vec<u8>,
    /// As found; 0 if the sender computed none.
    pub checksum: u16,
    /// All of the IP packet behind the UDP header, whatever the length field says.
    pub payload: Vec<u8>,
    /// Bytes of the frame behind the IP packet.
    pub padding: usize,
}

/// The datagram in a frame in which everything is right. Over IPv4 it may have no checksum; over
/// IPv6, receivers discard one that has none (RFC 8200, section 8.1).
///
/// # Errors
/// The first thing that is wrong.
pub fn check_udp(frame: &[u8]) -> Result<Datagram, Defect> {
    let (datagram, defects) = read_udp(frame)?;
    flawless(datagram, defects)
}

/// The datagram in a frame, with the checksums that are wrong or missing, and a length field that
/// lies.
///
/// # Errors
/// What keeps the frame from being read as one UDP datagram.
pub fn read_udp(frame: &[u8]) -> Result<(Datagram, Vec<Defect>), Defect> {
    let mut defects = Vec::new();
    let (macs, ip) = ip::read(frame, &mut defects)?;
    ip.whole()?;
    if ip.protocol != protocol::UDP {
        return Err(Defect::NotUdp(ip.protocol));
    }
    let udp = Udp::read(&ip, &mut defects)?;
    if udp.checksum == 0 && ip.source.is_ipv6() {
        defects.push(Defect::NoChecksum);
    }
    let datagram = Datagram {
        source_mac: macs.source,
        destination_mac: macs.destination,
        source: SocketAddr::new(ip.source, udp.source_port),
        destination: SocketAddr::new(ip.destination, udp.destination_port),
        ttl: ip.ttl,
        tos: ip.tos,
        ip_extra: ip.extra.to_vec(),
        checksum: udp.checksum,
        payload: udp.payload.to_vec(),
        padding: ip.padding,
    };
    Ok((datagram, defects))
}

/// The header's fields, and what follows it to the end of the IP packet.
pub(super) struct Udp<'a> {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) checksum: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads the body of `ip`. Its length is the IP packet's; the field must say the same. A
    /// checksum that is there is judged over the whole.
    pub(super) fn read(ip: &Ip<'a>, defects: &mut Vec<Defect>) -> Result<Self, Defect> {
        let (header, payload) = split(ip.body, 8, "udp header")?;
        let announced = usize::from(be16(&header[4..]));
        if announced != ip.body.len() {
            defects.push(Defect::Field {
                what: "udp length",
                found: announced,
                right: ip.body.len(),
            });
        }
        let checksum = be16(&header[6..]);
        if checksum != 0 {
            let mut sum = ip.pseudo_header();
            sum.add(&header[..6]);
            sum.add(payload);
            defects.extend(sum.verdict_of_udp(checksum));
        }
        Ok(Self {
            source_port: be16(header),
            destination_port: be16(&header[2..]),
            checksum,
            payload,
        })
    }
}
