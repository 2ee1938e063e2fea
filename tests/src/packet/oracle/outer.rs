//! Tunnels: IP in IP, and GUE over UDP (draft-ietf-intarea-gue).

use std::net::IpAddr;

use super::{
    Defect, flawless,
    ip::{self, Ip},
    read, read_udp, split,
    udp::Udp,
};
use crate::packet::{Gue, Mac, ethertype, protocol};

/// The outer headers of a packet inside another, as found in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Of the frame.
    pub source_mac: Mac,
    /// Of the frame.
    pub destination_mac: Mac,
    /// Of the outer header, as the other fields are.
    pub source: IpAddr,
    /// Where the tunnel ends.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// IPv6's, 20 bits; 0 for IPv4.
    pub flow_label: u32,
    /// IPv4's; 0 for IPv6.
    pub identification: u16,
    /// IPv4's bit; true for IPv6, which is fragmented by its sender alone (RFC 8200, section 5).
    pub dont_fragment: bool,
    /// IPv4 options, or IPv6 extension headers with their next-header bytes.
    pub ip_extra: Vec<u8>,
    /// What follows the outer IP header.
    pub tunnel: Tunnel,
    /// Bytes of the frame behind the outer IP packet.
    pub padding: usize,
}

/// What is between the outer and the inner IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Nothing (RFC 2003, RFC 2473, RFC 4213).
    IpInIp,
    /// A UDP header, and GUE's own if the variant has one.
    Gue {
        /// As told by the first bits of the payload.
        variant: Gue,
        /// Of the UDP header.
        source_port: u16,
        /// Of the UDP header.
        destination_port: u16,
        /// Of the UDP header, as found; 0 if the sender computed none.
        checksum: u16,
    },
}

/// The outer headers and the inner packet of a frame in which everything is right. TCP, UDP and
/// further IP in IP inside are judged whole; of a fragment and of any other protocol, the IP header
/// and its length are. The inner packet comes as a frame with the outer frame's MACs, so that
/// [`check`](super::check) and its like take it.
///
/// Any UDP datagram is read as GUE, whatever its ports. The outer UDP checksum may be 0 over IPv6
/// too, which RFC 6935 allows to tunnels.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_outer(frame: &[u8]) -> Result<(Outer, Vec<u8>), Defect> {
    let (outer, inner, mut defects) = read_outer(frame)?;
    if let Err(defect) = judge(&inner, &mut defects) {
        defects.push(defect);
    }
    flawless((outer, inner), defects)
}

/// The outer headers of a frame and the inner packet as a frame, with what is wrong outside and
/// with an inner packet that does not fill its room. The inner packet is not judged.
///
/// # Errors
/// What keeps the outer headers from being read, or leaves the inner family open.
pub fn read_outer(frame: &[u8]) -> Result<(Outer, Vec<u8>, Vec<Defect>), Defect> {
    let mut defects = Vec::new();
    let (macs, ip) = ip::read(frame, &mut defects)?;
    ip.whole()?;
    let (tunnel, inner_protocol, packet) = match ip.protocol {
        protocol::IPV4 | protocol::IPV6 => (Tunnel::IpInIp, ip.protocol, ip.body),
        protocol::UDP => read_gue(&ip, &mut defects)?,
        other => return Err(Defect::NotTunnel(other)),
    };
    let kind = match inner_protocol {
        protocol::IPV4 => ethertype::IPV4,
        protocol::IPV6 => ethertype::IPV6,
        other => {
            return Err(Defect::Impossible {
                what: "protocol inside gue",
                found: other.into(),
            });
        }
    };
    let mut inner = [macs.destination, macs.source].concat();
    inner.extend(kind.to_be_bytes());
    inner.extend(packet);
    if let Ok((_, inside)) = ip::read(&inner, &mut Vec::new())
        && inside.padding > 0
    {
        defects.push(Defect::Field {
            what: "inner packet length",
            found: packet.len() - inside.padding,
            right: packet.len(),
        });
    }
    let outer = Outer {
        source_mac: macs.source,
        destination_mac: macs.destination,
        source: ip.source,
        destination: ip.destination,
        ttl: ip.ttl,
        tos: ip.tos,
        flow_label: ip.flow_label,
        identification: ip.identification,
        dont_fragment: ip.dont_fragment,
        ip_extra: ip.extra.to_vec(),
        tunnel,
        padding: ip.padding,
    };
    Ok((outer, inner, defects))
}

/// The tunnel, the inner protocol and the inner packet of a GUE datagram.
fn read_gue<'a>(ip: &Ip<'a>, defects: &mut Vec<Defect>) -> Result<(Tunnel, u8, &'a [u8]), Defect> {
    let udp = Udp::read(ip, defects)?;
    let (first, _) = split(udp.payload, 1, "gue payload")?;
    let (variant, inner_protocol, packet) = match first[0] >> 4 {
        // The variant is 0 in the upper two of these bits; the next is the control bit.
        0..=3 => {
            let (header, packet) = split(udp.payload, 4, "gue header")?;
            for (what, found) in [
                ("gue control bit and header length", first[0].into()),
                (
                    "gue flags",
                    usize::from(header[2]) << 8 | usize::from(header[3]),
                ),
            ] {
                if found != 0 {
                    defects.push(Defect::Field {
                        what,
                        found,
                        right: 0,
                    });
                }
            }
            (Gue::Variant0, header[1], packet)
        }
        4 => (Gue::Variant1, protocol::IPV4, udp.payload),
        6 => (Gue::Variant1, protocol::IPV6, udp.payload),
        other => {
            return Err(Defect::Impossible {
                what: "start of a gue payload",
                found: other.into(),
            });
        }
    };
    let tunnel = Tunnel::Gue {
        variant,
        source_port: udp.source_port,
        destination_port: udp.destination_port,
        checksum: udp.checksum,
    };
    Ok((tunnel, inner_protocol, packet))
}

/// Adds what is wrong with an inner packet.
///
/// # Errors
/// What keeps it from being read.
fn judge(inner: &[u8], defects: &mut Vec<Defect>) -> Result<(), Defect> {
    let mut of_header = Vec::new();
    let (_, ip) = ip::read(inner, &mut of_header)?;
    let found = match ip.protocol {
        _ if ip.whole().is_err() => of_header,
        protocol::TCP => read(inner)?.1,
        protocol::UDP => read_udp(inner)?.1,
        protocol::IPV4 | protocol::IPV6 => {
            let (_, innermost, found) = read_outer(inner)?;
            defects.extend(found);
            return judge(&innermost, defects);
        }
        _ => of_header,
    };
    defects.extend(found);
    Ok(())
}
