//! What crosses the kernel boundary: map keys and values, constants, reasons and the layout's
//! version. Both sides compile this crate, so that neither can disagree about a byte.
//!
//! Every shared type is `#[repr(C)]`, explicitly padded, and has its size asserted. Fields that
//! end in `_be` are in network byte order, `_ns` are nanoseconds of `CLOCK_MONOTONIC`.
//! Change anything here that alters a map's key, value or meaning, and [`LAYOUT_VERSION`] goes up.

#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod affinity;
pub mod backend;
mod budget;
pub mod carry;
pub mod flow;
pub mod fragment;
pub mod hash;
pub mod interface;
pub mod load;
pub mod path;
pub mod reason;
pub mod service;
pub mod sources;
pub mod table;
pub mod trace;

pub use budget::{Budget, Budgeted};

/// Version of everything that is pinned. It names the folder of the pins (`bpf/v<layout>`).
pub const LAYOUT_VERSION: u32 = if cfg!(feature = "second-layout") {
    1_008
} else {
    8
};

/// Most backends over all services together: the length of the maps `backends` and
/// `backend_stats`.
pub const MAX_BACKENDS: u32 = 16_384;
/// Most services: the length of the maps `services` and `rings`.
pub const MAX_SERVICES: u32 = 1_024;
/// Most vips of each address family that are one port.
pub const MAX_VIPS: u32 = 4_096;
/// Most prefixes of each address family into which vips that are ranges of ports are split.
pub const MAX_VIP_PREFIXES: u32 = 16_384;
/// Most addresses of vips of each family, each of which has an entry beside its vips: no two vips may
/// have the same one.
const MAX_VIP_ADDRESSES: u32 = MAX_VIPS + MAX_VIP_PREFIXES;
/// Lengths of the maps `vips4` and `vips6`, and of `vip_ranges4` and `vip_ranges6`: what replaces all
/// that is there has room before that is removed.
pub const VIP_SLOTS: u32 = 2 * (MAX_VIPS + MAX_VIP_ADDRESSES);
pub const VIP_PREFIX_SLOTS: u32 = 2 * MAX_VIP_PREFIXES;
/// Most source addresses for mode `nat`, over both families.
pub const MAX_SNAT: u32 = 256;

/// Slots of a service's Maglev ring; prime, as the table's fill needs (Eisenbud et al., "Maglev:
/// A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4).
pub const RING_SLOTS: u32 = 65_537;
/// Slots in one value of a ring's map. An array map rounds each value up to 8 bytes, so single
/// slots would double the ring's size; 16 fill one cache line.
pub const RING_CHUNK: u32 = 16;
/// Values that hold a ring: the last one is not full.
pub const RING_CHUNKS: u32 = RING_SLOTS.div_ceil(RING_CHUNK);
/// Values of a ring's map: it has two halves, one for the ring in force
/// ([`service::Service::ring_half`]) and one for the ring that takes its place.
pub const RING_MAP_CHUNKS: u32 = 2 * RING_CHUNKS;
/// What a ring's slot holds when the service has no backend.
pub const NO_BACKEND: u32 = u32::MAX;

/// One value of a ring's map: backend indices, [`NO_BACKEND`] where there is none.
pub type RingChunk = [u32; RING_CHUNK as usize];

/// Which value of a ring's map, and which place in it, hold a slot of the ring in this half (0 or 1).
#[must_use]
pub const fn ring_position(half: u8, slot: u32) -> (u32, usize) {
    (
        half as u32 * RING_CHUNKS + slot / RING_CHUNK,
        (slot % RING_CHUNK) as usize,
    )
}

