//! Who has which address.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The vips of [`super::Lab::config`]. The client routes them to the balancer, and no interface has
/// them before [`super::Backend::hold_vips`].
pub const VIP4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// See [`VIP4`].
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x10);
/// [`VIP4`], port 80, path `/`.
pub const URL4: &str = "http://203.0.113.10/";
/// [`VIP6`], port 80, path `/`.
pub const URL6: &str = "http://[2001:db8:ffff::10]/";

/// Network 198.18.0.0/15 (RFC 2544): invented source addresses, routed to the client, which
/// answers for none of them.
pub const FLOOD4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// Network 2001:db8:f100::/48, used like [`FLOOD4`].
pub const FLOOD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf100, 0, 0, 0, 0, 0);

/// How the hosts are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The balancer stands between client and backends, with one link and one network each.
    Routed,
    /// All on one bridge, in one network.
    OneArm,
}

/// The addresses of one link: the balancer's end and the other host's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) balancer4: Ipv4Addr,
    pub(super) balancer6: Ipv6Addr,
    pub(super) host4: Ipv4Addr,
    pub(super) host6: Ipv6Addr,
}

impl Shape {
    /// Addresses of the client (`number` 0) or of a backend (from 1). All prefixes are /24 and /64.
    pub(super) fn link(self, number: usize) -> Link {
        let number = u8::try_from(number)
            .ok()
            .filter(|&number| number < 200)
            .expect("a lab has fewer than 200 backends");
        let (network, host) = match (self, number) {
            (Self::Routed, _) => (number, 2),
            (Self::OneArm, 0) => (0, 2),
            (Self::OneArm, _) => (0, 10 + number),
        };
        let v6 = |host: u8| Ipv6Addr::new(0xfd00, 0, 0, network.into(), 0, 0, 0, host.into());
        Link {
            balancer4: Ipv4Addr::new(10, 0, network, 1),
            balancer6: v6(1),
            host4: Ipv4Addr::new(10, 0, network, host),
            host6: v6(host),
        }
    }
}
