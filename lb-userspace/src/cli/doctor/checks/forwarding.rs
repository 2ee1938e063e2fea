//! What the kernel has to do for the program now and then: forward.

use super::{Issue, Judgement, are};
use crate::{
    cli::doctor::{facts::Facts, finding::Severity},
    config::Mode,
};

pub(super) fn ipv4(facts: &Facts) -> Judgement {
    if !concerns(facts, true) {
        return Judgement::DoesNotApply;
    }
    let mut issues = Vec::new();
    match facts.switches.forwarding4 {
        None => return Judgement::DoesNotApply,
        Some(false) => issues.push(off(facts, true, "net.ipv4.ip_forward")),
        Some(true) => {
            for name in facts.interfaces() {
                if facts.switches.forwards4.get(&name) == Some(&false) {
                    let key = format!("net/ipv4/conf/{name}/forwarding");
                    issues.push(Issue {
                        subject: name.clone(),
                        ..off(facts, true, &key)
                    });
                }
            }
        }
    }
    Judgement::of(issues, "the kernel forwards IPv4")
}

pub(super) fn ipv6(facts: &Facts) -> Judgement {
    if !concerns(facts, false) {
        return Judgement::DoesNotApply;
    }
    match facts.switches.forwarding6 {
        None => Judgement::DoesNotApply,
        Some(true) => Judgement::Passed("the kernel forwards IPv6".to_owned()),
        Some(false) => Judgement::Found(vec![off(facts, false, "net.ipv6.conf.all.forwarding")]),
    }
}

/// Without a configuration IPv4 is what most have.
fn concerns(facts: &Facts, v4: bool) -> bool {
    let mut backends = facts
        .services()
        .iter()
        .flat_map(|service| &service.backends);
    match &facts.config {
        Ok(_) => backends.any(|backend| backend.address.is_ipv4() == v4),
        Err(_) => v4,
    }
}

fn off(facts: &Facts, v4: bool, key: &str) -> Issue {
    let routes = (facts.services().iter()).any(|service| {
        let mut backends = service.backends.iter();
        service.mode == Mode::Route && backends.any(|backend| backend.address.is_ipv4() == v4)
    });
    Issue {
        severity: if routes {
            Severity::Problem
        } else {
            Severity::Warning
        },
        subject: String::new(),
        message: format!("{key} is 0: the kernel does not forward"),
        effect: if routes {
            "what backends of mode `route` send on their own is lost here, and so is a packet for a \
             backend whose MAC address is not known at that moment"
        } else {
            "a packet for a backend whose MAC address is not known at that moment is lost, and so is \
             one that would have to be fragmented"
        }
        .to_owned(),
        remedy: format!("sysctl -w {key}=1"),
    }
}

/// A strict filter takes what the kernel is to forward for us for spoofed: its source, rewritten or the
/// client's, is not behind the interface that the packet came by.
pub(super) fn rp_filter(facts: &Facts) -> Judgement {
    let names = facts.interfaces();
    if names.is_empty() || facts.switches.rp_filter.is_empty() {
        return Judgement::DoesNotApply;
    }
    let strict = |name: &&String| facts.switches.rp_filter.get(*name) == Some(&1);
    let several = names.len() > 1;
    let issues = names.iter().filter(strict).filter(|_| several);
    let issues = issues.map(|name| Issue {
        severity: Severity::Warning,
        subject: name.clone(),
        message: "its reverse path filter is strict (rp_filter 1)".to_owned(),
        effect:
            "a rewritten packet that the kernel is to forward is dropped as spoofed: its source \
                 is behind another interface"
                .to_owned(),
        remedy: format!("sysctl -w net/ipv4/conf/{name}/rp_filter=2"),
    });
    let words = if several {
        format!("no reverse path filter of {} strict", are(&names))
    } else {
        "one interface: its reverse path filter is not in the way".to_owned()
    };
    Judgement::of(issues.collect(), words)
}
