//! What the watcher believes about links and neighbours, and what follows for the tracked
//! addresses. Pure: messages and `now` come in, events come out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;

use super::interfaces::Interfaces;
use super::neighbour::{Neighbour, STALE_FOR, key_of};
use super::next_hop::{NeighbourKey, Route};
use super::{Event, Link, NextHop};

/// How long a neighbour that was just asked for anew is left in peace.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct View {
    links: HashMap<u32, Link>,
    interfaces: Interfaces,
    /// Those with a known MAC address, tracked or not.
    neighbours: HashMap<NeighbourKey, Neighbour>,
    tracked: HashMap<IpAddr, Tracked>,
    /// Which tracked addresses are reached through a neighbour.
    users: HashMap<NeighbourKey, HashSet<IpAddr>>,
    refreshed: HashMap<NeighbourKey, Instant>,
}

#[derive(Debug, Default)]
struct Tracked {
    route: Option<Result<Route, String>>,
    told: Option<Result<NextHop, String>>,
}

/// What a message about a neighbour means for the tracked addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// Nothing.
    Nothing,
    /// This neighbour has another MAC address: see [`View::news_through`].
    Moved(NeighbourKey),
    /// The kernel no longer knows this neighbour: ask for it.
    Lost(NeighbourKey),
}

impl View {
    /// Replaces the set of tracked addresses; returns those that were not in it and have no
    /// route yet.
    pub(super) fn track(&mut self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let wanted: HashSet<IpAddr> = addresses.into_iter().collect();
        let gone: Vec<IpAddr> = self
            .tracked
            .keys()
            .filter(|address| !wanted.contains(address))
            .copied()
            .collect();
        for address in gone {
            self.detach(address);
            self.tracked.remove(&address);
        }
        let new: Vec<IpAddr> = wanted
            .into_iter()
            .filter(|address| !self.tracked.contains_key(address))
            .collect();
        self.tracked
            .extend(new.iter().map(|address| (*address, Tracked::default())));
        new
    }

    pub(super) fn tracked(&self) -> impl Iterator<Item = IpAddr> {
        self.tracked.keys().copied()
    }

    /// Takes in the route of a tracked address; returns what to tell, and the neighbour to ask
    /// for if it is not known.
    pub(super) fn routed(
        &mut self,
        address: IpAddr,
        route: Result<Route, String>,
    ) -> (Option<Event>, Option<NeighbourKey>) {
        if !self.tracked.contains_key(&address) {
            return (None, None);
        }
        self.detach(address);
        let key = route.as_ref().ok().map(|route| route.neighbour(address));
        if let Some(key) = key {
            self.users.entry(key).or_default().insert(address);
        }
        self.tracked.entry(address).or_default().route = Some(route);
        (self.news(address), key.filter(|key| self.is_unknown(key)))
    }

    /// Takes in RTM_NEWLINK or RTM_DELLINK. Routes may have changed with it.
    pub(super) fn link(&mut self, message: &LinkMessage, deleted: bool) -> Vec<Event> {
        // A bridge tells of its ports so; a port that leaves it is not gone.
        if message.header.interface_family == AddressFamily::Bridge {
            return Vec::new();
        }
        let link = Link::from_message(message);
        let ifindex = link.ifindex;
        let (name, before) = if deleted {
            self.neighbours.retain(|key, _| key.0 != ifindex);
            (None, self.links.remove(&ifindex))
        } else {
            (Some(link.name.clone()), self.links.insert(ifindex, link))
        };
        renamed(ifindex, before.map(|link| link.name), name)
    }

    /// Takes in all links there are; returns what came and went since the last time.
    pub(super) fn all_links(&mut self, links: Vec<Link>) -> Vec<Event> {
        let now: HashMap<u32, Link> = links.into_iter().map(|link| (link.ifindex, link)).collect();
        let before = std::mem::replace(&mut self.links, now);
        let ids: HashSet<u32> = before.keys().chain(self.links.keys()).copied().collect();
        let name = |links: &HashMap<u32, Link>, id| links.get(id).map(|link| link.name.clone());
        ids.iter()
            .flat_map(|id| renamed(*id, name(&before, id), name(&self.links, id)))
            .collect()
    }

    /// Takes in RTM_NEWADDR or RTM_DELADDR.
    pub(super) fn address(&mut self, message: &AddressMessage, deleted: bool) {
        self.interfaces.address(message, deleted);
    }

    /// Takes in all addresses there are.
    pub(super) fn all_addresses(&mut self, messages: &[AddressMessage]) {
        self.interfaces.all_addresses(messages);
    }

    /// What to tell of the interfaces since the last time.
    pub(super) fn news_of_interfaces(&mut self) -> Vec<Event> {
        self.interfaces.news(&self.links)
    }

    /// Takes in RTM_NEWNEIGH or RTM_DELNEIGH.
    pub(super) fn neighbour(
        &mut self,
        message: &NeighbourMessage,
        deleted: bool,
        now: Instant,
    ) -> Learned {
        let Some(key) = key_of(message) else {
            return Learned::Nothing;
        };
        let used = self.users.contains_key(&key);
        let after = Neighbour::from_message(message, now).filter(|_| !deleted);
        match (after, self.neighbours.get_mut(&key)) {
            (Some(after), before) => {
                let moved = before.is_none_or(|before| before.mac != after.mac);
                self.neighbours.insert(key, after);
                if used && moved {
                    Learned::Moved(key)
                } else {
                    Learned::Nothing
                }
            }
            (None, Some(_)) if !used => {
                self.neighbours.remove(&key);
                Learned::Nothing
            }
            (None, Some(neighbour)) if neighbour.lost_at.is_none() => {
                neighbour.lost_at = Some(now);
                Learned::Lost(key)
            }
            (None, _) => Learned::Nothing,
        }
    }

