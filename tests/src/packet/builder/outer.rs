//! Tunnels: a packet inside another. The outer one is a [`Packet`] as well, so that every setter of
//! Ethernet, IP, UDP and of the frame works for it, before a packet is put inside and after.

use std::net::{IpAddr, SocketAddr};

use super::{Body, Packet, udp::Udp};
use crate::packet::{Gue, protocol};

impl Packet {
    /// The outer packet of IP in IP (RFC 2003, RFC 2473, RFC 4213), with nothing inside yet.
    ///
    /// # Panics
    /// When the two are not of one address family.
    #[must_use]
    pub fn ip_in_ip(source: IpAddr, destination: IpAddr) -> Self {
        Self::raw(source, destination, protocol::IPV4, Vec::new())
    }

    /// The outer packet of GUE, with nothing inside yet and no UDP checksum. GUE's own port is
    /// [`GUE_PORT`](crate::packet::GUE_PORT).
    ///
    /// # Panics
    /// When the two are not of one address family.
    #[must_use]
    pub fn gue(variant: Gue, source: SocketAddr, destination: SocketAddr) -> Self {
        let mut udp = Udp::new(source.port(), destination.port(), &[]);
        udp.gue = Some(variant);
        Self::new(source.ip(), destination.ip(), Body::Udp(udp))
    }

    /// Puts this packet inside `outer`: all that its own frame holds behind the Ethernet header,
    /// cut or padded as it is. The result has the fields of `outer`, and further setters change
    /// those.
    ///
    /// # Panics
    /// When `outer` is neither [`Self::ip_in_ip`] nor [`Self::gue`].
    #[must_use]
    pub fn inside(self, mut outer: Self) -> Self {
        let inner_protocol = match self.source {
            IpAddr::V4(_) => protocol::IPV4,
            IpAddr::V6(_) => protocol::IPV6,
        };
        let frame = self.build();
        let inner = frame.get(self.ethernet().len()..).unwrap_or_default();
        match &mut outer.body {
            Body::Raw(protocol @ (protocol::IPV4 | protocol::IPV6), bytes) => {
                *protocol = inner_protocol;
                *bytes = inner.to_vec();
            }
            Body::Udp(udp) => {
                udp.payload = match udp.gue {
                    // Variant, control bit and header length are 0, and so are the flags.
                    Some(Gue::Variant0) => vec![0, inner_protocol, 0, 0],
                    Some(Gue::Variant1) => Vec::new(),
                    None => panic!("a plain UDP datagram is no tunnel"),
                };
                udp.payload.extend(inner);
            }
            other => panic!("{} is no tunnel", other.name()),
        }
        outer
    }
}
