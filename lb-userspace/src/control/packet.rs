//! Frames as people read them: who sends what to whom, also inside a tunnel. Pure.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, LinkSlice, TransportSlice};
use lb_common::{PROTOCOL_IPV4, PROTOCOL_IPV6};
use serde::{Deserialize, Serialize};

/// Bytes of GUE's header in variant 0 (draft-ietf-intarea-gue, section 3).
const GUE_HEADER: usize = 4;

/// What the headers of a packet say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    pub source: IpAddr,
    /// Ports are there with TCP and UDP, but not in a later fragment.
    pub source_port: Option<u16>,
    pub destination: IpAddr,
    pub destination_port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, or the IP protocol's number.
    pub protocol: String,
    /// TCP's flags as tcpdump writes them, such as `S.` or `P.`; empty for none.
    #[serde(default)]
    pub flags: String,
    /// TTL or hop limit.
    pub hops: u8,
    /// The packet in this one, of a tunnel.
    pub inner: Option<Box<Packet>>,
}

impl Packet {
    /// The packet in a frame, of which the end may be missing; `None` where it is not IP. UDP to one of
    /// `gue_ports` is a tunnel.
    #[must_use]
    pub fn in_frame(frame: &[u8], gue_ports: &[u16]) -> Option<Self> {
        Self::of(&LaxSlicedPacket::from_ethernet(frame).ok()?, gue_ports)
    }

    fn of(sliced: &LaxSlicedPacket<'_>, gue_ports: &[u16]) -> Option<Self> {
        let (source, destination, hops): (IpAddr, IpAddr, u8) = match sliced.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
                ip.header().ttl(),
            ),
            LaxNetSlice::Ipv6(ip) => (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
                ip.header().hop_limit(),
            ),
            LaxNetSlice::Arp(_) => return None,
        };
        let payload = sliced.ip_payload()?;
        let mut packet = Self {
            source,
            source_port: None,
            destination,
            destination_port: None,
            protocol: payload.ip_number.0.to_string(),
            flags: String::new(),
            hops,
            inner: None,
        };
        match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                "tcp".clone_into(&mut packet.protocol);
                packet.flags = flags(tcp);
                packet.source_port = Some(tcp.source_port());
                packet.destination_port = Some(tcp.destination_port());
            }
            Some(TransportSlice::Udp(udp)) => {
                "udp".clone_into(&mut packet.protocol);
                packet.source_port = Some(udp.source_port());
                packet.destination_port = Some(udp.destination_port());
                if gue_ports.contains(&udp.destination_port()) {
                    packet.inner = in_gue(udp.payload());
                }
            }
            Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => {
                "icmp".clone_into(&mut packet.protocol);
            }
            None if matches!(payload.ip_number.0, PROTOCOL_IPV4 | PROTOCOL_IPV6) => {
                packet.inner = in_ip(payload.payload);
            }
            None => {
                packet.protocol = match payload.ip_number.0 {
                    lb_common::PROTOCOL_TCP => "tcp".to_owned(),
                    lb_common::PROTOCOL_UDP => "udp".to_owned(),
                    other => other.to_string(),
                }
            }
        }
        Some(packet)
    }

    /// Who sends it: with the port where there is one.
    #[must_use]
    pub fn from_text(&self) -> String {
        end_text(self.source, self.source_port)
    }

    /// For whom it is.
    #[must_use]
    pub fn to_text(&self) -> String {
        end_text(self.destination, self.destination_port)
    }
}

/// Destination and source of a frame's Ethernet header.
#[must_use]
pub fn macs(frame: &[u8]) -> Option<([u8; 6], [u8; 6])> {
    match LaxSlicedPacket::from_ethernet(frame).ok()?.link? {
        LinkSlice::Ethernet2(ethernet) => Some((ethernet.destination(), ethernet.source())),
        _ => None,
    }
}

/// An address, with its port where there is one.
#[must_use]
pub fn end_text(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}

fn in_ip(payload: &[u8]) -> Option<Box<Packet>> {
    Packet::of(&LaxSlicedPacket::from_ip(payload).ok()?, &[]).map(Box::new)
}

/// Variant 1 begins with the packet's own version; variant 0 has a header before it.
fn in_gue(payload: &[u8]) -> Option<Box<Packet>> {
    match payload.first()? >> 4 {
        4 | 6 => in_ip(payload),
        _ => in_ip(payload.get(GUE_HEADER..)?),
    }
}

fn flags(tcp: &etherparse::TcpSlice<'_>) -> String {
    let all = [
        (tcp.fin(), 'F'),
        (tcp.syn(), 'S'),
        (tcp.rst(), 'R'),
        (tcp.psh(), 'P'),
        (tcp.urg(), 'U'),
        (tcp.ack(), '.'),
    ];
    all.iter()
        .filter(|(set, _)| *set)
        .map(|(_, letter)| letter)
        .collect()
}
