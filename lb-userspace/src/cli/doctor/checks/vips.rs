//! Whether packets for the vips come here, and whom they are taken from.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Issue, Judgement, count};
use crate::{
    cli::doctor::{
        facts::{Facts, Listener},
        finding::Severity,
    },
    config::PortRange,
    net::survey::Peer,
};

pub(super) fn address(facts: &Facts) -> Judgement {
    let Ok(config) = &facts.config else {
        return Judgement::DoesNotApply;
    };
    let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for service in &config.services {
        for vip in &service.listen {
            addresses.entry(vip.address).or_insert(&service.name);
        }
    }
    let mut routed = Vec::new();
    let mut issues = Vec::new();
    for (address, service) in &addresses {
        if config.announce.addresses || facts.survey.holds(*address) {
            continue;
        }
        let Some(network) = facts.survey.network_of(*address) else {
            routed.push(address.to_string());
            continue;
        };
        let name = facts.survey.name(network.ifindex);
        let way = facts.survey.ways.get(address);
        let peer = way.and_then(|way| way.as_ref().ok()).map(|way| way.peer);
        let length = if address.is_ipv4() { 32 } else { 128 };
        let subject = format!("{service} {address}");
        if peer == Some(Peer::Known) {
            issues.push(Issue {
                severity: Severity::Warning,
                subject,
                message: format!("another host in the network of {name} has this address"),
                effect: "clients reach that host, and not this one, as long as it answers"
                    .to_owned(),
                remedy:
                    "choose another address, or end the other host's use of it; on a standby all \
                         is as it should be"
                        .to_owned(),
            });
            continue;
        }
        issues.push(Issue {
            severity: Severity::Problem,
            subject,
            message: format!("lies in the network of {name}, and no host has it, this one neither"),
            effect: "nobody answers for it, so that no packet for it comes, but for those of a router \
                     that was told to send them here"
                .to_owned(),
            remedy: format!(
                "ip address add {address}/{length} dev {name}   # or in the configuration: announce: \
                 {{ addresses: true }}"
            ),
        });
    }
    let words = if config.announce.addresses {
        "vips are put on this host while somebody stands behind them (announce)".to_owned()
    } else if routed.is_empty() {
        format!("{} on this host", count(addresses.len(), "vip address"))
    } else {
        format!(
            "{} in no network of this host: a router must send {} here",
            super::are(&routed),
            if routed.len() == 1 { "it" } else { "them" }
        )
    };
    Judgement::of(issues, words)
}

/// Servers of this host that lose their connections to a vip.
pub(super) fn local_server(facts: &Facts) -> Judgement {
    let mut issues = Vec::new();
    let announced = (facts.config.as_ref()).is_ok_and(|config| config.announce.addresses);
    for service in facts.services() {
        for vip in &service.listen {
            // To others packets do not come before the vip is on the host.
            if !announced && !facts.survey.holds(vip.address) {
                continue;
            }
            let mut taken: Vec<&Listener> = (facts.listeners.iter())
                .filter(|listener| listener.protocol == service.protocol)
                .filter(|listener| covers(listener.address, vip.address))
                .filter(|listener| vip.ports.contains(PortRange::one(listener.port)))
                .collect();
            taken.sort_by_key(|listener| listener.port);
            taken.dedup_by_key(|listener| listener.port);
            let Some(first) = taken.first() else { continue };
            let ports: Vec<String> = taken.iter().map(|one| one.port.to_string()).collect();
            issues.push(Issue {
                severity: Severity::Warning,
                subject: format!("{} {vip}", service.name),
                message: format!(
                    "a server of this host listens on port {} of this address as well",
                    ports.join(", ")
                ),
                effect: "connections from outside go to the backends; that server gets none by this \
                         address any more"
                    .to_owned(),
                remedy: format!(
                    "ss -Hlnp{} 'sport = :{}'   # shows whose it is: stop it, or give it or the vip \
                     another port",
                    if service.protocol == crate::config::Protocol::Tcp {
                        "t"
                    } else {
                        "u"
                    },
                    first.port
                ),
            });
        }
    }
    if facts.services().is_empty() {
        return Judgement::DoesNotApply;
    }
    Judgement::of(issues, "no server of this host listens where a vip does")
}

/// A socket that is bound to this address gets what comes for that one.
fn covers(bound: IpAddr, vip: IpAddr) -> bool {
    match bound {
        IpAddr::V4(bound) => vip.is_ipv4() && (bound.is_unspecified() || IpAddr::V4(bound) == vip),
        // Of all addresses, IPv4 among them unless it says otherwise.
        IpAddr::V6(bound) => bound.is_unspecified() || IpAddr::V6(bound) == vip,
    }
}
