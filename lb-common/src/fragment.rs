//! Fragmented datagrams whose first fragment was seen: the LRU hashes `fragments4` and `fragments6`. The
//! ports are in the first fragment only; by them the later ones find their flow.

/// Most datagrams that are remembered, of each address family.
pub const MAX_DATAGRAMS: u32 = 8_192;
/// How long after its first fragment. Linux waits as long for the others over IPv4 (`IP_FRAG_TIME`,
/// include/net/ip.h); identifications come again sooner than they are forgotten (RFC 6864).
pub const LIFE_NS: u64 = 30_000_000_000;

/// What all fragments of a datagram have in common. 16 bytes for IPv4, 40 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Datagram<A> {
    /// As they arrive, network byte order.
    pub source: A,
    /// Network byte order.
    pub destination: A,
    /// As in the header: 16 bits of IPv4, 32 of IPv6.
    pub identification_be: u32,
    /// IP protocol number (RFC 791, section 3.2); 0 over IPv6, where it is no part of it (RFC 8200,
    /// section 4.5).
    pub protocol: u32,
}
const _: () = assert!(size_of::<Datagram<crate::V4>>() == 16);
const _: () = assert!(size_of::<Datagram<crate::V6>>() == 40);

/// What its first fragment told.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct First {
    /// When it passed.
    pub seen_ns: u64,
    pub source_port_be: u16,
    pub destination_port_be: u16,
    /// Bytes that it carried; no other begins before their end.
    pub length: u16,
    /// IP protocol number of what has these ports.
    pub protocol: u8,
    pub pad: u8,
}
const _: () = assert!(size_of::<First>() == 16);
