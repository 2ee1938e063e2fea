//! The interfaces themselves.

use super::{Issue, Judgement, are};
use crate::{
    cli::doctor::{facts::Facts, finding::Severity},
    net::survey::candidates,
};

pub(super) fn missing(facts: &Facts) -> Judgement {
    let interfaces = facts.interfaces();
    if interfaces.is_empty() {
        return Judgement::Found(vec![Issue {
            severity: Severity::Problem,
            subject: String::new(),
            message: "this host has no interface that packets could come by".to_owned(),
            effect: "there is nothing to balance on".to_owned(),
            remedy: "ip link   # shows what there is: bring one up".to_owned(),
        }]);
    }
    let usable: Vec<String> = (candidates(&facts.survey).into_iter())
        .filter(|candidate| candidate.left_out.is_none())
        .map(|candidate| candidate.name)
        .collect();
    let missing = (interfaces.iter()).filter(|name| facts.survey.link(name).is_none());
    let issues = missing.map(|name| {
        let near = (usable.iter())
            .map(|other| (strsim::damerau_levenshtein(name, other), other))
            .min()
            .filter(|(distance, _)| *distance <= 2);
        Issue {
            severity: Severity::Problem,
            subject: name.clone(),
            message: "this interface does not exist".to_owned(),
            effect: "`divvy run` does not start; a daemon that runs serves the others only"
                .to_owned(),
            remedy: match near {
                Some((_, near)) => format!("write {near} in place of {name} in `interfaces`"),
                None => format!(
                    "write one that there is in `interfaces`: {}",
                    usable.join(", ")
                ),
            },
        }
    });
    Judgement::of(issues.collect(), format!("{} there", are(&interfaces)))
}

pub(super) fn down(facts: &Facts) -> Judgement {
    let present: Vec<_> = (facts.interfaces().iter())
        .filter_map(|name| facts.survey.link(name))
        .cloned()
        .collect();
    if present.is_empty() {
        return Judgement::DoesNotApply;
    }
    let bad = (present.iter()).filter(|seen| !seen.link.up || !seen.carrier);
    let issues = bad.map(|seen| {
        let name = &seen.link.name;
        let (message, remedy) = if seen.link.up {
            (
                "has no carrier: its cable, or what is at the other end, is off",
                format!("ethtool {name}   # tells of the link; plug it in, or bring the peer up"),
            )
        } else {
            ("is down", format!("ip link set dev {name} up"))
        };
        Issue {
            severity: Severity::Problem,
            subject: name.clone(),
            message: message.to_owned(),
            effect: "no packet comes or goes by it".to_owned(),
            remedy,
        }
    });
    let names: Vec<String> = present.iter().map(|seen| seen.link.name.clone()).collect();
    Judgement::of(issues.collect(), format!("{} up", are(&names)))
}

/// Only where somebody uses tags on the interface: nobody else misses them.
pub(super) fn vlan_offload(facts: &Facts) -> Judgement {
    let mut tagged = Vec::new();
    let mut issues = Vec::new();
    for name in facts.interfaces() {
        let Some(seen) = facts.survey.link(&name) else {
            continue;
        };
        let vlans: Vec<&str> = (facts.survey.links.iter())
            .filter(|other| other.kind == "vlan" && other.parent == Some(seen.link.ifindex))
            .map(|other| other.link.name.as_str())
            .collect();
        if vlans.is_empty() {
            continue;
        }
        if facts
            .devices
            .get(&name)
            .is_some_and(|device| device.rx_vlan)
        {
            issues.push(Issue {
                severity: Severity::Problem,
                subject: name.clone(),
                message: format!(
                    "carries the VLANs {}, and takes their tags off before XDP sees a packet",
                    vlans.join(", ")
                ),
                effect: "what is balanced leaves without its tag, into the wrong network"
                    .to_owned(),
                remedy: format!("ethtool -K {name} rxvlan off"),
            });
        }
        tagged.push(name);
    }
    if tagged.is_empty() {
        return Judgement::DoesNotApply;
    }
    Judgement::of(
        issues,
        format!("VLAN tags on {} left in the frames", are(&tagged)),
    )
}
