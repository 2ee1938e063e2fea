//! Addresses of this host, and whose they are. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};

use super::held::OURS;
use super::interfaces::local;

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenAddress {
    pub address: IpAddr,
    /// Bits that tell its network.
    pub length: u8,
    pub ifindex: u32,
    /// The daemon put it there (`announce`).
    pub announced: bool,
}

impl SeenAddress {
    /// Another address lies in this one's network.
    #[must_use]
    pub fn covers(self, other: IpAddr) -> bool {
        let (a, b, bits): (u128, u128, u8) = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let beyond = u32::from(bits - self.length.min(bits));
        beyond > 0 && (a ^ b).checked_shr(beyond).unwrap_or_default() == 0
    }

    /// The first address of its network.
    #[must_use]
    pub fn network(self) -> IpAddr {
        let length = u32::from(self.length);
        match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length));
                Ipv4Addr::from_bits(v4.to_bits() & mask.unwrap_or_default()).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length));
                Ipv6Addr::from_bits(v6.to_bits() & mask.unwrap_or_default()).into()
            }
        }
    }

    pub(super) fn from_message(message: &AddressMessage) -> Option<Self> {
        let ours = AddressAttribute::Protocol(AddressProtocol::Other(OURS));
        Some(Self {
            address: local(message)?,
            length: message.header.prefix_len,
            ifindex: message.header.index,
            announced: message.attributes.contains(&ours),
        })
    }
}
