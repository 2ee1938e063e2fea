//! What keeps the XDP program off an interface, or out of its driver.

use super::{Issue, Judgement, are};
use crate::{
    cli::doctor::{facts::Facts, finding::Severity},
    config::XdpMode,
    datapath::{Device, ONE_BUFFER},
    net::{links::Xdp, netdev::XdpFeatures, survey::SeenLink},
};

/// The interfaces that are there.
fn present(facts: &Facts) -> Vec<&SeenLink> {
    let names = facts.interfaces();
    let links = facts.survey.links.iter();
    links
        .filter(|seen| names.contains(&seen.link.name))
        .collect()
}

fn names(links: &[&SeenLink]) -> Vec<String> {
    links.iter().map(|seen| seen.link.name.clone()).collect()
}

/// The program is ours, or nobody can say that it is not.
fn is_ours(facts: &Facts, seen: &SeenLink) -> bool {
    let ours = facts.ours(seen.link.ifindex);
    let hidden = matches!(facts.standing.bpffs, crate::datapath::Bpffs::Hidden(_));
    hidden || seen.programs.iter().any(|program| ours.contains(program))
}

fn wanted(facts: &Facts) -> XdpMode {
    let config = facts.config.as_ref();
    config.map_or(XdpMode::Auto, |config| config.xdp)
}

pub(super) fn foreign(facts: &Facts) -> Judgement {
    let present = present(facts);
    if present.is_empty() {
        return Judgement::DoesNotApply;
    }
    let foreign = (present.iter()).filter(|seen| seen.link.xdp.is_some() && !is_ours(facts, seen));
    let issues = foreign.map(|seen| {
        let name = &seen.link.name;
        let programs: Vec<String> = seen.programs.iter().map(u32::to_string).collect();
        let off = match seen.link.xdp {
            Some(Xdp::Generic) => "xdpgeneric off",
            _ => "xdp off",
        };
        Issue {
            severity: Severity::Problem,
            subject: name.clone(),
            message: format!(
                "has the XDP program {} of somebody else",
                programs.join(", ")
            ),
            effect: "`divvy run` cannot attach there, and nothing is balanced".to_owned(),
            remedy: format!(
                "ip link set dev {name} {off}   # refused if a program holds it by a link: end that \
                 program, `bpftool link` shows it"
            ),
        }
    });
    Judgement::of(issues.collect(), "no other XDP program is in the way")
}

pub(super) fn mode(facts: &Facts) -> Judgement {
    let wanted = wanted(facts);
    let present = present(facts);
    if present.is_empty() {
        return Judgement::DoesNotApply;
    }
    let mut attached = 0;
    let mut issues = Vec::new();
    for seen in &present {
        if seen.link.xdp.is_none() || !is_ours(facts, seen) {
            if facts.daemon.runs() && seen.link.xdp.is_none() {
                issues.push(detached(seen));
            } else if wanted != XdpMode::Generic {
                issues.extend(without_native(facts, seen));
            }
            continue;
        }
        attached += 1;
        if seen.link.xdp == Some(Xdp::Generic) && wanted != XdpMode::Generic {
            issues.push(generic(facts, seen));
        }
    }
    let all = names(&present);
    let words = match (wanted, attached) {
        (XdpMode::Generic, _) => {
            "generic mode, as the configuration says: slower than in the driver".to_owned()
        }
        (_, 0) if all.iter().all(|name| facts.features.contains_key(name)) => {
            format!("{} able to run it in the driver", are(&all))
        }
        (_, 0) => "nothing is seen that keeps native mode off; attaching will tell".to_owned(),
        _ => format!("native on {}", all.join(", ")),
    };
    Judgement::of(issues, words)
}

/// The driver has no XDP, as far as the kernel tells.
fn without_native(facts: &Facts, seen: &SeenLink) -> Option<Issue> {
    let name = &seen.link.name;
    if facts.features.get(name)?.native() {
        return None;
    }
    let must = wanted(facts) == XdpMode::Native;
    Some(Issue {
        severity: if must {
            Severity::Problem
        } else {
            Severity::Warning
        },
        subject: name.clone(),
        message: "its driver has no XDP, or not as it is set now".to_owned(),
        effect: if must {
            "with `xdp: native`, `divvy run` ends"
        } else {
            "the program will run in generic mode, which costs much of the speed"
        }
        .to_owned(),
        remedy: "use a network card whose driver has native XDP, or accept it with `xdp: generic`"
            .to_owned(),
    })
}

/// Whether frames get out that programs of other interfaces redirect there; on a veth also its own.
pub(super) fn redirect(facts: &Facts) -> Judgement {
    let native: Vec<&SeenLink> = (present(facts).into_iter())
        .filter(|seen| seen.link.xdp == Some(Xdp::Native) && is_ours(facts, seen))
        .filter(|seen| facts.features.contains_key(&seen.link.name))
        .collect();
    if native.len() < 2 && !native.iter().any(|seen| seen.link.veth) {
        return Judgement::DoesNotApply;
    }
    let sends = |seen: &SeenLink| {
        let features = facts.features.get(&seen.link.name);
        features.is_none_or(|features| features.sends_redirected())
    };
    let bad = native.iter().filter(|seen| !sends(seen));
    let issues = bad.map(|seen| Issue {
        severity: Severity::Problem,
        subject: seen.link.name.clone(),
        message: "does not send what is redirected to it by XDP".to_owned(),
        effect: "packets that are to leave by it are lost".to_owned(),
        remedy: if seen.link.veth {
            "on the other end of this veth pair: ethtool -K NAME gro on".to_owned()
        } else {
            "use a card whose driver sends redirected frames, or `xdp: generic`".to_owned()
        },
    });
    let all = are(&names(&native));
    Judgement::of(
        issues.collect(),
        format!("{all} able to send redirected frames"),
    )
}

