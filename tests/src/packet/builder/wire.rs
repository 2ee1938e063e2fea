//! How the builder's fields become bytes, with the builder's own checksum arithmetic.

use std::net::IpAddr;

use super::{Body, Packet, Tcp};
use crate::packet::{ethertype, protocol};

impl Packet {
    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (protocol, segment) = match &self.body {
            Body::Tcp(tcp) => (protocol::TCP, tcp.build(self.source, self.destination)),
            Body::Raw(protocol, bytes) => (*protocol, bytes.clone()),
        };
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        for tag in &self.tags {
            frame.extend(ethertype::VLAN.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ethertype::IPV4.to_be_bytes());
                frame.extend(self.header4(
                    source.octets(),
                    destination.octets(),
                    protocol,
                    segment.len(),
                ));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(ethertype::IPV6.to_be_bytes());
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
            None => 0x4000, // don't fragment
            Some(_) => (offset / 8) | (u16::from(more) << 13),
        };
        let mut header = vec![0x40 | (len / 4) as u8, 0];
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
            extension.write(next, &mut extensions);
        }
        let first = self.extensions.first().map_or(protocol, |e| e.number());
        let mut header = 0x6000_0000_u32.to_be_bytes().to_vec();
        header.extend(((extensions.len() + body_len) as u16).to_be_bytes());
        header.extend([first, self.ttl]);
        header.extend(source);
        header.extend(destination);
        header.extend(extensions);
        header
    }
}

impl Tcp {
    fn build(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let true_words = (20 + self.options.len()) / 4;
        let words = self.header_words.unwrap_or(true_words as u8);
        let mut segment = Vec::new();
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.destination_port.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([words << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]); // checksum, urgent pointer
        segment.extend(&self.options);
        segment.extend(&self.payload);

        let mut pseudo = Vec::new();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => pseudo.extend(address.octets()),
                IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        pseudo.extend((segment.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol::TCP]);
        pseudo.extend(&segment);
        let checksum = (!sum(&pseudo)).wrapping_add(self.checksum_error);
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        segment
    }
}

/// The ones' complement sum of RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
