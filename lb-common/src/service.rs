//! Services, their vips, and the settings that every packet needs.

use crate::{Address, V6, flow::state, hash};

/// A vip: the key of `vips4` and `vips6`; the value is the service's index. Beside them stands a key for
/// each address that some vip has ([`VipKey::of_address`]). 8 bytes for IPv4, 20 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VipKey<A> {
    /// Network byte order.
    pub address: A,
    pub port_be: u16,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: u8,
}
const _: () = assert!(size_of::<VipKey<crate::V4>>() == 8);
const _: () = assert!(size_of::<VipKey<V6>>() == 20);

/// The value of a key for an address: it leads to no service.
pub const NO_SERVICE: u32 = u32::MAX;

impl<A: Address> VipKey<A> {
    /// The key for an address itself: port 0 of its family's ICMP, which is no vip.
    #[inline(always)]
    #[must_use]
    pub fn of_address(address: &A) -> Self {
        Self {
            address: address.copied(),
            port_be: 0,
            protocol: A::ICMP,
            pad: 0,
        }
    }
}

/// What the tries `vip_ranges4` and `vip_ranges6` match a packet against: as [`VipKey`], but with the
/// port at the end, so that ports which begin alike are one entry. 8 bytes for IPv4, 20 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortKey<A> {
    /// Network byte order.
    pub address: A,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: u8,
    pub port_be: u16,
}
const _: () = assert!(size_of::<PortKey<crate::V4>>() == 8);
const _: () = assert!(size_of::<PortKey<V6>>() == 20);

impl<A> PortKey<A> {
    /// Bits of all of it, in a search for one port.
    pub const BITS: u32 = 8 * size_of::<Self>() as u32;
}

/// A key of `vip_ranges4` and `vip_ranges6`: ports of a vip whose numbers begin alike; the value is
/// the service's index. It begins with the length, as `struct bpf_lpm_trie_key` does. 12 bytes for
/// IPv4, 24 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortPrefix<A> {
    /// Bits of the key that count: all but the last of the port, at most 16 of which are left out.
    pub bits: u32,
    pub key: PortKey<A>,
}
const _: () = assert!(size_of::<PortPrefix<crate::V4>>() == 12);
const _: () = assert!(size_of::<PortPrefix<V6>>() == 24);

/// One service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Backends that take new flows; with 0 a new flow is answered with RST.
    pub eligible: u32,
    /// One of [`mode`].
    pub mode: u8,
    /// Which half of the service's map in `rings` holds its ring: 0 or 1. A new ring is written into
    /// the other half, so that this one byte puts it in place.
    pub ring_half: u8,
    /// One of [`scheduler`].
    pub scheduler: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Hash of the service's name: by it a restarted daemon knows the entry again. 0 marks a free
    /// entry.
    pub identity: u64,
    pub timeouts: Timeouts,
    /// How long a client's backend is remembered after its last new flow, in milliseconds.
    pub affinity_ms: u32,
    /// Bits of an address that tell one client from another, IPv4 and IPv6.
    pub affinity_bits4: u8,
    pub affinity_bits6: u8,
    /// IP version of its backends: 4 or 6.
    pub version: u8,
    pub pad: u8,
    pub pad_line: [u64; 3],
}
const _: () = assert!(size_of::<Service>() == 64);

/// How a new flow picks its backend.
pub mod scheduler {
    /// By its hash, on a weighted Maglev ring.
    pub const MAGLEV: u8 = 1;
    /// By turns.
    pub const ROUND_ROBIN: u8 = 2;
    /// By chance.
    pub const RANDOM: u8 = 3;
    /// Of two by chance, the one with fewer flows for its weight.
    pub const LEAST_CONN: u8 = 4;
}

/// Flags of a service.
pub mod flag {
    /// Lists say which sources may open flows.
    pub const SOURCES: u8 = 1;
    /// New flows of a client go where its last one went.
    pub const AFFINITY: u8 = 2;
    /// The flows of its backends are counted as they come and go.
    pub const COUNTED: u8 = 4;
}

/// How long a flow without packets is kept, by its state, in milliseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub half_open_ms: u32,
    pub established_ms: u32,
    /// After a FIN of either end.
    pub fin_ms: u32,
    /// After a RST.
    pub reset_ms: u32,
}
const _: () = assert!(size_of::<Timeouts>() == 16);

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            half_open_ms: 60_000,
            established_ms: 900_000,
            fin_ms: 120_000,
            reset_ms: 10_000,
        }
    }
}

impl Timeouts {
    /// Nanoseconds for a flow in this state (one of [`state`]).
    #[inline(always)]
    #[must_use]
    pub const fn of_ns(&self, flow_state: u8) -> u64 {
        let ms = match flow_state {
            state::ESTABLISHED => self.established_ms,
            state::FIN | state::CLOSED => self.fin_ms,
            state::RESET => self.reset_ms,
            _ => self.half_open_ms,
        };
        ms as u64 * 1_000_000
    }
}