    /// Takes in all neighbours there are; returns those that mean something.
    ///
    /// A neighbour that is not among them is doubted, not dropped: the kernel may skip entries
    /// while its table changes.
    pub(super) fn all_neighbours(
        &mut self,
        messages: &[NeighbourMessage],
        now: Instant,
    ) -> Vec<Learned> {
        let present: HashSet<NeighbourKey> = messages.iter().filter_map(key_of).collect();
        for (key, neighbour) in &mut self.neighbours {
            if !present.contains(key) {
                neighbour.confirm_at = Some(now);
            }
        }
        messages
            .iter()
            .map(|message| self.neighbour(message, false, now))
            .collect()
    }

    /// What to tell of the addresses reached through a neighbour.
    pub(super) fn news_through(&mut self, key: NeighbourKey) -> Vec<Event> {
        let users: Vec<IpAddr> = self
            .users
            .get(&key)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        users
            .into_iter()
            .filter_map(|address| self.news(address))
            .collect()
    }

    /// Gives up MAC addresses that were lost and did not come back; returns what to tell.
    pub(super) fn give_up_lost(&mut self, now: Instant) -> Vec<Event> {
        let over = self
            .neighbours
            .extract_if(|_, neighbour| neighbour.is_over(now));
        let lost: Vec<NeighbourKey> = over.map(|(key, _)| key).collect();
        lost.into_iter()
            .flat_map(|key| self.news_through(key))
            .collect()
    }

    /// Neighbours that tracked addresses need and the kernel does not know.
    pub(super) fn unknown(&self) -> Vec<NeighbourKey> {
        self.users
            .keys()
            .filter(|key| self.is_unknown(key))
            .copied()
            .collect()
    }

    /// Neighbours that tracked addresses need and the kernel has not made sure of for long; not
    /// again before that time has passed once more.
    pub(super) fn take_unconfirmed(&mut self, now: Instant) -> Vec<NeighbourKey> {
        let mut due = Vec::new();
        for (key, neighbour) in &mut self.neighbours {
            let late = neighbour.confirm_at.is_some_and(|at| at <= now);
            if late && !neighbour.fixed && self.users.contains_key(key) {
                neighbour.confirm_at = Some(now + STALE_FOR);
                due.push(*key);
            }
        }
        due
    }

    /// The neighbour to ask for anew for a tracked address; `None` if there is nothing to ask,
    /// or it was asked for within the last second.
    pub(super) fn begin_refresh(&mut self, address: IpAddr, now: Instant) -> Option<NeighbourKey> {
        let route = self.tracked.get(&address)?.route.as_ref()?.as_ref().ok()?;
        let key = route.neighbour(address);
        let fixed = self
            .neighbours
            .get(&key)
            .is_some_and(|neighbour| neighbour.fixed);
        if fixed || !self.resolves(&key) {
            return None;
        }
        self.refreshed
            .retain(|_, at| now.duration_since(*at) < REFRESH_PAUSE);
        self.refreshed.insert(key, now).is_none().then_some(key)
    }

    fn is_unknown(&self, key: &NeighbourKey) -> bool {
        let known = self
            .neighbours
            .get(key)
            .is_some_and(|neighbour| neighbour.lost_at.is_none());
        !known && self.resolves(key)
    }

    fn resolves(&self, key: &NeighbourKey) -> bool {
        self.links.get(&key.0).is_some_and(|link| link.resolves)
    }

    /// Takes a tracked address off the neighbour it is reached through.
    fn detach(&mut self, address: IpAddr) {
        let Some(Tracked {
            route: Some(Ok(route)),
            ..
        }) = self.tracked.get(&address)
        else {
            return;
        };
        let key = route.neighbour(address);
        if let Some(users) = self.users.get_mut(&key) {
            users.remove(&address);
            if users.is_empty() {
                self.users.remove(&key);
            }
        }
    }

    /// What to tell of a tracked address: its next hop, if it differs from what was told last.
    fn news(&mut self, address: IpAddr) -> Option<Event> {
        let tracked = self.tracked.get_mut(&address)?;
        let next_hop = match tracked.route.as_ref()? {
            Ok(route) => {
                let neighbour = self.neighbours.get(&route.neighbour(address));
                let link = self.links.get(&route.ifindex);
                route.next_hop(address, link, neighbour.map(|neighbour| neighbour.mac))
            }
            Err(reason) => Err(reason.clone()),
        };
        if tracked.told.as_ref() == Some(&next_hop) {
            return None;
        }
        tracked.told = Some(next_hop.clone());
        Some(Event::NextHop { address, next_hop })
    }
}

/// What to tell when an interface's name was `before` and is `now`; `None`: it was or is not.
fn renamed(ifindex: u32, before: Option<String>, now: Option<String>) -> Vec<Event> {
    if before == now {
        return Vec::new();
    }
    let gone = before.map(|name| Event::LinkGone { name, ifindex });
    let came = now.map(|name| Event::LinkCame { name, ifindex });
    gone.into_iter().chain(came).collect()
}

#[cfg(test)]
mod tests;
