//! UDP (RFC 768): what a datagram has that nothing else has. GUE is a datagram too.

use std::net::{IpAddr, SocketAddr};

use super::{Body, Packet, wire};
use crate::packet::{Gue, protocol};

#[derive(Clone, Debug)]
pub(super) struct Udp {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) payload: Vec<u8>,
    /// How a packet goes inside, if this is a tunnel's datagram.
    pub(super) gue: Option<Gue>,
    /// What the length field says, if it shall not be the truth.
    length: Option<u16>,
    checksum: Checksum,
}

#[derive(Clone, Copy, Debug)]
enum Checksum {
    /// Zero: the sender computed none.
    Absent,
    /// The right one plus this, in ones' complement.
    OffBy(u16),
}

impl Packet {
    /// A UDP datagram with a small payload and no checksum.
    ///
    /// # Panics
    /// When the two are not of one address family.
    #[must_use]
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Self {
        let udp = Udp::new(source.port(), destination.port(), b"ping");
        Self::new(source.ip(), destination.ip(), Body::Udp(udp))
    }

    /// Gives the datagram its right checksum, over all of it; one that comes out as 0 is sent as
    /// 0xffff (RFC 768).
    #[must_use]
    pub fn udp_checksum(self) -> Self {
        self.with_udp(|udp| udp.checksum = Checksum::OffBy(0))
    }

    /// Gives the datagram the right checksum plus this in ones' complement, which is wrong and
    /// never 0.
    ///
    /// # Panics
    /// When `error` is 0xffff, which is one of the two zeros of ones' complement, or 0.
    #[must_use]
    pub fn udp_checksum_off_by(self, error: u16) -> Self {
        assert!(!matches!(error, 0 | 0xffff), "{error:#06x} is no error");
        self.with_udp(|udp| udp.checksum = Checksum::OffBy(error))
    }

    /// Lets the UDP header announce this many bytes of header and payload, whatever they are. A
    /// checksum stays that of the datagram's true length, with this field in it.
    #[must_use]
    pub fn udp_length(self, bytes: u16) -> Self {
        self.with_udp(|udp| udp.length = Some(bytes))
    }

    fn with_udp(mut self, change: impl FnOnce(&mut Udp)) -> Self {
        match &mut self.body {
            Body::Udp(udp) => change(udp),
            other => panic!("{} has no UDP fields", other.name()),
        }
        self
    }
}

impl Udp {
    pub(super) fn new(source_port: u16, destination_port: u16, payload: &[u8]) -> Self {
        Self {
            source_port,
            destination_port,
            payload: payload.to_vec(),
            gue: None,
            length: None,
            checksum: Checksum::Absent,
        }
    }

    pub(super) fn build(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let length = self.length.unwrap_or(8 + self.payload.len() as u16);
        let mut datagram = Vec::new();
        datagram.extend(self.source_port.to_be_bytes());
        datagram.extend(self.destination_port.to_be_bytes());
        datagram.extend(length.to_be_bytes());
        datagram.extend([0, 0]); // checksum
        datagram.extend(&self.payload);

        if let Checksum::OffBy(error) = self.checksum {
            let right = wire::transport_checksum(source, destination, protocol::UDP, &datagram);
            // From 1 to 0xffff: 0 would say that there is none.
            let sum = (u32::from(right) + u32::from(error)) % 0xffff;
            let checksum = if sum == 0 { 0xffff } else { sum as u16 };
            datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
        datagram
    }
}
