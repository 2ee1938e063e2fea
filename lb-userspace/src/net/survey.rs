//! One look at this host's network, for those who judge or describe it: interfaces, addresses, default
//! routes, and the ways to given addresses. Nothing is changed, but that neighbours are asked for.

mod candidates;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use rtnetlink::packet_route::neighbour::{NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType};
use tokio::time::{Instant, sleep};

use super::kernel::Requests;
use super::neighbour::key_of;
use super::next_hop::{NeighbourKey, Route};
use super::{Link, NetError, SeenAddress};

pub use candidates::{Candidate, candidates};

/// A little longer than the kernel takes to give a neighbour up: three questions, one a second
/// (`mcast_solicit`, `retrans_time_ms`).
const UNTIL_FAILED: Duration = Duration::from_millis(3_500);
const PAUSE: Duration = Duration::from_millis(50);

/// What the look found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub links: Vec<SeenLink>,
    pub addresses: Vec<SeenAddress>,
    /// Indices of the interfaces that default routes leave by, the best route first; IPv4 before IPv6.
    pub defaults: Vec<u32>,
    /// To each of the addresses asked for; `Err` says why there is no way.
    pub ways: BTreeMap<IpAddr, Result<Way, String>>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLink {
    pub link: Link,
    /// The other end of its cable is there and up.
    pub carrier: bool,
    /// What the kernel calls a device made by software, such as `veth` or `bridge`; empty for a network
    /// card.
    pub kind: String,
    /// Index of the interface that it is built on, such as a VLAN's.
    pub parent: Option<u32>,
    /// Index of the bridge or bond that it is a port of.
    pub controller: Option<u32>,
    /// Numbers of the XDP programs on it.
    pub programs: Vec<u32>,
}

/// How packets go to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub ifindex: u32,
    /// The address that this host sends from.
    pub source: IpAddr,
    /// The router on the way.
    pub gateway: Option<IpAddr>,
    /// Most bytes of a packet, where the route or a router on the way says so.
    pub mtu: Option<u32>,
    pub peer: Peer,
}

/// What is known of the neighbour that packets go to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Its MAC address is known, or none is needed.
    Known,
    /// It was asked for its MAC address, and has not answered.
    Silent,
    /// It was not asked.
    Unknown,
}

#[cfg(test)]
impl SeenLink {
    /// A network card that is up, or the loopback.
    pub(crate) fn plain(ifindex: u32, name: &str) -> Self {
        Self {
            link: Link {
                name: name.to_owned(),
                ifindex,
                mac: Some([2, 0, 0, 0, 0, 1]),
                mtu: 1500,
                up: true,
                resolves: name != "lo",
                veth: false,
                xdp: None,
            },
            carrier: true,
            kind: String::new(),
            parent: None,
            controller: None,
            programs: Vec::new(),
        }
    }
}

impl Survey {
    /// The interface of that name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&SeenLink> {
        self.links.iter().find(|seen| seen.link.name == name)
    }

    #[must_use]
    pub fn link_by_index(&self, ifindex: u32) -> Option<&SeenLink> {
        self.links.iter().find(|seen| seen.link.ifindex == ifindex)
    }

    /// The interface's name, or its index where it is gone.
    #[must_use]
    pub fn name(&self, ifindex: u32) -> String {
        let name = self.link_by_index(ifindex);
        name.map_or_else(|| ifindex.to_string(), |seen| seen.link.name.clone())
    }

    /// The host has this address.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Of the host's own addresses the one in whose network this address lies, the smallest network
    /// first. Networks of one address do not count.
    #[must_use]
    pub fn network_of(&self, address: IpAddr) -> Option<SeenAddress> {
        let nets = self.addresses.iter().filter(|own| own.covers(address));
        nets.max_by_key(|own| own.length).copied()
    }
}

/// Looks at the network namespace of the calling thread, and at the ways to these addresses. Neighbours on
/// them that are not known are asked for their MAC addresses and given some seconds, where that is permitted.
///
/// # Errors
/// When the kernel does not answer.
pub async fn survey(towards: &[IpAddr]) -> Result<Survey, NetError> {
    let requests = Requests::open()?;
    let links = requests.link_messages().await?;
    let addresses = requests.addresses().await?;
    let mut survey = Survey {
        links: links.iter().map(SeenLink::from_message).collect(),
        addresses: (addresses.iter())
            .filter_map(SeenAddress::from_message)
            .collect(),
        defaults: Vec::new(),
        ways: BTreeMap::new(),
    };
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let routes = requests.routes(family).await?;
        survey.defaults.extend(default_interfaces(&routes));
    }
    for address in towards {
        let answer = requests.route_message(*address).await?;
        let way = answer.and_then(|message| Way::from_message(*address, &message));
        survey.ways.insert(*address, way);
    }
    survey.ask_peers(&requests).await?;
    Ok(survey)
}

