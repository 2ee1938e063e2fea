//! Addresses that this program puts on the host and takes off it again.
//!
//! The kernel keeps the record of which are ours: each bears our number as its origin (`IFA_PROTO`,
//! Linux 5.18; `ip -d address` shows it). So a daemon that starts knows what an earlier one put there,
//! and what others put there is never touched.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};

use super::kernel::Requests;
use super::{Link, NetError, SeenAddress};

/// Our number among the origins of addresses. Those up to 3 are the kernel's
/// (include/uapi/linux/if_addr.h).
pub(super) const OURS: u8 = 209;

/// What [`hold`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Put on the host now, each with the index of its interface.
    pub added: Vec<(IpAddr, u32)>,
    /// Taken off the host now.
    pub removed: Vec<IpAddr>,
    /// Wanted and ours, `added` among them, each with the index of its interface.
    pub held: Vec<(IpAddr, u32)>,
    /// Wanted, and on the host by somebody else's hand.
    pub others: Vec<IpAddr>,
    /// What did not succeed, in words.
    pub failures: Vec<String>,
}

/// Brings the addresses that are ours to those `wanted`: /32 and /128, never the source of this host's
/// own connections if it has another address, and IPv6 without duplicate address detection. Each goes
/// on that link of `links` whose network it lies in, or else on the first; one that is on any of
/// `links` stays where it is. One that the host has by other means is left as it is.
///
/// # Errors
/// When the kernel does not answer. What it refuses is told in the outcome.
pub async fn hold(wanted: &BTreeSet<IpAddr>, links: &[Link]) -> Result<Outcome, NetError> {
    let requests = Requests::open()?;
    let there = requests.addresses().await?;
    let there: Vec<SeenAddress> = there.iter().filter_map(SeenAddress::from_message).collect();
    let plan = plan(&there, wanted, links);
    let mut outcome = Outcome {
        held: plan.kept,
        others: plan.others,
        ..Outcome::default()
    };
    for (address, ifindex) in plan.remove {
        match requests.remove_address(message(address, ifindex)).await {
            Ok(()) => outcome.removed.push(address),
            Err(error) => outcome.failures.push(error.to_string()),
        }
    }
    for (address, ifindex) in plan.add {
        match requests.add_address(message(address, ifindex)).await {
            Ok(()) => {
                outcome.added.push((address, ifindex));
                outcome.held.push((address, ifindex));
            }
            Err(error) => outcome.failures.push(error.to_string()),
        }
    }
    Ok(outcome)
}

/// Takes all addresses that are ours off the host; returns them.
///
/// # Errors
/// When the kernel does not answer or refuses.
pub async fn remove_held() -> Result<Vec<IpAddr>, NetError> {
    let outcome = hold(&BTreeSet::new(), &[]).await?;
    match outcome.failures.into_iter().next() {
        None => Ok(outcome.removed),
        Some(failure) => Err(NetError::Address(failure)),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    add: Vec<(IpAddr, u32)>,
    remove: Vec<(IpAddr, u32)>,
    kept: Vec<(IpAddr, u32)>,
    others: Vec<IpAddr>,
}

/// Pure.
fn plan(there: &[SeenAddress], wanted: &BTreeSet<IpAddr>, links: &[Link]) -> Plan {
    let mut plan = Plan::default();
    let (ours, others): (Vec<SeenAddress>, Vec<SeenAddress>) =
        there.iter().partition(|present| present.announced);
    let may_have = |ifindex: u32| links.iter().any(|link| link.ifindex == ifindex);
    let mut held = BTreeSet::new();
    for present in &ours {
        let place = (present.address, present.ifindex);
        let of_others = others.iter().any(|other| other.address == present.address);
        if wanted.contains(&present.address)
            && may_have(present.ifindex)
            && !of_others
            && held.insert(present.address)
        {
            plan.kept.push(place);
        } else {
            plan.remove.push(place);
        }
    }
    for address in wanted.iter().filter(|address| !held.contains(address)) {
        if others.iter().any(|other| other.address == *address) {
            plan.others.push(*address);
            continue;
        }
        let in_network = (others.iter())
            .filter(|other| may_have(other.ifindex) && other.covers(*address))
            .max_by_key(|other| other.length)
            .map(|other| other.ifindex);
        if let Some(ifindex) = in_network.or(links.first().map(|link| link.ifindex)) {
            plan.add.push((*address, ifindex));
        }
    }
    plan
}

/// One address alone.
fn message(address: IpAddr, ifindex: u32) -> AddressMessage {
    // Valid for ever, preferred never.
    let mut lifetimes = CacheInfo::default();
    (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
    let mut message = AddressMessage::default();
    message.header.family = super::kernel::family(address);
    message.header.index = ifindex;
    message.header.prefix_len = if address.is_ipv4() { 32 } else { 128 };
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(AddressFlags::Nodad),
        AddressAttribute::Protocol(AddressProtocol::Other(OURS)),
        AddressAttribute::CacheInfo(lifetimes),
    ];
    message
}

#[cfg(test)]
mod tests;
