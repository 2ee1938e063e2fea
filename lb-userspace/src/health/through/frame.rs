//! Frames as the datapath would send them on for a client. Pure.
//!
//! Outer headers are those of `lb-ebpf`'s `tunnel.rs`: not to be fragmented, hop limit 64, source and
//! GUE port by the flow's hash, no UDP checksum.

use std::io;
use std::net::{IpAddr, SocketAddr};

use etherparse::{
    EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header,
    PacketBuilder, PacketBuilderStep, UdpHeader,
};
use lb_common::{PROTOCOL_TCP, PROTOCOL_UDP, flow::FlowKey, hash};

use super::{Gue, Outer, Way};

const HOP_LIMIT: u8 = 64;
/// What a SYN offers, and nobody uses, in bytes.
const WINDOW: u16 = 1_024;
/// First of the ports that datagrams of mode `gue` come from.
const GUE_FIRST_PORT: u16 = 0xc000;
/// Bytes of the header of GUE's variant 0.
const GUE_HEADER: usize = 4;

/// The two ends of what is sent: an address and port of ours, and the vip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) vip: SocketAddr,
}

/// Begins a connection with this sequence number.
pub(super) fn syn(way: &Way, ends: Ends, sequence: u32) -> io::Result<Vec<u8>> {
    let (from, vip) = (ends.from.port(), ends.vip.port());
    let mut packet = Vec::new();
    (ip(ends).tcp(from, vip, sequence, WINDOW).syn())
        .write(&mut packet, &[])
        .map_err(io::Error::other)?;
    wrapped(way, ends, PROTOCOL_TCP, &packet)
}

/// Ends it: `sequence` is what the other end expects next.
pub(super) fn reset(way: &Way, ends: Ends, sequence: u32) -> io::Result<Vec<u8>> {
    let (from, vip) = (ends.from.port(), ends.vip.port());
    let mut packet = Vec::new();
    (ip(ends).tcp(from, vip, sequence, 0).rst())
        .write(&mut packet, &[])
        .map_err(io::Error::other)?;
    wrapped(way, ends, PROTOCOL_TCP, &packet)
}

/// A datagram.
pub(super) fn datagram(way: &Way, ends: Ends, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut packet = Vec::new();
    ip(ends)
        .udp(ends.from.port(), ends.vip.port())
        .write(&mut packet, payload)
        .map_err(io::Error::other)?;
    wrapped(way, ends, PROTOCOL_UDP, &packet)
}

/// # Panics
/// Never for ends of one family, which they are.
fn ip(ends: Ends) -> PacketBuilderStep<etherparse::IpHeaders> {
    match (ends.from.ip(), ends.vip.ip()) {
        (IpAddr::V4(from), IpAddr::V4(vip)) => {
            PacketBuilder::ipv4(from.octets(), vip.octets(), HOP_LIMIT)
        }
        (from, vip) => PacketBuilder::ipv6(octets6(from), octets6(vip), HOP_LIMIT),
    }
}

/// The frame in which this packet goes to the backend.
fn wrapped(way: &Way, ends: Ends, protocol: u8, packet: &[u8]) -> io::Result<Vec<u8>> {
    let v4 = match &way.outer {
        Some(outer) => outer.source.is_ipv4(),
        None => ends.vip.is_ipv4(),
    };
    let ethernet = Ethernet2Header {
        source: way.local_mac,
        destination: way.peer_mac,
        ether_type: if v4 { EtherType::IPV4 } else { EtherType::IPV6 },
    };
    let mut frame = Vec::with_capacity(packet.len() + 128);
    ethernet.write(&mut frame)?;
    if let Some(outer) = &way.outer {
        let inner = if ends.vip.is_ipv4() {
            IpNumber::IPV4
        } else {
            IpNumber::IPV6
        };
        write_outer(
            &mut frame,
            outer,
            inner,
            hash_of(ends, protocol),
            packet.len(),
        )?;
    }
    frame.extend_from_slice(packet);
    Ok(frame)
}

