//! Which sources may open flows of a service: the tries `sources4` and `sources6`, in which the longest
//! prefix decides. Where none matches, any source may.

/// Most entries of each address family over all services.
pub const MAX_SOURCES: u32 = 65_536;
/// Length of either trie: entries that go leave it after those that come are in.
pub const SOURCE_SLOTS: u32 = 2 * MAX_SOURCES;

/// What a trie's key holds after its length of 32 bits. 8 bytes for IPv4, 20 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source<A> {
    /// All of it counts, in whichever byte order: each key is longer than [`SERVICE_BITS`], or as long.
    pub service_idx: u32,
    /// Network byte order; bits beyond the key's length are 0.
    pub address: A,
}
const _: () = assert!(size_of::<Source<crate::V4>>() == 8);
const _: () = assert!(size_of::<Source<crate::V6>>() == 20);

/// Bits of a key before its address. A key of just this length stands for every address.
pub const SERVICE_BITS: u32 = 32;

/// Values of the tries.
pub mod access {
    pub const ALLOW: u32 = 1;
    /// As any value but [`ALLOW`].
    pub const DENY: u32 = 2;
}
