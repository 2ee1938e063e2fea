//! Whether full packets fit the ways to the backends, with what their mode adds.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use super::{Issue, Judgement};
use crate::{
    cli::doctor::{
        facts::{Facts, place},
        finding::Severity,
    },
    config::{GueVariant, Mode, Service},
    net::Link,
};

/// What every host must take whole: RFC 8200, section 5, and RFC 791's 576 (page 13).
const LEAST6: u32 = 1280;
const LEAST4: u32 = 576;

/// Bytes that a service's mode adds to a packet for a vip of this family and a backend of that one.
pub(super) fn added(service: &Service, vip_v4: bool, backend: IpAddr) -> u32 {
    let outer = if backend.is_ipv4() { 20 } else { 40 };
    match service.mode {
        Mode::Ipip => outer,
        Mode::Gue => {
            let gue = match service.tunnel.variant {
                GueVariant::Header => 4,
                GueVariant::Bare => 0,
            };
            outer + 8 + gue
        }
        // IPv4 becomes IPv6 (RFC 7915).
        Mode::Nat if vip_v4 && backend.is_ipv6() => 20,
        Mode::Nat | Mode::Route | Mode::Dsr => 0,
    }
}

/// How long packets of clients may be: the MTU of the interface that they likely come by. That is the default
/// route's, or else one that no backend is behind, or else any.
fn incoming(facts: &Facts) -> u32 {
    let names = facts.interfaces();
    let ours: Vec<&Link> = (facts.survey.links.iter())
        .map(|seen| &seen.link)
        .filter(|link| names.contains(&link.name))
        .collect();
    let default = (facts.survey.defaults.iter())
        .find_map(|index| ours.iter().find(|link| link.ifindex == *index));
    if let Some(link) = default {
        return link.mtu;
    }
    let to_backends: BTreeSet<u32> = (facts.ways())
        .filter_map(|(_, _, way)| way.as_ref().ok().map(|way| way.ifindex))
        .collect();
    let others = ours
        .iter()
        .filter(|link| !to_backends.contains(&link.ifindex));
    let longest = others.map(|link| link.mtu).max();
    longest
        .or_else(|| ours.iter().map(|link| link.mtu).max())
        .unwrap_or_default()
}

/// The tightest of the ways that leave by one interface.
struct Tight {
    place: String,
    address: IpAddr,
    mode: Mode,
    vip_v4: bool,
    room: u32,
    added: u32,
    lacking: u32,
    by_route: bool,
    others: usize,
}

impl Tight {
    /// Bytes of the shortest packet that clients need not send.
    fn least(&self) -> u32 {
        if self.vip_v4 { LEAST4 } else { LEAST6 }
    }

    /// So little is left that clients do not send packets as short.
    fn is_hopeless(&self) -> bool {
        self.room.saturating_sub(self.added) < self.least()
    }

    fn badness(&self) -> (bool, u32) {
        (self.is_hopeless(), self.lacking)
    }
}

pub(super) fn paths(facts: &Facts) -> Judgement {
    let mut tight: BTreeMap<(u32, bool), Tight> = BTreeMap::new();
    let mut looked_at = 0;
    let incoming = incoming(facts);
    for (service, backend, way) in facts.ways() {
        let Ok(way) = way else { continue };
        let Some(link) = facts.survey.link_by_index(way.ifindex) else {
            continue;
        };
        looked_at += 1;
        let room = way.mtu.unwrap_or(u32::MAX).min(link.link.mtu);
        let address = backend.address.ip();
        let vip_v4 = (service.listen.iter()).any(|vip| vip.address.is_ipv4());
        // An IPv6 vip's packets cannot be made as short.
        let vip_v6 = (service.listen.iter()).any(|vip| vip.address.is_ipv6());
        let added = added(service, vip_v4, address);
        let lacking = (incoming + added).saturating_sub(room);
        if lacking == 0 {
            continue;
        }
        let one = Tight {
            place: place(service, backend),
            address,
            mode: service.mode,
            vip_v4: !vip_v6,
            room,
            added,
            lacking,
            by_route: room < link.link.mtu,
            others: 0,
        };
        match tight.entry((way.ifindex, one.by_route)) {
            Entry::Vacant(entry) => drop(entry.insert(one)),
            Entry::Occupied(mut entry) => {
                let others = entry.get().others + 1;
                if one.badness() > entry.get().badness() {
                    entry.insert(one);
                }
                entry.get_mut().others = others;
            }
        }
    }
    if looked_at == 0 {
        return Judgement::DoesNotApply;
    }
    let issues = (tight.into_iter()).map(|((ifindex, _), tight)| issue(facts, ifindex, &tight));
    Judgement::of(
        issues.collect(),
        "full packets fit the ways to all backends, with what their modes add",
    )
}

fn issue(facts: &Facts, ifindex: u32, tight: &Tight) -> Issue {
    let name = facts.survey.name(ifindex);
    let Tight {
        room,
        added,
        lacking,
        ..
    } = tight;
    let grown = match (tight.mode, added) {
        (_, 0) => "clients' packets".to_owned(),
        (Mode::Nat, _) => format!("packets, {added} bytes longer in IPv6,"),
        (mode, _) => format!("packets wrapped for mode {} (+{added} bytes)", mode.name()),
    };
    let others = match tight.others {
        0 => String::new(),
        1 => " and another backend".to_owned(),
        n => format!(" and {n} others"),
    };
    let carrier = if tight.by_route {
        format!("the way to {} carries {room} bytes", tight.address)
    } else {
        format!("{name} has an MTU of {room}")
    };
    let (least, hopeless) = (tight.least(), tight.is_hopeless());
    Issue {
        severity: if hopeless {
            Severity::Problem
        } else {
            Severity::Warning
        },
        subject: format!("{}{others}", tight.place),
        message: format!("{carrier}, {lacking} bytes less than full {grown} need"),
        effect: if hopeless {
            format!("what clients send is lost: no host sends packets shorter than {least} bytes")
        } else {
            "a client that sends full packets is told to send shorter ones, which costs each \
             connection a round trip, and hangs where that ICMP is filtered"
                .to_owned()
        },
        remedy: if tight.by_route {
            format!(
                "ip route get {}   # shows the MTU: raise it in the route, or on the router that told \
                 of it",
                tight.address
            )
        } else {
            format!(
                "ip link set dev {name} mtu {}   # and the same at the backend and all between",
                room + lacking
            )
        },
    }
}
