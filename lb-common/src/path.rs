//! What routers say of the ways to the ends of tunnels (RFC 1191, RFC 8201).

use crate::V6;

/// Most ends of tunnels of which something is remembered.
pub const MAX_PATHS: u32 = 4_096;
/// How long it is remembered (RFC 1191, section 6.3 advises 10 minutes).
pub const REMEMBERED_NS: u64 = 600 * 1_000_000_000;

/// The value of `path_mtus`, by the address of the tunnel's end, network byte order; IPv4 in the form of
/// IPv6. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Source of the outer packet that was too big, in the same form.
    pub source: V6,
    /// From then on the way may be another.
    pub until_ns: u64,
    /// Most bytes of an outer packet.
    pub mtu: u32,
    pub pad: u32,
}
const _: () = assert!(size_of::<Path>() == 32);
