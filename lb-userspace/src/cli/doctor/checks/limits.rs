//! What may run out.

use super::{Issue, Judgement};
use crate::{
    cli::doctor::{facts::Facts, finding::Severity},
    config::{Mode, PortRange},
    datapath::Capacity,
};

/// Files that a daemon has open beside its probes: the API's 128 connections, metrics, tables, and some.
const OTHER_FILES: u64 = 256;

pub(super) fn open_files(facts: &Facts) -> Judgement {
    let Some(limit) = facts.process.open_files else {
        return Judgement::DoesNotApply;
    };
    let backends: usize = (facts.services().iter())
        .map(|service| service.backends.len())
        .sum();
    // Each probe has a socket of its own, and all may be under way at the same time.
    let needed = backends as u64 + OTHER_FILES;
    if limit >= needed {
        return Judgement::Passed(format!(
            "{limit} open files are allowed, {needed} are enough"
        ));
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: String::new(),
        message: format!("{limit} open files are allowed, and {needed} may be needed"),
        effect: "probes fail when there are no more, and healthy backends count as down".to_owned(),
        remedy: format!(
            "ulimit -n {needed}   # or LimitNOFILE={needed} in the unit; then start again"
        ),
    }])
}

pub(super) fn memory(facts: &Facts) -> Judgement {
    let (Ok(config), Some(available)) = (&facts.config, facts.memory_available) else {
        return Judgement::DoesNotApply;
    };
    if facts.daemon.runs() || facts.attached() {
        return Judgement::Passed("the tables have their memory".to_owned());
    }
    let limits = config.limits;
    let needed =
        Capacity::for_limits(limits.flows, limits.half_open).memory(facts.kernel.processors);
    let mib = |bytes: u64| bytes >> 20;
    if needed <= available {
        return Judgement::Passed(format!(
            "the tables take {} MiB, {} MiB are free",
            mib(needed),
            mib(available)
        ));
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Problem,
        subject: String::new(),
        message: format!(
            "the tables for {} flows take {} MiB, and {} MiB are free",
            limits.flows,
            mib(needed),
            mib(available)
        ),
        effect: "`divvy run` does not start, or other programs of this host are ended for it"
            .to_owned(),
        remedy: format!(
            "write fewer in `limits`: {{ flows: {}, half_open: {} }}, or give the host more",
            half(limits.flows),
            half(limits.half_open)
        ),
    }])
}

fn half(limit: u32) -> u32 {
    (limit / 2).max(64)
}

/// Ports that both a balanced flow and a connection of the host itself may get.
pub(super) fn source_ports(facts: &Facts) -> Judgement {
    let Ok(config) = &facts.config else {
        return Judgement::DoesNotApply;
    };
    let nat = (config.services.iter()).any(|service| service.mode == Mode::Nat);
    let (true, Some(ephemeral)) = (nat, facts.switches.ephemeral) else {
        return Judgement::DoesNotApply;
    };
    let ours = config.snat.ports;
    let meets = PortRange {
        first: ours.first.max(ephemeral.first),
        last: ours.last.min(ephemeral.last),
    };
    let reserved = (facts.switches.reserved.iter()).any(|range| range.contains(meets));
    if meets.first > meets.last || reserved {
        return Judgement::Passed(format!(
            "ports {}-{} are clear of those of the host's own connections",
            ours.first, ours.last
        ));
    }
    let mut reserved: Vec<String> = (facts.switches.reserved.iter())
        .map(|range| format!("{}-{}", range.first, range.last))
        .collect();
    reserved.push(format!("{}-{}", meets.first, meets.last));
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: "snat.ports".to_owned(),
        message: format!(
            "ports {}-{} are also those of the host's own connections ({}-{})",
            meets.first, meets.last, ephemeral.first, ephemeral.last
        ),
        effect:
            "a connection of this host to a backend may get the ports of a balanced one, and then \
                 both break"
                .to_owned(),
        remedy: format!(
            "sysctl -w net.ipv4.ip_local_reserved_ports={}",
            reserved.join(",")
        ),
    }])
}
