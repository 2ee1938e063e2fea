//! Vips in the form of the maps: single ports as they are, ranges of ports as prefixes for a trie.
//!
//! A search in the trie finds the longest prefix. Of two ranges of which one lies within the other, each
//! prefix of the smaller one is as long as or longer than that of the larger one with the same ports;
//! where both have the same, the smaller one's is written last. So the smallest range with a port has it.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use lb_common::{
    Address, V4, V6,
    service::{NO_SERVICE, PortKey, PortPrefix, VipKey},
    unmapped,
};

use super::{Tables, words};
use crate::config::Vip;

/// A vip, its protocol number, and the index of the service that it leads to.
pub(super) type Leading = (Vip, u8, u32);

/// The keys of a vip that is a range of ports.
pub fn prefixes<A: Address>(vip: Vip, address: A, protocol: u8) -> Vec<PortPrefix<A>> {
    (vip.ports.prefixes().into_iter())
        .map(|prefix| PortPrefix {
            bits: PortKey::<A>::BITS - u16::BITS + prefix.bits,
            key: PortKey {
                address,
                protocol,
                pad: 0,
                port_be: prefix.first.to_be(),
            },
        })
        .collect()
}

/// Adds all vips and their addresses, so that packets for them are ours.
pub(super) fn admit(tables: &mut Tables, mut vips: Vec<Leading>) {
    vips.sort_by_key(|(vip, ..)| Reverse(vip.ports.count()));
    for (vip, protocol, service_idx) in vips {
        let address = words(vip.address);
        let Tables {
            settings,
            vips4,
            vips6,
            vip_ranges4,
            vip_ranges6,
            ..
        } = tables;
        if vip.is_ipv4() {
            let key = VipKey::of_address(&unmapped(&address));
            settings.admit_vip(&key);
            vips4.insert(key, NO_SERVICE);
        } else {
            let key = VipKey::of_address(&address);
            settings.admit_vip(&key);
            vips6.insert(key, NO_SERVICE);
        }
        match (vip.is_ipv4(), vip.ports.single()) {
            (true, Some(port)) => {
                let key = vip_key(unmapped(&address), port, protocol);
                settings.admit_vip(&key);
                vips4.insert(key, service_idx);
            }
            (false, Some(port)) => {
                let key = vip_key(address, port, protocol);
                settings.admit_vip(&key);
                vips6.insert(key, service_idx);
            }
            (true, None) => {
                settings.admit_ranges(unmapped(&address), protocol);
                add::<V4>(
                    vip_ranges4,
                    prefixes(vip, unmapped(&address), protocol),
                    service_idx,
                );
            }
            (false, None) => {
                settings.admit_ranges(address, protocol);
                add::<V6>(vip_ranges6, prefixes(vip, address, protocol), service_idx);
            }
        }
    }
}

/// The service that leads packets for this address and port: by a vip of this very port, or else by the
/// smallest range with it, as the program looks them up.
#[must_use]
pub fn service_of(tables: &Tables, address: IpAddr, port: u16, protocol: u8) -> Option<u32> {
    let words = words(address);
    if address.is_ipv4() {
        find(
            &tables.vips4,
            &tables.vip_ranges4,
            unmapped(&words),
            port,
            protocol,
        )
    } else {
        find(&tables.vips6, &tables.vip_ranges6, words, port, protocol)
    }
}

fn find<A: Address + std::hash::Hash>(
    vips: &HashMap<VipKey<A>, u32>,
    ranges: &HashMap<PortPrefix<A>, u32>,
    address: A,
    port: u16,
    protocol: u8,
) -> Option<u32> {
    let single = vips.get(&vip_key(address, port, protocol)).copied();
    single.or_else(|| {
        let has = |prefix: &PortPrefix<A>| {
            // Bits of the port that are left out.
            let free = PortKey::<A>::BITS.saturating_sub(prefix.bits);
            let first = u16::from_be(prefix.key.port_be);
            prefix.key.address.same(address)
                && prefix.key.protocol == protocol
                && u32::from(port) >> free == u32::from(first) >> free
        };
        let matching = ranges.iter().filter(|(prefix, _)| has(prefix));
        let longest = matching.max_by_key(|(prefix, _)| prefix.bits);
        longest.map(|(_, service_idx)| *service_idx)
    })
}

fn vip_key<A>(address: A, port: u16, protocol: u8) -> VipKey<A> {
    VipKey {
        address,
        port_be: port.to_be(),
        protocol,
        pad: 0,
    }
}

fn add<A: Address + std::hash::Hash>(
    ranges: &mut HashMap<PortPrefix<A>, u32>,
    prefixes: Vec<PortPrefix<A>>,
    service_idx: u32,
) {
    ranges.extend(prefixes.into_iter().map(|prefix| (prefix, service_idx)));
}
