//! What goes into a tunnel and, for GUE, how.

use std::net::IpAddr;

use lb_tests::{
    lab::{Ip, Tunnel, VIP4, VIP6},
    packet::{ETHERNET_LEN, Packet, protocol},
};

pub const GUE_PORT: u16 = 6_080;

/// A client's SYN to the vip.
pub fn syn(client: IpAddr, port: u16) -> Packet {
    let vip: IpAddr = match client {
        IpAddr::V4(_) => VIP4.into(),
        IpAddr::V6(_) => VIP6.into(),
    };
    Packet::tcp((client, port).into(), (vip, 80).into())
}

/// What is behind the Ethernet header.
pub fn ip_packet(packet: &Packet) -> Vec<u8> {
    packet.build().split_off(ETHERNET_LEN)
}

/// The protocol number of IP in IP.
pub const fn number(ip: Ip) -> u8 {
    match ip {
        Ip::V4 => protocol::IPV4,
        Ip::V6 => protocol::IPV6,
    }
}

/// The payload of a GUE datagram.
pub fn gue(tunnel: Tunnel, inner: Ip, packet: &[u8]) -> Vec<u8> {
    match tunnel {
        Tunnel::Gue0 => [&[0, number(inner), 0, 0], packet].concat(),
        Tunnel::Gue1 => packet.to_vec(),
        Tunnel::Ipip => panic!("this tunnel has no datagrams"),
    }
}