/// How packets reach the backend.
pub mod mode {
    /// Source and destination are both rewritten; replies come back through the balancer.
    pub const NAT: u8 = 1;
    /// The destination alone is rewritten; replies come back through the balancer.
    pub const ROUTE: u8 = 2;
    /// MAC addresses alone are rewritten; from here on, replies go past the balancer.
    pub const DSR: u8 = 3;
    /// The packet travels whole in another IP packet (RFC 2003, RFC 2473, RFC 4213).
    pub const IPIP: u8 = 4;
    /// The packet travels whole in a UDP datagram (draft-ietf-intarea-gue).
    pub const GUE: u8 = 5;

    /// The balancer sees the client's packets only.
    #[inline(always)]
    #[must_use]
    pub const fn is_one_way(mode: u8) -> bool {
        mode >= DSR
    }
}

/// Flags of the settings.
pub mod setting {
    /// Packets that leave by the interface they came by are redirected to it instead of answered
    /// with XDP_TX. On a veth pair XDP_TX wakes only a receiver that runs XDP itself.
    pub const REDIRECT_BACK: u32 = 1;
    /// Some service is of mode `route`: packets from the backends' addresses and ports may be ours.
    pub const ROUTE: u32 = 2;
    /// Some vip is a range of ports: packets for any port of its address may be ours.
    pub const RANGES: u32 = 4;
    /// Some backend of mode `route` has no port of its own: packets from any port of its address may
    /// be ours.
    pub const ROUTE_ANY_PORT: u32 = 8;
    /// Some service of mode `nat` leads from one address family to the other: flows of IPv4 packets
    /// may be in the table of IPv6.
    pub const CROSSED: u32 = 16;
}

/// Bits of the filter that answers "can this packet be ours?" without a table.
pub const FILTER_BITS: usize = 32_768;
const FILTER_WORDS: usize = FILTER_BITS / 64;

/// So much before the end of a handover packets may open flows again. Only one whose daemon died comes to
/// this: a client's next SYN would meet the handover of the next start, whereas packets of flows that are
/// still to come would be answered with resets.
pub const HANDOVER_REST_NS: u64 = 1_750_000_000;

/// What every packet needs to know: the only value of the map `settings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// First source port that mode `nat` gives to new flows, host byte order.
    pub port_min: u16,
    /// Number of source ports, at least 1.
    pub port_count: u16,
    /// First and last port to which replies may come: at least the range above, and wider while
    /// flows live that were opened under another range. Host byte order.
    pub reply_port_min: u16,
    pub reply_port_max: u16,
    /// Bits of [`setting`].
    pub flags: u32,
    /// Bytes of the longest frame that fits every interface; a longer one may be too long for the
    /// interface that it leaves by.
    pub frame_max: u32,
    /// Until then, by `CLOCK_MONOTONIC`, what is of no known flow is dropped: it may be of one that is still
    /// to come from another layout's tables. What would open a flow waits less ([`HANDOVER_REST_NS`]).
    /// The daemon sets it again and again during the change.
    pub handover_until_ns: u64,
    /// One bit for each vip ([`hash::vip_bit`], with port 0 for a range of ports) and each address of
    /// one ([`VipKey::of_address`]), each source address of mode `nat` ([`hash::snat_bit`]), each end of a
    /// tunnel ([`hash::tunnel_bit`]) and each backend of mode `route` ([`hash::reply_bit`], with port 0 for
    /// one without a port).
    /// A clear bit proves that a packet is not ours; a set one calls for a lookup.
    pub filter: [u64; FILTER_WORDS],
}
const _: () = assert!(size_of::<Settings>() == 24 + FILTER_BITS / 8);

impl Settings {
    /// Settings with this range of source ports (`port_count` at least 1), under which no packet
    /// is ours yet.
    #[must_use]
    pub const fn new(port_min: u16, port_count: u16) -> Self {
        Self {
            port_min,
            port_count,
            reply_port_min: port_min,
            reply_port_max: port_min + (port_count - 1),
            flags: 0,
            frame_max: u32::MAX,
            handover_until_ns: 0,
            filter: [0; FILTER_WORDS],
        }
    }

    /// Marks a vip as ours.
    pub fn admit_vip<A: Address>(&mut self, vip: &VipKey<A>) {
        self.admit(hash::vip_bit(vip.address, vip.port_be, vip.protocol));
    }

    /// Marks vips of this address and protocol that are ranges of ports as ours.
    pub fn admit_ranges<A: Address>(&mut self, address: A, protocol: u8) {
        self.flags |= setting::RANGES;
        self.admit(hash::vip_bit(address, 0, protocol));
    }

    /// Marks a source address of mode `nat` as ours.
    pub fn admit_snat<A: Address>(&mut self, address: A) {
        self.admit(hash::snat_bit(address));
    }

    /// Marks what a backend of mode `route` sends as ours; port 0 stands for all.
    pub fn admit_route<A: Address>(&mut self, address: A, port_be: u16, protocol: u8) {
        self.flags |= setting::ROUTE;
        if port_be == 0 {
            self.flags |= setting::ROUTE_ANY_PORT;
        }
        self.admit(hash::reply_bit(address, port_be, protocol));
    }

    /// Marks the end of a tunnel, IPv4 in the form of IPv6, as one of which routers may speak.
    pub fn admit_tunnel(&mut self, address: &V6) {
        self.admit(hash::tunnel_bit(address));
    }

    fn admit(&mut self, bit: usize) {
        self.filter[bit / 64] |= 1 << (bit % 64);
    }
}
