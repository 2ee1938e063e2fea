//! Tracked flows: two entries each, one for either direction, twins of one another. In modes in which
//! replies go past the balancer there is the client's entry alone.
//!
//! Half-open flows live in places where the newest pushes out the oldest, confirmed ones where
//! nothing is pushed out, so that a SYN flood can displace half-open flows only. [`crate::table`]
//! has the form of the tables.

use crate::{Address, Words as _, copy_words};

/// The 5-tuple of a packet as it arrives. 16 bytes for IPv4, 40 for IPv6.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey<A> {
    /// Network byte order.
    pub source: A,
    /// Network byte order.
    pub destination: A,
    pub source_port_be: u16,
    pub destination_port_be: u16,
    /// IP protocol number. As wide as the padding would be, because eBPF has no short fills.
    pub protocol: u32,
}
const _: () = assert!(size_of::<FlowKey<crate::V4>>() == 16);
const _: () = assert!(size_of::<FlowKey<crate::V6>>() == 40);
const _: () = assert!(size_of::<<crate::V4 as Address>::KeyWords>() == 16);
const _: () = assert!(size_of::<<crate::V6 as Address>::KeyWords>() == 40);

impl<A: Copy> FlowKey<A> {
    /// The same flow seen from the other end.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port_be: self.destination_port_be,
            destination_port_be: self.source_port_be,
            protocol: self.protocol,
        }
    }
}

/// What is done to a packet of a flow, and what is known of the flow. 48 bytes for IPv4, 72 for
/// IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<A> {
    /// Source address after the rewrite, network byte order.
    pub source: A,
    /// Destination address after the rewrite, network byte order.
    pub destination: A,
    /// Source port after the rewrite.
    pub source_port_be: u16,
    /// Destination port after the rewrite.
    pub destination_port_be: u16,
    /// Index into `backends`.
    pub backend_idx: u32,
    /// When this direction's last packet passed, `CLOCK_MONOTONIC` at tick resolution.
    pub last_seen_ns: u64,
    /// One of [`state`].
    pub state: u8,
    /// One of [`side`]: which end sends the packets that this entry matches.
    pub side: u8,
    /// Which ends have closed: bits of [`side`].
    pub closed_by: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// While half-open: the acknowledgement number that confirms the flow, host byte order.
    /// While refused by a full table: the second of the last attempt.
    #[cfg(not(feature = "second-layout"))]
    pub pending: u32,
    /// The client's next hop, learned from its packets: the interface they arrive on.
    pub ifindex: u32,
    /// As above.
    #[cfg(feature = "second-layout")]
    pub pending: u32,
    /// The MAC address that the client's packets come from.
    pub peer_mac: [u8; 6],
    /// Our MAC address on that interface. The two stand in the order of an Ethernet header.
    pub local_mac: [u8; 6],
}
const _: () = assert!(size_of::<Flow<crate::V4>>() == 48);
const _: () = assert!(size_of::<Flow<crate::V6>>() == 72);
const _: () = assert!(size_of::<<crate::V4 as Address>::FlowWords>() == 48);
const _: () = assert!(size_of::<<crate::V6 as Address>::FlowWords>() == 72);

impl<A: Address> FlowKey<A> {
    /// Equality, word by word. The last word, with the ports, is what differs most.
    #[inline(always)]
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let (a, b): (*const u64, *const u64) = (
            core::ptr::from_ref(self).cast(),
            core::ptr::from_ref(other).cast(),
        );
        for at in (0..A::KeyWords::LENGTH).rev() {
            // SAFETY: a key is aligned to 8 bytes and has so many words, without padding.
            if unsafe { *a.add(at) != *b.add(at) } {
                return false;
            }
        }
        true
    }

    /// Overwrites it with another.
    #[inline(always)]
    pub fn copy_from(&mut self, other: &Self) {
        // SAFETY: a key is aligned to 8 bytes, has so many words and is made of integers.
        unsafe { copy_words::<_, A::KeyWords>(self, other) };
    }
}

impl<A: Address> Flow<A> {
    /// Overwrites it with another.
    #[inline(always)]
    pub fn copy_from(&mut self, other: &Self) {
        // SAFETY: a flow is aligned to 8 bytes, has so many words and is made of integers.
        unsafe { copy_words::<_, A::FlowWords>(self, other) };
    }
}

impl<A: Copy> Flow<A> {
    /// The key of this entry's twin: the reverse of what its packets look like once rewritten.
    #[inline(always)]
    #[must_use]
    pub const fn twin_key(&self, protocol: u32) -> FlowKey<A> {
        FlowKey {
            source: self.destination,
            destination: self.source,
            source_port_be: self.destination_port_be,
            destination_port_be: self.source_port_be,
            protocol,
        }
    }
}

/// Life cycle of a flow; the first three also of UDP.
pub mod state {
    /// The client's first packet was forwarded.
    pub const HALF_OPEN: u8 = 1;
    /// The backend's SYN-ACK was seen.
    pub const SYN_ACKED: u8 = 2;
    /// The same of UDP: a datagram of the backend was seen.
    pub const ANSWERED: u8 = SYN_ACKED;
    /// The client acknowledged the SYN-ACK; over UDP, it sent again after the answer.
    pub const ESTABLISHED: u8 = 3;
    /// One end sent FIN.
    pub const FIN: u8 = 4;
    /// Both ends sent FIN.
    pub const CLOSED: u8 = 5;
    /// One end sent RST, or the balancer did.
    pub const RESET: u8 = 6;

    /// Name as shown to people and in JSON.
    #[must_use]
    pub const fn name(state: u8) -> &'static str {
        match state {
            HALF_OPEN => "half_open",
            SYN_ACKED => "syn_acked",
            ESTABLISHED => "established",
            FIN => "fin",
            CLOSED => "closed",
            RESET => "reset",
            _ => "unknown",
        }
    }
}

/// The two ends of a flow, as bits.
pub mod side {
    pub const CLIENT: u8 = 1;
    pub const BACKEND: u8 = 2;
}

/// Flags of a flow.
pub mod flag {
    /// The full table refused this flow, and that has been counted.
    pub const REFUSED: u8 = 1;
    /// The backend was the first end to send FIN: it keeps the connection in TIME-WAIT.
    pub const BACKEND_CLOSED_FIRST: u8 = 2;
    /// The balancer sees the client's packets only: there is no twin.
    pub const ONE_WAY: u8 = 4;
    /// Vip and backend are of different address families. Both entries are in the table of IPv6, where
    /// IPv4 addresses have the form of IPv6 ([`crate::mapped`]).
    pub const CROSSED: u8 = 8;
    /// It was added to the live flows of its backend ([`crate::load::Load`]).
    pub const COUNTED: u8 = 16;
}

/// Source ports that are tried for a new flow before it is dropped. At 98 % of the ports in use,
/// 256 random tries all fail once in 170 flows.
pub const PORT_ATTEMPTS: u32 = 256;
/// Tries that look for a port never used; from then on those of closed flows will do.
pub const PORT_ATTEMPTS_FRESH: u32 = 8;
/// From this try on, so will those whose backend may hold TIME-WAIT, and those of flows that
/// nobody confirmed.
pub const PORT_ATTEMPTS_QUIET: u32 = 32;
/// Source ports of closed flows may be given out again after this long without a packet.
pub const REUSE_QUIET_NS: u64 = 1_000_000_000;
/// The same where the backend closed first: TIME-WAIT lasts 60 s in Linux
/// (`TCP_TIMEWAIT_LEN`, include/net/tcp.h).
pub const REUSE_TIME_WAIT_NS: u64 = 60_000_000_000;