/// Names of the maps and of the program, as pinned under `DIR/bpf/v<layout>/`. A map's name is at
/// most 15 bytes, because the kernel keeps no more.
pub mod names {
    pub const PROGRAM: &str = "divvy";
    /// The same program for kernels that cannot redirect frames of several buffers.
    pub const PROGRAM_LINEAR: &str = "divvy_linear";
    /// Both once more, telling of sampled decisions; not pinned.
    pub const PROGRAM_TRACED: &str = "divvy_traced";
    pub const PROGRAM_LINEAR_TRACED: &str = "divvy_linear_tr";
    pub const SETTINGS: &str = "settings";
    pub const VIPS4: &str = "vips4";
    pub const VIPS6: &str = "vips6";
    pub const VIP_RANGES4: &str = "vip_ranges4";
    pub const VIP_RANGES6: &str = "vip_ranges6";
    pub const SERVICES: &str = "services";
    pub const RINGS: &str = "rings";
    pub const BACKENDS: &str = "backends";
    pub const TUNNELS: &str = "tunnels";
    pub const SNAT: &str = "snat";
    pub const INTERFACES: &str = "interfaces";
    pub const SOURCES4: &str = "sources4";
    pub const SOURCES6: &str = "sources6";
    pub const AFFINITY4: &str = "affinity4";
    pub const AFFINITY6: &str = "affinity6";
    pub const FRAGMENTS4: &str = "fragments4";
    pub const FRAGMENTS6: &str = "fragments6";
    pub const FLOW_HEADS4: &str = "flow_heads4";
    pub const FLOW_HEADS6: &str = "flow_heads6";
    pub const FLOWS4: &str = "flows4";
    pub const FLOWS6: &str = "flows6";
    pub const BACKENDS_SEEN: &str = "backends_seen";
    pub const BACKEND_LOADS: &str = "backend_loads";
    pub const TURNS: &str = "turns";
    pub const BACKEND_STATS: &str = "backend_stats";
    pub const REASONS: &str = "reasons";
    pub const BUDGETS: &str = "budgets";
    /// The program that removes flows whose time is over; it is not pinned.
    pub const SWEEP: &str = "sweep";
    /// The program that sets the clock of the others; it is not pinned.
    pub const CLOCK: &str = "clock";
    /// The program that puts what another layout's tables held into these; it is not pinned.
    pub const CARRY: &str = "carry";
    /// The map that describes the layout, in words that other versions understand.
    pub const LAYOUT: &str = "layout";

    /// Set when the program is loaded: how many buckets the flow tables have.
    pub const FLOW_BUCKETS: &str = "FLOW_BUCKETS";
    /// Set when the program is loaded: how many nanoseconds the kernel's tick takes.
    pub const TICK_NS: &str = "TICK_NS";
    /// Set when the program is loaded: one packet of how many is traced.
    pub const TRACE_EVERY: &str = "TRACE_EVERY";
    /// The ring buffer of sampled decisions; it is not pinned.
    pub const TRACE_RECORDS: &str = "trace_records";

    /// Every pinned map.
    pub const MAPS: [&str; 27] = [
        SETTINGS,
        VIPS4,
        VIPS6,
        VIP_RANGES4,
        VIP_RANGES6,
        SERVICES,
        RINGS,
        BACKENDS,
        TUNNELS,
        SNAT,
        INTERFACES,
        SOURCES4,
        SOURCES6,
        AFFINITY4,
        AFFINITY6,
        FRAGMENTS4,
        FRAGMENTS6,
        FLOW_HEADS4,
        FLOW_HEADS6,
        FLOWS4,
        FLOWS6,
        BACKENDS_SEEN,
        BACKEND_LOADS,
        TURNS,
        BACKEND_STATS,
        REASONS,
        BUDGETS,
    ];
}

/// IP protocol number of ICMP (RFC 792).
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of ICMPv6 (RFC 4443).
pub const PROTOCOL_ICMPV6: u8 = 58;
/// IP protocol number of IPv4 inside another packet (RFC 2003).
pub const PROTOCOL_IPV4: u8 = 4;
/// IP protocol number of IPv6 inside another packet (RFC 2473).
pub const PROTOCOL_IPV6: u8 = 41;
/// IP protocol number of TCP (RFC 9293).
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP (RFC 768).
pub const PROTOCOL_UDP: u8 = 17;

/// An IP address as the maps hold it: 32-bit words in network byte order, one for IPv4 and four
/// for IPv6.
pub trait Address: Copy + Eq + 'static {
    /// What fills a flow table's entry up to whole cache lines ([`table::Entry`]).
    type EntryPad: Copy + Default + Eq + core::fmt::Debug;
    /// [`flow::FlowKey`] and [`flow::Flow`] as words of 64 bits.
    type KeyWords: Words;
    type FlowWords: Words;
    /// IP protocol number of the family's ICMP.
    const ICMP: u8;
    /// The words folded into 64 bits, for hashing.
    fn fold(self) -> u64;
    /// Equality word by word: `==` on arrays may become a call of `bcmp`, which eBPF has not.
    fn same(self, other: Self) -> bool;
    /// A copy made word by word, because one of the whole may become a call of `memmove`.
    fn copied(&self) -> Self;
    /// Its first `bits` bits, the others 0.
    fn masked(&self, bits: u8) -> Self;
}

/// An array of words of 64 bits.
pub trait Words: Copy + 'static {
    const LENGTH: usize;
}

impl<const N: usize> Words for [u64; N] {
    const LENGTH: usize = N;
}

/// Copies word by word what is made of whole words: eBPF has no `memmove`, and a copy of each field
/// takes twice the instructions.
///
/// # Safety
/// `W` is as long as `T`, which is aligned to 8 bytes, and any bytes make a `T`.
#[inline(always)]
pub unsafe fn copy_words<T, W: Words>(to: &mut T, from: &T) {
    let to: *mut u64 = core::ptr::from_mut(to).cast();
    let from: *const u64 = core::ptr::from_ref(from).cast();
    for at in 0..W::LENGTH {
        // SAFETY: as the caller promises.
        unsafe { *to.add(at) = *from.add(at) };
    }
}

