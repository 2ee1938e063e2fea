//! This host's interfaces, as far as packets need to know them.

use crate::{V4, V6};

/// Most interfaces that the map `interfaces` holds.
pub const MAX_INTERFACES: u32 = 1_024;

/// The value of `interfaces`, by the interface's index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Our IPv4 address there, network byte order; 0 for none.
    pub address4: V4,
    /// Most bytes of an IP packet.
    pub mtu: u32,
    /// Our IPv6 address there, network byte order; 0 for none.
    pub address6: V6,
    pub pad: u64,
}
const _: () = assert!(size_of::<Interface>() == 32);
