//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echoes, and errors that quote a packet.

use std::net::IpAddr;

use super::{Body, Packet, wire};
use crate::packet::protocol;

#[derive(Clone, Debug)]
pub(super) struct Icmp {
    kind: u8,
    code: u8,
    /// The four bytes behind the checksum.
    rest: u32,
    pub(super) payload: Vec<u8>,
    checksum_error: u16,
}

/// Starting a message.
impl Packet {
    /// An echo request with 56 bytes of payload, as ping sends it.
    #[must_use]
    pub fn ping(source: IpAddr, destination: IpAddr) -> Self {
        let kind = match source {
            IpAddr::V4(_) => 8,
            IpAddr::V6(_) => 128,
        };
        let message = Self::icmp(source, destination, kind, 0).rest(0x0001_0001);
        message.payload(&[b'x'; 56])
    }

    /// Any message of the family's ICMP, with neither identifier nor payload.
    #[must_use]
    pub fn icmp(source: IpAddr, destination: IpAddr, kind: u8, code: u8) -> Self {
        let icmp = Icmp {
            kind,
            code,
            rest: 0,
            payload: Vec::new(),
            checksum_error: 0,
        };
        Self::new(source, destination, Body::Icmp(icmp))
    }
}

/// A message's fields; its payload is set as that of TCP and UDP.
impl Packet {
    /// Sets the type.
    #[must_use]
    pub fn icmp_kind(self, kind: u8) -> Self {
        self.with_icmp(|icmp| icmp.kind = kind)
    }

    /// Sets the code.
    #[must_use]
    pub fn icmp_code(self, code: u8) -> Self {
        self.with_icmp(|icmp| icmp.code = code)
    }

    /// Sets the four bytes behind the checksum: of an echo identifier and sequence number, of an error
    /// what its type says.
    #[must_use]
    pub fn rest(self, rest: u32) -> Self {
        self.with_icmp(|icmp| icmp.rest = rest)
    }

    /// Makes the first bytes of a packet's IP header and what follows it, at most so many, the payload.
    #[must_use]
    pub fn quoting(self, quoted: &Self, bytes: usize) -> Self {
        let frame = quoted.build();
        let packet = &frame[quoted.ethernet().len()..];
        self.payload(&packet[..packet.len().min(bytes)])
    }

    /// Adds this to the right ICMP checksum, so that it is wrong.
    #[must_use]
    pub fn icmp_checksum_off_by(self, error: u16) -> Self {
        self.with_icmp(|icmp| icmp.checksum_error = error)
    }

    fn with_icmp(mut self, change: impl FnOnce(&mut Icmp)) -> Self {
        match &mut self.body {
            Body::Icmp(icmp) => change(icmp),
            other => panic!("{} has no ICMP fields", other.name()),
        }
        self
    }
}

/// The family's protocol number.
pub(super) fn protocol_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => protocol::ICMP,
        IpAddr::V6(_) => protocol::ICMPV6,
    }
}

impl Icmp {
    pub(super) fn build(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0];
        message.extend(self.rest.to_be_bytes());
        message.extend(&self.payload);
        let right = match source {
            IpAddr::V4(_) => !wire::sum(&message),
            IpAddr::V6(_) => {
                wire::transport_checksum(source, destination, protocol::ICMPV6, &message)
            }
        };
        let checksum = right.wrapping_add(self.checksum_error);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }
}