impl Survey {
    async fn ask_peers(&mut self, requests: &Requests) -> Result<(), NetError> {
        let deadline = Instant::now() + UNTIL_FAILED;
        let mut asked = false;
        loop {
            let states = states(&requests.neighbours().await?);
            let keys = self.note(&states);
            if keys.is_empty() || Instant::now() > deadline {
                return Ok(());
            }
            if !asked {
                for key in &keys {
                    if requests.resolve(*key).await.is_err() {
                        // Without the right to.
                        return Ok(());
                    }
                }
                asked = true;
            }
            for key in &keys {
                self.set(*key, Peer::Silent);
            }
            sleep(PAUSE).await;
        }
    }

    /// Takes in what the kernel knows; returns the neighbours that are worth asking for or waiting for.
    fn note(&mut self, states: &BTreeMap<NeighbourKey, NeighbourState>) -> Vec<NeighbourKey> {
        use NeighbourState::{Failed, Incomplete};
        let mut open = Vec::new();
        for (address, way) in &mut self.ways {
            let Ok(way) = way else { continue };
            let resolves = (self.links.iter())
                .any(|seen| seen.link.ifindex == way.ifindex && seen.link.resolves);
            let key = (way.ifindex, way.gateway.unwrap_or(*address));
            match states.get(&key) {
                _ if !resolves => way.peer = Peer::Known,
                Some(Failed) if way.peer == Peer::Silent => {}
                None | Some(Failed | Incomplete | NeighbourState::None) => open.push(key),
                Some(_) => way.peer = Peer::Known,
            }
        }
        open
    }

    fn set(&mut self, key: NeighbourKey, peer: Peer) {
        for (address, way) in &mut self.ways {
            if let Ok(way) = way
                && (way.ifindex, way.gateway.unwrap_or(*address)) == key
            {
                way.peer = peer;
            }
        }
    }
}

fn states(neighbours: &[NeighbourMessage]) -> BTreeMap<NeighbourKey, NeighbourState> {
    (neighbours.iter())
        .filter_map(|message| Some((key_of(message)?, message.header.state)))
        .collect()
}

/// Where default routes leave, the best of them first.
fn default_interfaces(routes: &[RouteMessage]) -> Vec<u32> {
    let mut found: Vec<(u32, u32)> = (routes.iter())
        .filter(|route| {
            route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
        })
        .filter_map(|route| {
            let mut priority = 0;
            let mut ifindex = None;
            for attribute in &route.attributes {
                match attribute {
                    RouteAttribute::Priority(value) => priority = *value,
                    RouteAttribute::Oif(index) => ifindex = Some(*index),
                    RouteAttribute::MultiPath(hops) => {
                        ifindex = hops.first().map(|hop| hop.interface_index);
                    }
                    _ => {}
                }
            }
            Some((priority, ifindex?))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, ifindex)| ifindex).collect()
}

impl Way {
    fn from_message(address: IpAddr, message: &RouteMessage) -> Result<Self, String> {
        let route = Route::from_message(address, message)?;
        let metrics = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::Metrics(metrics) => Some(metrics),
                _ => None,
            });
        Ok(Self {
            ifindex: route.ifindex,
            source: route.source,
            gateway: route.gateway,
            mtu: (metrics.into_iter().flatten()).find_map(|metric| match metric {
                RouteMetric::Mtu(mtu) => Some(*mtu),
                _ => None,
            }),
            peer: Peer::Unknown,
        })
    }
}

impl SeenLink {
    fn from_message(message: &LinkMessage) -> Self {
        let mut seen = Self {
            link: Link::from_message(message),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            kind: String::new(),
            parent: None,
            controller: None,
            programs: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::LinkInfo(parts) => {
                    seen.kind = (parts.iter())
                        .find_map(|part| match part {
                            LinkInfo::Kind(kind) => Some(kind.to_string()),
                            _ => None,
                        })
                        .unwrap_or_default();
                }
                LinkAttribute::Link(index) => seen.parent = Some(*index),
                LinkAttribute::Controller(index) => seen.controller = Some(*index),
                LinkAttribute::Xdp(parts) => seen.programs = programs(parts),
                _ => {}
            }
        }
        seen
    }
}

/// The kernel tells one program twice, alone and by its place.
fn programs(parts: &[LinkXdp]) -> Vec<u32> {
    let mut found: Vec<u32> = (parts.iter())
        .filter_map(|part| match part {
            LinkXdp::ProgId(id)
            | LinkXdp::DrvProgId(id)
            | LinkXdp::SkbProgId(id)
            | LinkXdp::HwProgId(id) => Some(*id),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests;
