//! From a route and what is known of links and neighbours to the next hop. Pure.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia,
};

use super::{Link, Mac, NextHop};

/// A neighbour: the interface it is on, and its address there.
pub(super) type NeighbourKey = (u32, IpAddr);

/// Where the routing table sends packets for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) ifindex: u32,
    pub(super) source: IpAddr,
    pub(super) gateway: Option<IpAddr>,
}

impl Route {
    /// Reads the answer to RTM_GETROUTE for `address`; `Err` says why it is of no use.
    pub(super) fn from_message(address: IpAddr, message: &RouteMessage) -> Result<Self, String> {
        match message.header.kind {
            RouteType::Unicast => {}
            RouteType::Local => return Err(format!("{address} is an address of this host")),
            RouteType::BlackHole => return Err(refusal(address, libc::EINVAL)),
            RouteType::Prohibit => return Err(refusal(address, libc::EACCES)),
            RouteType::Unreachable => return Err(refusal(address, libc::EHOSTUNREACH)),
            RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => {
                return Err(format!("{address} is not the address of one host"));
            }
            other => {
                return Err(format!(
                    "the route to {address} is of a kind we do not know: {other:?}"
                ));
            }
        }
        let mut ifindex = None;
        let mut source = None;
        let mut gateway = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => ifindex = Some(*index),
                RouteAttribute::PrefSource(address) => source = ip(address),
                RouteAttribute::Gateway(address) => gateway = ip(address),
                RouteAttribute::Via(RouteVia::Inet(via)) => gateway = Some((*via).into()),
                RouteAttribute::Via(RouteVia::Inet6(via)) => gateway = Some((*via).into()),
                RouteAttribute::Encap(_) => {
                    return Err(format!(
                        "the route to {address} leads into a tunnel (encap)"
                    ));
                }
                _ => {}
            }
        }
        let ifindex = ifindex.ok_or_else(|| format!("the route to {address} has no interface"))?;
        let source =
            source.ok_or_else(|| format!("this host has no address to reach {address} from"))?;
        Ok(Self {
            ifindex,
            source,
            gateway,
        })
    }

    /// Whose MAC address packets for `address` need.
    pub(super) fn neighbour(&self, address: IpAddr) -> NeighbourKey {
        (self.ifindex, self.gateway.unwrap_or(address))
    }

    /// The next hop for `address` by this route, over its link; `Err` says why there is none.
    pub(super) fn next_hop(
        &self,
        address: IpAddr,
        link: Option<&Link>,
        peer_mac: Option<Mac>,
    ) -> Result<NextHop, String> {
        let link = link.ok_or_else(|| {
            format!(
                "the route to {address} leaves by interface {}, which is gone",
                self.ifindex
            )
        })?;
        let Some(local_mac) = link.mac.filter(|_| link.resolves) else {
            return Err(format!(
                "the route to {address} leaves by {}, which has no MAC addresses (loopback, \
                 point-to-point or no ARP)",
                link.name
            ));
        };
        let Self {
            ifindex,
            source,
            gateway,
        } = *self;
        Ok(NextHop {
            ifindex,
            local_mac,
            peer_mac,
            source,
            gateway,
            mtu: link.mtu,
        })
    }
}

/// What the error of RTM_GETROUTE for `address` means; a positive errno.
pub(super) fn refusal(address: IpAddr, errno: i32) -> String {
    match errno {
        libc::ENETUNREACH => format!("no route to {address}"),
        libc::EHOSTUNREACH => format!("the route to {address} is of type unreachable"),
        libc::EACCES => format!("the route to {address} is of type prohibit"),
        libc::EINVAL => format!("the route to {address} is of type blackhole"),
        other => {
            let error = std::io::Error::from_raw_os_error(other);
            format!("cannot look up the route to {address}: {error}")
        }
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
