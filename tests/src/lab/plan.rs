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

/// What the link between two routers carries.
pub const NARROW_MTU: u32 = 1_400;

/// How the hosts are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The balancer stands between client and backends, with one link and one network each.
    Routed,
    /// All on one bridge, in one network.
    OneArm,
}

/// Which hosts of a routed lab are two routers away from the balancer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Remote {
    pub(super) client: bool,
    pub(super) backends: bool,
}

/// The addresses of one link: those of the end on the balancer's side and of the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) near4: Ipv4Addr,
    pub(super) near6: Ipv6Addr,
    pub(super) far4: Ipv4Addr,
    pub(super) far6: Ipv6Addr,
}

impl Shape {
    /// Addresses of the client (`number` 0) or of a backend (from 1). All prefixes are /24 and /64.
    pub(super) fn link(self, number: usize) -> Link {
        let number = small(number);
        match (self, number) {
            (Self::Routed, _) => Link::new(0, number, 2),
            (Self::OneArm, 0) => Link::new(0, 0, 2),
            (Self::OneArm, _) => Link::new(0, 0, 10 + number),
        }
    }

    /// The links of the way to a host that is two routers away, from the balancer on.
    pub(super) fn remote_links(number: usize) -> [Link; 3] {
        [0, 1, 2].map(|step| Link::new(step, small(number), 2))
    }
}

fn small(number: usize) -> u8 {
    u8::try_from(number)
        .ok()
        .filter(|&number| number < 200)
        .expect("a lab has fewer than 200 backends")
}

impl Link {
    /// So many links beyond the balancer, in this network.
    fn new(step: u8, network: u8, far: u8) -> Self {
        let v4 = |host| Ipv4Addr::new(10, step, network, host);
        let v6 = |host: u8| {
            let [step, network, host] = [step, network, host].map(u16::from);
            Ipv6Addr::new(0xfd00, 0, step, network, 0, 0, 0, host)
        };
        Self {
            near4: v4(1),
            near6: v6(1),
            far4: v4(far),
            far6: v6(far),
        }
    }

    /// The network of a /24.
    pub(super) fn network4(self) -> Ipv4Addr {
        let [a, b, c, _] = self.near4.octets();
        Ipv4Addr::new(a, b, c, 0)
    }

    /// The network of a /64.
    pub(super) fn network6(self) -> Ipv6Addr {
        let [a, b, c, d, ..] = self.near6.segments();
        Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
    }
}
