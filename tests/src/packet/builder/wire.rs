//! How a frame is made of the builder's fields, with the builder's own checksum arithmetic.

use std::net::IpAddr;

use super::{Body, Packet, icmp};
use crate::packet::{ethertype, protocol};

impl Packet {
    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (protocol, segment) = self.content();
        let mut frame = self.ethernet();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(self.header4(
                    source.octets(),
                    destination.octets(),
                    protocol,
                    segment.len(),
                ));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(self.header6(
                    source.octets(),
                    destination.octets(),
                    protocol,
                    segment.len(),
                ));
            }
            _ => panic!("source and destination are of one family"),
        }
        frame.extend(segment);
        frame.resize(frame.len() + self.padding, 0);
        if let Some(len) = self.cut {
            frame.truncate(len);
        }
        frame
    }

    /// What follows the headers of IP: protocol and bytes.
    pub(super) fn content(&self) -> (u8, Vec<u8>) {
        match &self.body {
            Body::Tcp(tcp) => (protocol::TCP, tcp.build(self.source, self.destination)),
            Body::Udp(udp) => (protocol::UDP, udp.build(self.source, self.destination)),
            Body::Icmp(message) => (
                icmp::protocol_of(self.source),
                message.build(self.source, self.destination),
            ),
            Body::Raw(protocol, bytes) => (*protocol, bytes.clone()),
        }
    }

    /// The Ethernet header with its tags.
    pub(super) fn ethernet(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.destination_mac);
        header.extend(self.source_mac);
        for (kind, number) in &self.tags {
            header.extend(kind.to_be_bytes());
            header.extend(number.to_be_bytes());
        }
        let kind = match self.source {
            IpAddr::V4(_) => ethertype::IPV4,
            IpAddr::V6(_) => ethertype::IPV6,
        };
        header.extend(kind.to_be_bytes());
        header
    }

    fn header4(
        &self,
        source: [u8; 4],
        destination: [u8; 4],
        protocol: u8,
        body_len: usize,
    ) -> Vec<u8> {
        let len = 20 + self.ip_options.len();
        let (offset, more) = self.fragment.unwrap_or_default();
        let fragment = match self.fragment {
            None => u16::from(self.dont_fragment) << 14,
            Some(_) => (offset / 8) | (u16::from(more) << 13),
        };
        let mut header = vec![0x40 | (len / 4) as u8, self.tos];
        header.extend(((len + body_len) as u16).to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(fragment.to_be_bytes());
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        header.extend(&self.ip_options);
        let checksum = (!sum(&header)).wrapping_add(self.ip_checksum_error);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn header6(
        &self,
        source: [u8; 16],
        destination: [u8; 16],
        protocol: u8,
        body_len: usize,
    ) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (at, extension) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(at + 1).map_or(protocol, |e| e.number());
            extension.write(next, self.identification, &mut extensions);
        }
        let first = self.extensions.first().map_or(protocol, |e| e.number());
        let word = 0x6000_0000 | u32::from(self.tos) << 20 | self.flow_label & 0xf_ffff;
        let mut header = word.to_be_bytes().to_vec();
        header.extend(((extensions.len() + body_len) as u16).to_be_bytes());
        header.extend([first, self.ttl]);
        header.extend(source);
        header.extend(destination);
        header.extend(extensions);
        header
    }
}

/// The checksum of a segment or datagram whose checksum field is zero, over its pseudo header too
/// (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1).
pub(super) fn transport_checksum(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    bytes: &[u8],
) -> u16 {
    let mut pseudo = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend((bytes.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    pseudo.extend(bytes);
    !sum(&pseudo)
}

/// The ones' complement sum of RFC 1071.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
