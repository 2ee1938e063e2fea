//! Entries of the flow tables in a form that does not depend on the address family.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::Duration,
};

use aya::Pod;
use lb_common::{
    Address, PROTOCOL_TCP, V4, V6,
    flow::{Flow, FlowKey},
    hash, mapped, names,
    service::VipKey,
};
use nix::time::{ClockId, clock_gettime};

/// Among which entries of its bucket one lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    HalfOpen,
    Confirmed,
}

/// One entry of a flow table: [`Flow`] with addresses for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub table: Table,
    /// After the rewrite.
    pub source: SocketAddr,
    /// After the rewrite.
    pub destination: SocketAddr,
    pub backend_idx: u32,
    pub last_seen_ns: u64,
    pub state: u8,
    pub side: u8,
    pub closed_by: u8,
    pub flags: u8,
    pub pending: u32,
    pub ifindex: u32,
    pub local_mac: [u8; 6],
    pub peer_mac: [u8; 6],
}

/// The clock of `last_seen_ns`; the program has it within two ticks.
///
/// # Panics
/// Never: every Linux has this clock.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// A machine that has just started has no past in which a flow could have been seen: waits there until it has one
/// of so many seconds.
pub fn wait_for_a_past(seconds: u64) {
    if let Some(missing) = (seconds * 1_000_000_000).checked_sub(now_ns()) {
        thread::sleep(Duration::from_nanos(missing));
    }
}

/// What differs between the families: map names and the form of an address.
pub(super) trait Family: Address + Pod {
    const VIPS: &str;
    const VIP_RANGES: &str;
    /// Names of the flow table's two arrays.
    const HEADS: &str;
    const ENTRIES: &str;

    fn words(address: IpAddr) -> Self;
    fn address(self) -> IpAddr;
}

impl Family for V4 {
    const VIPS: &str = names::VIPS4;
    const VIP_RANGES: &str = names::VIP_RANGES4;
    const HEADS: &str = names::FLOW_HEADS4;
    const ENTRIES: &str = names::FLOWS4;

    fn words(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => [u32::from_ne_bytes(address.octets())],
            IpAddr::V6(_) => panic!("{address} is not IPv4"),
        }
    }

    fn address(self) -> IpAddr {
        Ipv4Addr::from(self[0].to_ne_bytes()).into()
    }
}

impl Family for V6 {
    const VIPS: &str = names::VIPS6;
    const VIP_RANGES: &str = names::VIP_RANGES6;
    const HEADS: &str = names::FLOW_HEADS6;
    const ENTRIES: &str = names::FLOWS6;

    fn words(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => panic!("{address} is not IPv6"),
            IpAddr::V6(address) => {
                let octets = address.octets();
                std::array::from_fn(|word| {
                    let word = &octets[word * 4..][..4];
                    u32::from_ne_bytes(word.try_into().expect("four bytes"))
                })
            }
        }
    }

    fn address(self) -> IpAddr {
        let mut octets = [0; 16];
        for (four, word) in octets.chunks_mut(4).zip(self) {
            four.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).into()
    }
}

/// Evaluates an expression with `$family` as a name for [`V4`] or [`V6`], whichever an address is
/// of.
macro_rules! by_family {
    ($address:expr, $family:ident => $body:expr) => {
        if $address.is_ipv4() {
            type $family = lb_common::V4;
            $body
        } else {
            type $family = lb_common::V6;
            $body
        }
    };
}
pub(super) use by_family;

/// The address as maps without a family hold it: IPv4 in the form of IPv6.
pub(super) fn four_words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(_) => mapped(V4::words(address)),
        IpAddr::V6(_) => V6::words(address),
    }
}

/// The key of packets of this protocol from `source` to `destination`.
pub(super) fn key<A: Family>(
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
) -> FlowKey<A> {
    FlowKey {
        source: A::words(source.ip()),
        destination: A::words(destination.ip()),
        source_port_be: source.port().to_be(),
        destination_port_be: destination.port().to_be(),
        protocol: protocol.into(),
    }
}

/// The hash of TCP packets from `source` to `destination`, as both sides of the kernel boundary know
/// it.
#[must_use]
pub fn key_hash(source: SocketAddr, destination: SocketAddr) -> u64 {
    by_family!(source, A => hash::flow(&key::<A>(PROTOCOL_TCP, source, destination)))
}

/// The key of a vip of this protocol.
pub(super) fn vip_key<A: Family>(protocol: u8, vip: SocketAddr) -> VipKey<A> {
    VipKey {
        address: A::words(vip.ip()),
        port_be: vip.port().to_be(),
        protocol,
        pad: 0,
    }
}

impl Entry {
    pub(super) fn of<A: Family>(table: Table, flow: &Flow<A>) -> Self {
        let end =
            |address: A, port_be: u16| SocketAddr::new(address.address(), u16::from_be(port_be));
        Self {
            table,
            source: end(flow.source, flow.source_port_be),
            destination: end(flow.destination, flow.destination_port_be),
            backend_idx: flow.backend_idx,
            last_seen_ns: flow.last_seen_ns,
            state: flow.state,
            side: flow.side,
            closed_by: flow.closed_by,
            flags: flow.flags,
            pending: flow.pending,
            ifindex: flow.ifindex,
            local_mac: flow.local_mac,
            peer_mac: flow.peer_mac,
        }
    }

    pub(super) fn flow<A: Family>(&self) -> Flow<A> {
        Flow {
            source: A::words(self.source.ip()),
            destination: A::words(self.destination.ip()),
            source_port_be: self.source.port().to_be(),
            destination_port_be: self.destination.port().to_be(),
            backend_idx: self.backend_idx,
            last_seen_ns: self.last_seen_ns,
            state: self.state,
            side: self.side,
            closed_by: self.closed_by,
            flags: self.flags,
            pending: self.pending,
            ifindex: self.ifindex,
            local_mac: self.local_mac,
            peer_mac: self.peer_mac,
        }
    }
}
