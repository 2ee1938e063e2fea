//! What packets need to know of the interfaces that they come and go by.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use lb_common::{
    V4, V6,
    interface::{Interface, MAX_INTERFACES},
    unmapped,
};

use super::{Inputs, words};
use crate::{config::Config, net};

/// Bytes of an Ethernet header without tags.
const ETHERNET: u32 = 14;

/// The interfaces on which the program runs, and those toward backends.
pub(super) fn interfaces(inputs: &Inputs<'_>) -> BTreeMap<u32, Interface> {
    let vips: HashSet<IpAddr> = (inputs.config.services.iter())
        .flat_map(|service| service.listen.iter().map(|vip| vip.address))
        .collect();
    let toward_backends: HashSet<u32> =
        (inputs.next_hops.values()).map(|hop| hop.ifindex).collect();
    let runs_here = |interface: &net::Interface| runs_on(inputs.config, &interface.name);
    (inputs.interfaces.iter())
        .filter(|(ifindex, interface)| runs_here(interface) || toward_backends.contains(ifindex))
        .take(MAX_INTERFACES as usize)
        .map(|(ifindex, interface)| (*ifindex, entry(interface, &vips)))
        .collect()
}

fn runs_on(config: &Config, name: &str) -> bool {
    config.interfaces.iter().any(|interface| interface == name)
}

/// Bytes of the longest frame that fits all of them.
pub(super) fn frame_max(interfaces: &BTreeMap<u32, Interface>) -> u32 {
    let mtu = interfaces.values().map(|interface| interface.mtu).min();
    mtu.map_or(u32::MAX, |mtu| mtu.saturating_add(ETHERNET))
}

fn entry(interface: &net::Interface, vips: &HashSet<IpAddr>) -> Interface {
    Interface {
        address4: own(interface, vips, IpAddr::is_ipv4).map_or(V4::default(), |a| unmapped(&a)),
        mtu: interface.mtu,
        address6: own(interface, vips, IpAddr::is_ipv6).unwrap_or_default(),
        pad: 0,
    }
}

/// Our address of this family there: a vip, which other hosts may have as well, only if it is the only one.
fn own(
    interface: &net::Interface,
    vips: &HashSet<IpAddr>,
    is_of: fn(&IpAddr) -> bool,
) -> Option<V6> {
    let of_family = || interface.addresses.iter().filter(|address| is_of(address));
    (of_family().find(|address| !vips.contains(address)))
        .or_else(|| of_family().next())
        .map(|address| words(*address))
}