/// A program that is there stays in its mode until the configuration rules it out.
fn generic(facts: &Facts, seen: &SeenLink) -> Issue {
    let name = &seen.link.name;
    let features = facts.features.get(name).copied();
    let device = facts.devices.get(name);
    let obstacles = device.map_or_else(Vec::new, |device| obstacles(device, features));
    let driver = device.map_or("", |device| device.driver.as_str());
    let file = facts.file.display();
    let anew = format!("write `xdp: native` in {file}, then: divvy reload");
    Issue {
        severity: Severity::Warning,
        subject: name.clone(),
        message: "the program runs in generic mode: the driver refused it when it was attached"
            .to_owned(),
        effect:
            "all works, but each packet first goes through the kernel's stack, which costs much \
                 of the speed"
                .to_owned(),
        remedy: if !obstacles.is_empty() {
            let commands: Vec<String> = (obstacles.iter())
                .map(|obstacle| obstacle.remedy(name))
                .collect();
            format!("{}   # and {anew}", commands.join(" && "))
        } else if features.is_some_and(XdpFeatures::native) {
            anew
        } else {
            format!(
                "use a network card whose driver has native XDP ({} may not), or accept it with `xdp: \
                 generic`",
                if driver.is_empty() {
                    "this one"
                } else {
                    driver
                }
            )
        },
    }
}

fn detached(seen: &SeenLink) -> Issue {
    Issue {
        severity: Severity::Problem,
        subject: seen.link.name.clone(),
        message: "the daemon runs, and its program is not on this interface".to_owned(),
        effect: "packets that come by it are not balanced".to_owned(),
        remedy: "divvy reload   # if the interface is new; the daemon's log tells what failed"
            .to_owned(),
    }
}

/// A setting by which drivers refuse XDP.
enum Obstacle {
    Lro,
    GroHw,
    LongFrames(u32),
}

impl Obstacle {
    fn remedy(&self, name: &str) -> String {
        match self {
            Self::Lro => format!("ethtool -K {name} lro off"),
            Self::GroHw => format!("ethtool -K {name} rx-gro-hw off"),
            Self::LongFrames(_) => format!("ip link set dev {name} mtu {ONE_BUFFER}"),
        }
    }
}

fn obstacles(device: &Device, features: Option<XdpFeatures>) -> Vec<Obstacle> {
    let mut all = Vec::new();
    if device.lro {
        all.push(Obstacle::Lro);
    }
    if device.gro_hw {
        all.push(Obstacle::GroHw);
    }
    let several = features.is_some_and(XdpFeatures::several_buffers);
    // A veth takes any length, as long as its peer's is not more than a page.
    if device.mtu > ONE_BUFFER && device.driver != "veth" && !several {
        all.push(Obstacle::LongFrames(device.mtu));
    }
    all
}

/// What stands in the way of native mode where the program is not there yet, as far as it is wanted.
fn in_the_way(
    facts: &Facts,
    words: impl Fn(&Obstacle) -> Option<(String, bool)>,
    passed: &str,
) -> Judgement {
    let wanted = wanted(facts);
    let present = present(facts);
    if present.is_empty() || wanted == XdpMode::Generic {
        return Judgement::DoesNotApply;
    }
    let mut issues = Vec::new();
    for seen in &present {
        let name = &seen.link.name;
        // The driver has taken it, or its refusal is told of already.
        if seen.link.xdp.is_some() && is_ours(facts, seen) {
            continue;
        }
        let Some(device) = facts.devices.get(name) else {
            continue;
        };
        for obstacle in obstacles(device, facts.features.get(name).copied()) {
            let Some((message, certain)) = words(&obstacle) else {
                continue;
            };
            let refused = if certain { "refuses" } else { "may refuse" };
            let native = wanted == XdpMode::Native;
            issues.push(Issue {
                severity: if native && certain {
                    Severity::Problem
                } else {
                    Severity::Warning
                },
                subject: name.clone(),
                message,
                effect: format!(
                    "the driver {refused} XDP in native mode: {}",
                    if native {
                        "with `xdp: native`, `divvy run` ends then"
                    } else {
                        "generic mode is slower"
                    }
                ),
                remedy: obstacle.remedy(name),
            });
        }
    }
    Judgement::of(issues, passed)
}

pub(super) fn offloads(facts: &Facts) -> Judgement {
    let words = |obstacle: &Obstacle| match obstacle {
        Obstacle::Lro => Some(("large receive offload is on".to_owned(), true)),
        Obstacle::GroHw => Some(("GRO in hardware is on".to_owned(), true)),
        Obstacle::LongFrames(_) => None,
    };
    let passed = "no offload is on that keeps XDP out of the driver";
    in_the_way(facts, words, passed)
}

pub(super) fn mtu(facts: &Facts) -> Judgement {
    let words = |obstacle: &Obstacle| match obstacle {
        Obstacle::LongFrames(mtu) => Some((
            format!(
                "has an MTU of {mtu}, more than {ONE_BUFFER}: such frames take several buffers"
            ),
            false,
        )),
        _ => None,
    };
    in_the_way(facts, words, "frames fit what drivers take with XDP")
}