/// IPv4: one word.
pub type V4 = [u32; 1];
/// IPv6: four words.
pub type V6 = [u32; 4];

/// The third word of an IPv4 address in the form of IPv6, `::ffff:0:0/96` (RFC 4291, section 2.5.5.2).
const MAPPED_BE: u32 = 0xffff_u32.to_be();

/// An IPv4 address in the form of IPv6.
#[inline(always)]
#[must_use]
pub const fn mapped(address: V4) -> V6 {
    [0, 0, MAPPED_BE, address[0]]
}

/// The address is an IPv4 address in the form of IPv6.
#[inline(always)]
#[must_use]
pub const fn is_mapped(address: &V6) -> bool {
    address[0] | address[1] == 0 && address[2] == MAPPED_BE
}

/// The IPv4 address that has this form.
#[inline(always)]
#[must_use]
pub const fn unmapped(address: &V6) -> V4 {
    [address[3]]
}

impl Address for V4 {
    type EntryPad = [u64; 0];
    type KeyWords = [u64; 2];
    type FlowWords = [u64; 6];
    const ICMP: u8 = PROTOCOL_ICMP;

    #[inline(always)]
    fn fold(self) -> u64 {
        self[0] as u64
    }

    #[inline(always)]
    fn same(self, other: Self) -> bool {
        self[0] == other[0]
    }

    #[inline(always)]
    fn copied(&self) -> Self {
        *self
    }

    #[inline(always)]
    fn masked(&self, bits: u8) -> Self {
        [self[0] & mask_be(bits, 0)]
    }
}

impl Address for V6 {
    type EntryPad = [u64; 2];
    type KeyWords = [u64; 5];
    type FlowWords = [u64; 9];
    const ICMP: u8 = PROTOCOL_ICMPV6;

    #[inline(always)]
    fn fold(self) -> u64 {
        let high = self[0] as u64 | (self[1] as u64) << 32;
        let low = self[2] as u64 | (self[3] as u64) << 32;
        high.wrapping_mul(hash::SPREAD) ^ low
    }

    #[inline(always)]
    fn same(self, other: Self) -> bool {
        self[0] == other[0] && self[1] == other[1] && self[2] == other[2] && self[3] == other[3]
    }

    #[inline(always)]
    fn copied(&self) -> Self {
        let [a, b, c, d] = *self;
        [a, b, c, d]
    }

    #[inline(always)]
    fn masked(&self, bits: u8) -> Self {
        let [a, b, c, d] = *self;
        [
            a & mask_be(bits, 0),
            b & mask_be(bits, 1),
            c & mask_be(bits, 2),
            d & mask_be(bits, 3),
        ]
    }
}

/// Which bits of an address's word are among its first `bits` bits, network byte order.
#[inline(always)]
const fn mask_be(bits: u8, word: u32) -> u32 {
    let bits = (bits as u32).saturating_sub(word * u32::BITS);
    if bits == 0 {
        0
    } else if bits >= u32::BITS {
        u32::MAX
    } else {
        (u32::MAX << (u32::BITS - bits)).to_be()
    }
}

/// Declares that user space may move these types to and from maps byte by byte.
#[cfg(feature = "user")]
macro_rules! pod {
    ($($t:ty),* $(,)?) => {
        $(
            // SAFETY: aya asks for it to read and write map entries as bytes. Each type is
            // `repr(C)`, holds integers and arrays of integers only, and its size assertion
            // proves that there is no implicit padding.
            unsafe impl aya::Pod for $t {}
        )*
    };
}

#[cfg(feature = "user")]
pod!(
    Budget,
    affinity::Client<V4>,
    affinity::Client<V6>,
    affinity::Remembered,
    carry::CarriedCount,
    carry::CarriedFlow<V4>,
    carry::CarriedFlow<V6>,
    carry::CarriedStats,
    backend::Backend,
    backend::BackendStats,
    backend::Tunnel,
    flow::FlowKey<V4>,
    flow::FlowKey<V6>,
    flow::Flow<V4>,
    flow::Flow<V6>,
    fragment::Datagram<V4>,
    fragment::Datagram<V6>,
    fragment::First,
    interface::Interface,
    load::Load,
    load::Turn,
    path::Path,
    service::PortKey<V4>,
    service::PortKey<V6>,
    service::PortPrefix<V4>,
    service::PortPrefix<V6>,
    service::Service,
    service::Settings,
    service::Timeouts,
    service::VipKey<V4>,
    service::VipKey<V6>,
    sources::Source<V4>,
    sources::Source<V6>,
    table::Entry<V4>,
    table::Entry<V6>,
    table::Head,
    table::SweepRequest,
    table::SweepResult,
    trace::Record,
);
