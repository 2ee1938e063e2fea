//! One neighbour as the kernel tells of it: the other end of a link, and its MAC address. Pure.

use std::time::{Duration, Instant};

use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};

use super::Mac;
use super::next_hop::NeighbourKey;

/// How long a stale neighbour of ours may stay so. XDP does not count as use, so the kernel would
/// never ask it again by itself.
pub(super) const STALE_FOR: Duration = Duration::from_secs(30);
/// How long a MAC address is used on after the kernel has dropped it. It is asked for at once and
/// on most networks comes back, unchanged, within a millisecond.
pub(super) const HOLD: Duration = Duration::from_millis(500);

/// A neighbour whose MAC address is known.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) mac: Mac,
    /// See [`is_fixed`].
    pub(super) fixed: bool,
    /// When to have the kernel make sure of it.
    pub(super) confirm_at: Option<Instant>,
    /// Since when the kernel no longer knows it.
    pub(super) lost_at: Option<Instant>,
}

impl Neighbour {
    /// `None` if the state of the entry says that its MAC address, if any, may not be used.
    pub(super) fn from_message(message: &NeighbourMessage, now: Instant) -> Option<Self> {
        use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
        let state = message.header.state;
        if !matches!(state, Reachable | Stale | Delay | Probe | Permanent | Noarp) {
            return None;
        }
        let mac = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
                _ => None,
            })?;
        Some(Self {
            mac,
            fixed: is_fixed(message),
            confirm_at: (state == Stale).then(|| now + STALE_FOR),
            lost_at: None,
        })
    }

    /// Whether it was lost so long ago that its MAC address is to be given up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.lost_at
            .is_some_and(|lost_at| now.duration_since(lost_at) >= HOLD)
    }
}

/// Whether others look after this entry: an administrator, the kind of link, a routing daemon, or
/// the kernel on somebody's behalf. Asking for it would take that mark away: since Linux 5.16, use
/// even makes a permanent entry one like any other.
pub(super) fn is_fixed(message: &NeighbourMessage) -> bool {
    let managed = message.attributes.iter().any(|attribute| {
        matches!(attribute, NeighbourAttribute::ExtFlags(flags)
            if flags.contains(NeighbourExtFlags::Managed))
    });
    managed
        || message.header.flags.contains(NeighbourFlags::ExtLearned)
        || matches!(
            message.header.state,
            NeighbourState::Permanent | NeighbourState::Noarp
        )
}

/// Which neighbour a message is about; `None` for what is not an IP neighbour, such as the tables
/// of bridges, or is a proxy.
pub(super) fn key_of(message: &NeighbourMessage) -> Option<NeighbourKey> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                Some((message.header.ifindex, (*address).into()))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                Some((message.header.ifindex, (*address).into()))
            }
            _ => None,
        })
}
