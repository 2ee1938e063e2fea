//! Packets built from named fields ([`Packet`]): TCP, UDP, ICMP, and each inside a tunnel; and an oracle
//! that judges frames without sharing any arithmetic with the builder or with the XDP program
//! ([`oracle`]).

mod builder;
mod describe;
mod extension;
pub mod oracle;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use builder::Packet;
pub use describe::describe;
pub use extension::{Extension, TcpOption};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A locally administered MAC address that ends in `n`.
#[must_use]
pub const fn mac(n: u8) -> Mac {
    [0x02, 0, 0, 0, 0, n]
}

/// A VLAN tag: its EtherType, and priority and VLAN number together.
pub type Tag = (u16, u16);

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;

/// The UDP port that IANA gave to GUE.
pub const GUE_PORT: u16 = 6080;

/// How GUE (draft-ietf-intarea-gue) puts an IP packet behind a UDP header. The first two bits of
/// the payload tell the variants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gue {
    /// Variant 0: behind a header of 4 bytes, which names the family (section 3). Control packets,
    /// flags and extension fields are not used.
    Variant0,
    /// Variant 1: with nothing in between, as the version of either IP header begins with the bits
    /// 01 (section 4).
    Variant1,
}

/// EtherTypes (IEEE 802 numbers).
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    /// A tag of 802.1Q.
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    /// The outer tag of 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8;
}

/// IP protocol numbers, and IPv6 extension headers, which share their space.
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    /// An IPv4 packet (RFC 2003, RFC 2473).
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    /// An IPv6 packet (RFC 4213, RFC 2473).
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
}

/// TCP flags, as the bits of byte 13 of the header (RFC 9293, section 3.1).
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
}

/// A broadcast ARP request (RFC 826) for `wanted`, from `asker`; neither needs to be IPv4 for the
/// purpose of looking unlike IP, so only IPv4 is accepted.
///
/// # Panics
/// When either address is IPv6.
#[must_use]
pub fn arp_request(asker: SocketAddr, wanted: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(asker), SocketAddr::V4(wanted)) = (asker, wanted) else {
        panic!("ARP is of IPv4 only");
    };
    let mut frame = Vec::new();
    frame.extend([0xff; 6]);
    frame.extend(mac(1));
    frame.extend(ethertype::ARP.to_be_bytes());
    frame.extend(1_u16.to_be_bytes()); // hardware: Ethernet
    frame.extend(ethertype::IPV4.to_be_bytes());
    frame.extend([6, 4]); // lengths of the two kinds of address
    frame.extend(1_u16.to_be_bytes()); // operation: request
    frame.extend(mac(1));
    frame.extend(asker.ip().octets());
    frame.extend([0; 6]);
    frame.extend(wanted.ip().octets());
    frame
}