/// The headers between Ethernet's and the packet of so many bytes.
fn write_outer(
    frame: &mut Vec<u8>,
    outer: &Outer,
    inner: IpNumber,
    hash: u64,
    length: usize,
) -> io::Result<()> {
    let mut shim = Vec::new();
    if let Some(Gue { port, bare }) = outer.gue {
        let header = if bare { 0 } else { GUE_HEADER };
        let udp = UdpHeader {
            source_port: GUE_FIRST_PORT | (hash >> 48) as u16,
            destination_port: port,
            length: short(UdpHeader::LEN + header + length)?,
            checksum: 0,
        };
        udp.write(&mut shim)?;
        if !bare {
            shim.extend_from_slice(&[0, inner.0, 0, 0]);
        }
    }
    let protocol = if outer.gue.is_some() {
        IpNumber::UDP
    } else {
        inner
    };
    let payload = short(shim.len() + length)?;
    match (vary(outer.source, outer.spread, hash), outer.backend) {
        (IpAddr::V4(source), IpAddr::V4(backend)) => {
            let mut ip = Ipv4Header {
                total_len: short(Ipv4Header::MIN_LEN + usize::from(payload))?,
                dont_fragment: true,
                fragment_offset: IpFragOffset::ZERO,
                time_to_live: HOP_LIMIT,
                protocol,
                source: source.octets(),
                destination: backend.octets(),
                ..Ipv4Header::default()
            };
            ip.header_checksum = ip.calc_header_checksum();
            ip.write(frame)?;
        }
        (source, backend) => {
            let label = (hash >> 32) as u32 & Ipv6FlowLabel::MAX_U32;
            let ip = Ipv6Header {
                flow_label: Ipv6FlowLabel::try_new(label).unwrap_or_default(),
                payload_length: payload,
                next_header: protocol,
                hop_limit: HOP_LIMIT,
                source: octets6(source),
                destination: octets6(backend),
                ..Ipv6Header::default()
            };
            ip.write(frame)?;
        }
    }
    frame.extend_from_slice(&shim);
    Ok(())
}

/// The flow's hash as the datapath has it.
fn hash_of(ends: Ends, protocol: u8) -> u64 {
    let (source_port_be, destination_port_be) = (ends.from.port().to_be(), ends.vip.port().to_be());
    let protocol = u32::from(protocol);
    match (ends.from.ip(), ends.vip.ip()) {
        (IpAddr::V4(from), IpAddr::V4(vip)) => hash::flow(&FlowKey {
            source: [u32::from_ne_bytes(from.octets())],
            destination: [u32::from_ne_bytes(vip.octets())],
            source_port_be,
            destination_port_be,
            protocol,
        }),
        (from, vip) => hash::flow(&FlowKey {
            source: words(octets6(from)),
            destination: words(octets6(vip)),
            source_port_be,
            destination_port_be,
            protocol,
        }),
    }
}

/// The outer source of a flow: `spread` are the bits that its hash fills.
fn vary(source: IpAddr, spread: IpAddr, hash: u64) -> IpAddr {
    match (source, spread) {
        (IpAddr::V4(source), IpAddr::V4(spread)) => {
            let [source, spread] = [source, spread].map(|a| u32::from_ne_bytes(a.octets()));
            IpAddr::from((source | hash as u32 & spread).to_ne_bytes())
        }
        (source, spread) => {
            let more = hash::mix(hash);
            let filling = [
                (more >> 32) as u32,
                more as u32,
                (hash >> 32) as u32,
                hash as u32,
            ];
            let (source, spread) = (words(octets6(source)), words(octets6(spread)));
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&(source[at] | filling[at] & spread[at]).to_ne_bytes());
            }
            IpAddr::from(octets)
        }
    }
}

fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn words(octets: [u8; 16]) -> [u32; 4] {
    [0, 4, 8, 12]
        .map(|at| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]))
}

fn short(length: usize) -> io::Result<u16> {
    u16::try_from(length).map_err(|_| io::ErrorKind::InvalidInput.into())
}
