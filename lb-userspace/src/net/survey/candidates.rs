//! Which interfaces a balancer would use. Pure.

use super::{SeenLink, Survey};

/// An interface, and whether packets of clients and backends are likely to come by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    /// Why it is left out, in words; `None` for one to use.
    pub left_out: Option<String>,
}

/// All interfaces: those to use first, of these the default route's first, and then by index.
#[must_use]
pub fn candidates(survey: &Survey) -> Vec<Candidate> {
    let mut links: Vec<&SeenLink> = survey.links.iter().collect();
    let rank = |seen: &SeenLink| {
        let default = (survey.defaults.iter()).position(|index| *index == seen.link.ifindex);
        (
            left_out(survey, seen).is_some(),
            default.unwrap_or(usize::MAX),
            seen.link.ifindex,
        )
    };
    links.sort_by_key(|seen| rank(seen));
    (links.into_iter())
        .map(|seen| Candidate {
            name: seen.link.name.clone(),
            left_out: left_out(survey, seen),
        })
        .collect()
}

fn left_out(survey: &Survey, seen: &SeenLink) -> Option<String> {
    let name = seen.link.name.as_str();
    if name == "lo" {
        return Some("loopback".to_owned());
    }
    if let Some(controller) = seen.controller {
        let controller = survey.name(controller);
        return Some(format!(
            "a port of {controller}: write it in place of {controller} if clients come by it"
        ));
    }
    let of_containers = [
        "docker", "br-", "veth", "cni", "virbr", "lxc", "lxd", "podman",
    ];
    if of_containers.iter().any(|start| name.starts_with(start)) {
        return Some("of containers or virtual machines".to_owned());
    }
    match seen.kind.as_str() {
        // A card's own, a container's own end, and what stands for several cards.
        "" | "veth" | "bond" | "team" | "macvlan" | "ipvlan" | "vlan" => {}
        kind => return Some(format!("of the kind {kind}")),
    }
    if !seen.link.resolves {
        return Some("no Ethernet".to_owned());
    }
    if !seen.link.up {
        return Some("down".to_owned());
    }
    None
}
