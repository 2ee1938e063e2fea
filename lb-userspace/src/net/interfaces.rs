//! Our own addresses and the MTU, interface by interface, and what there is to tell of them. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};

use super::{Event, Interface, Link};

/// The interfaces as the kernel tells of them, and as they were told last.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    addresses: HashMap<u32, Vec<Own>>,
    told: BTreeMap<u32, Interface>,
}

/// An address of ours that others may see as a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    address: IpAddr,
    /// It is one beside the first of its network, or is not to be used for new connections.
    second_choice: bool,
}

impl Interfaces {
    /// Takes in RTM_NEWADDR or RTM_DELADDR.
    pub(super) fn address(&mut self, message: &AddressMessage, deleted: bool) {
        let Some(address) = local(message) else {
            return;
        };
        let of_link = self.addresses.entry(message.header.index).or_default();
        let at = of_link.iter().position(|own| own.address == address);
        match (at, Own::from_message(address, message).filter(|_| !deleted)) {
            (Some(at), Some(own)) => of_link[at] = own,
            (Some(at), None) => drop(of_link.remove(at)),
            (None, Some(own)) => of_link.push(own),
            (None, None) => {}
        }
    }

    /// Takes in all addresses there are.
    pub(super) fn all_addresses(&mut self, messages: &[AddressMessage]) {
        self.addresses.clear();
        for message in messages {
            self.address(message, false);
        }
    }

    /// What to tell, given the links there are now.
    pub(super) fn news(&mut self, links: &HashMap<u32, Link>) -> Vec<Event> {
        self.addresses
            .retain(|ifindex, _| links.contains_key(ifindex));
        let now: BTreeMap<u32, Interface> = (links.values())
            .map(|link| (link.ifindex, self.interface(link)))
            .collect();
        let gone = (self.told.keys())
            .filter(|ifindex| !now.contains_key(ifindex))
            .map(|ifindex| (*ifindex, None));
        let changed = (now.iter())
            .filter(|(ifindex, interface)| self.told.get(ifindex) != Some(interface))
            .map(|(ifindex, interface)| (*ifindex, Some(interface.clone())));
        let news = gone
            .chain(changed)
            .map(|(ifindex, interface)| Event::Interface { ifindex, interface });
        let news = news.collect();
        self.told = now;
        news
    }

    fn interface(&self, link: &Link) -> Interface {
        let mut own = self
            .addresses
            .get(&link.ifindex)
            .cloned()
            .unwrap_or_default();
        own.sort_by_key(|own| own.second_choice);
        Interface {
            name: link.name.clone(),
            mtu: link.mtu,
            addresses: own.into_iter().map(|own| own.address).collect(),
        }
    }
}

impl Own {
    /// `None` if nobody beyond this host or link could answer it, or it is not ours yet.
    fn from_message(address: IpAddr, message: &AddressMessage) -> Option<Self> {
        let header = &message.header;
        let beyond = matches!(header.scope, AddressScope::Universe | AddressScope::Site);
        let flags = header.flags;
        let unsure = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
        let second = AddressHeaderFlags::Secondary | AddressHeaderFlags::Deprecated;
        (beyond && !flags.intersects(unsure)).then_some(Self {
            address,
            second_choice: flags.intersects(second),
        })
    }
}

/// Our end; the attribute for the other end holds it too, but for point-to-point links.
pub(super) fn local(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(peer) => address = Some(*peer),
            _ => {}
        }
    }
    address
}

#[cfg(test)]
mod tests;
