//! What the fixtures of ICMP errors which the balancer itself sends have in common.

use std::net::IpAddr;

use lb_common::reason::Reason;
use lb_tests::{
    packet::{
        ETHERNET_LEN, Mac, Packet,
        oracle::{self, Message},
    },
    rig::{INGRESS, Outcome, Verdict},
};

use crate::scene::Scene;

/// Most bytes of a quote: what fits 576 bytes of IPv4, and 1,280 of IPv6.
pub const QUOTE4: usize = 576 - 20 - 8;
pub const QUOTE6: usize = 1_280 - 40 - 8;

/// Our addresses on the interface that packets come in by.
pub fn own() -> [IpAddr; 2] {
    ["192.0.2.1", "2001:db8:5::1"].map(|text| text.parse().expect("these are addresses"))
}

/// The one of the family of `other`.
pub fn own_like(other: IpAddr) -> IpAddr {
    let [v4, v6] = own();
    if other.is_ipv4() { v4 } else { v6 }
}

/// Gives the balancer's interface, by which everything comes in, its addresses and this MTU.
pub fn with_addresses(scene: &mut Scene, mtu: u32) {
    scene.rig.interface(INGRESS, mtu, &own());
}

/// Kind, code and what follows of an ICMP error of the family of `of`.
pub fn time_exceeded(of: IpAddr) -> (u8, u8, u32) {
    if of.is_ipv4() { (11, 0, 0) } else { (3, 0, 0) }
}

pub fn too_big(of: IpAddr, mtu: u32) -> (u8, u8, u32) {
    if of.is_ipv4() {
        (3, 4, mtu)
    } else {
        (2, 0, mtu)
    }
}

/// The packet was answered with an ICMP error of this kind from this source to its own sender, back where
/// it came from, which quotes as much of it as there is room for.
#[track_caller]
pub fn answered(
    outcome: &Outcome,
    (source, destination): (IpAddr, IpAddr),
    (kind, code, rest): (u8, u8, u32),
    reason: Reason,
) {
    outcome.verdict(Verdict::Tx).counts(&[reason]);
    // Not judged by the oracle is the quote: it is compared with what was sent, damage and all.
    let (message, defects) =
        oracle::read_icmp(&outcome.frame).unwrap_or_else(|defect| panic!("{defect}\n{outcome}"));
    assert_eq!(defects, [], "\n{outcome}");
    let mac = |at: usize| -> Mac { outcome.sent[at..at + 6].try_into().expect("a MAC address") };
    let v4 = source.is_ipv4();
    let packet = &outcome.sent[ETHERNET_LEN..];
    let length = match packet {
        _ if v4 => usize::from(u16::from_be_bytes([packet[2], packet[3]])),
        _ => 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])),
    };
    let quoted = (length / 4 * 4).min(if v4 { QUOTE4 } else { QUOTE6 });
    let expected = Message {
        source_mac: mac(0),
        destination_mac: mac(6),
        source,
        destination,
        ttl: 64,
        tos: if v4 { 0xc0 } else { 0 },
        identification: 0,
        dont_fragment: true,
        ip_extra: Vec::new(),
        kind,
        code,
        rest,
        payload: packet[..quoted].to_vec(),
        padding: 0,
    };
    assert_eq!(message, expected, "\n{outcome}");
}

/// The same of a packet that is still to be sent.
#[track_caller]
pub fn answers(
    scene: &mut Scene,
    packet: &Packet,
    ends: (IpAddr, IpAddr),
    icmp: (u8, u8, u32),
    reason: Reason,
) {
    answered(&scene.rig.send(packet), ends, icmp, reason);
}
