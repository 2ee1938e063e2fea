//! The ways to the backends.

use super::{Issue, Judgement, count};
use crate::{
    cli::doctor::{
        facts::{Facts, place},
        finding::Severity,
    },
    config::Mode,
    net::survey::Peer,
};

fn backends(facts: &Facts) -> usize {
    facts
        .services()
        .iter()
        .map(|service| service.backends.len())
        .sum()
}

/// What all these checks have in common: an issue for each backend that has one.
fn each(facts: &Facts, passed: &str, issue: impl Fn(Seen<'_>) -> Option<Issue>) -> Judgement {
    if backends(facts) == 0 {
        return Judgement::DoesNotApply;
    }
    let issues = facts.ways().filter_map(|(service, backend, way)| {
        issue(Seen {
            facts,
            place: place(service, backend),
            mode: service.mode,
            address: backend.address.ip(),
            way,
        })
    });
    let number = count(backends(facts), "backend");
    Judgement::of(issues.collect(), passed.replace("{}", &number))
}

struct Seen<'a> {
    facts: &'a Facts,
    place: String,
    mode: Mode,
    address: std::net::IpAddr,
    way: &'a Result<crate::net::survey::Way, String>,
}

pub(super) fn route(facts: &Facts) -> Judgement {
    each(facts, "there is a way to {}", |seen| {
        let Err(why) = seen.way else { return None };
        if seen.facts.survey.holds(seen.address) {
            return None;
        }
        let address = seen.address;
        let network = seen.facts.survey.network_of(address);
        Some(Issue {
            severity: Severity::Problem,
            subject: seen.place,
            message: why.clone(),
            effect: "its probes fail, so that it gets no connections".to_owned(),
            remedy: match network {
                // The kernel makes this one with the address; somebody took it away.
                Some(own) => format!(
                    "ip route replace {}/{} dev {}",
                    own.network(),
                    own.length,
                    seen.facts.survey.name(own.ifindex)
                ),
                None => format!(
                    "ip route add {address} via ROUTER   # the router that leads there; or correct \
                     its address in the configuration"
                ),
            },
        })
    })
}

pub(super) fn own_address(facts: &Facts) -> Judgement {
    each(facts, "no backend has an address of this host", |seen| {
        seen.facts.survey.holds(seen.address).then(|| Issue {
            severity: Severity::Problem,
            subject: seen.place,
            message: format!("{} is an address of this host", seen.address),
            effect: "it gets no connections: packets are sent on, never back into the host itself"
                .to_owned(),
            remedy: "run this server on another host, and write that host's address".to_owned(),
        })
    })
}

pub(super) fn interface(facts: &Facts) -> Judgement {
    let names = facts.interfaces();
    each(facts, "the ways to {} leave by `interfaces`", |seen| {
        let way = seen.way.as_ref().ok()?;
        let name = seen.facts.survey.name(way.ifindex);
        if names.contains(&name) || seen.mode.is_one_way() {
            return None;
        }
        let mut with: Vec<String> = names.clone();
        with.push(name.clone());
        Some(Issue {
            severity: Severity::Problem,
            subject: seen.place,
            message: format!("the way to it leaves by {name}, which is not in `interfaces`"),
            effect: "its replies come in where no program is, and do not reach the client"
                .to_owned(),
            remedy: format!(
                "write in {}: interfaces: [{}]   # then: divvy reload",
                seen.facts.file.display(),
                with.join(", ")
            ),
        })
    })
}

pub(super) fn router(facts: &Facts) -> Judgement {
    let dsr = (facts.services().iter()).any(|service| service.mode == Mode::Dsr);
    if !dsr {
        return Judgement::DoesNotApply;
    }
    each(facts, "backends of mode `dsr` are neighbours", |seen| {
        let gateway = seen.way.as_ref().ok()?.gateway?;
        (seen.mode == Mode::Dsr).then(|| Issue {
            severity: Severity::Problem,
            subject: seen.place,
            message: format!(
                "mode `dsr`, but {} is behind the router {gateway}",
                seen.address
            ),
            effect: "it counts as down: a packet whose MAC address alone is changed would not get \
                     past that router"
                .to_owned(),
            remedy: "write `mode: ipip` or `mode: gue` for its service, or join its network"
                .to_owned(),
        })
    })
}

pub(super) fn neighbour(facts: &Facts) -> Judgement {
    let asked = facts
        .ways()
        .any(|(_, _, way)| way.as_ref().is_ok_and(|way| way.peer != Peer::Unknown));
    if !asked {
        return Judgement::DoesNotApply;
    }
    each(
        facts,
        "the MAC addresses on the ways to {} are known",
        |seen| {
            let way = seen.way.as_ref().ok()?;
            if way.peer != Peer::Silent {
                return None;
            }
            let name = seen.facts.survey.name(way.ifindex);
            let protocol = if way.gateway.unwrap_or(seen.address).is_ipv4() {
                "ARP"
            } else {
                "neighbour discovery"
            };
            let (who, peer) = match way.gateway {
                Some(gateway) => (format!("the router {gateway} on the way to it"), gateway),
                None => (seen.address.to_string(), seen.address),
            };
            Some(Issue {
                severity: Severity::Problem,
                subject: seen.place,
                message: format!("{who} does not answer {protocol} on {name}"),
                effect: "packets for it are lost, and its probes fail".to_owned(),
                remedy: format!(
                    "ip neigh show {peer} dev {name}   # FAILED: is it on, is the cable in, is it the \
                 right network?"
                ),
            })
        },
    )
}
