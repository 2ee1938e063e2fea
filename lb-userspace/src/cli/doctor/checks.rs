//! The checks: each has a name and a theme, and judges what was read of the host. Pure.

mod backends;
mod clock;
mod forwarding;
mod interfaces;
mod kernel;
mod limits;
mod mtu;
mod setup;
mod vips;
mod xdp;

use super::{
    facts::Facts,
    finding::{Finding, Severity, Theme},
};

/// One check.
struct Check {
    /// As in messages, JSON and the headings of docs/operations.md.
    name: &'static str,
    theme: Theme,
    judge: fn(&Facts) -> Judgement,
}

const fn check(name: &'static str, theme: Theme, judge: fn(&Facts) -> Judgement) -> Check {
    Check { name, theme, judge }
}

/// All of them, in the order in which they are told.
const CHECKS: &[Check] = &[
    check("config", Theme::Setup, setup::config),
    check("daemon", Theme::Setup, setup::daemon),
    check("kernel_version", Theme::Kernel, kernel::version),
    check("kernel_btf", Theme::Kernel, kernel::btf),
    check("kernel_jit", Theme::Kernel, kernel::jit),
    check("bpffs", Theme::Kernel, kernel::bpffs),
    check("capabilities", Theme::Kernel, kernel::capabilities),
    check("raw_sockets", Theme::Kernel, kernel::raw_sockets),
    check("interface_missing", Theme::Interfaces, interfaces::missing),
    check("interface_down", Theme::Interfaces, interfaces::down),
    check("xdp_program", Theme::Interfaces, xdp::foreign),
    check("xdp_mode", Theme::Interfaces, xdp::mode),
    check("xdp_redirect", Theme::Interfaces, xdp::redirect),
    check("receive_offloads", Theme::Interfaces, xdp::offloads),
    check("interface_mtu", Theme::Interfaces, xdp::mtu),
    check("vlan_offload", Theme::Interfaces, interfaces::vlan_offload),
    check("forwarding_ipv4", Theme::Forwarding, forwarding::ipv4),
    check("forwarding_ipv6", Theme::Forwarding, forwarding::ipv6),
    check("rp_filter", Theme::Forwarding, forwarding::rp_filter),
    check("path_mtu", Theme::Mtu, mtu::paths),
    check("backend_route", Theme::Backends, backends::route),
    check(
        "backend_own_address",
        Theme::Backends,
        backends::own_address,
    ),
    check("backend_interface", Theme::Backends, backends::interface),
    check("backend_router", Theme::Backends, backends::router),
    check("backend_neighbour", Theme::Backends, backends::neighbour),
    check("vip_address", Theme::Vips, vips::address),
    check("vip_local_server", Theme::Vips, vips::local_server),
    check("open_files", Theme::Limits, limits::open_files),
    check("memory", Theme::Limits, limits::memory),
    check("source_ports", Theme::Limits, limits::source_ports),
    check("clock_source", Theme::Clock, clock::source),
    check("clock_synchronised", Theme::Clock, clock::synchronised),
    check("clock_date", Theme::Clock, clock::date),
];

/// What one check says.
#[derive(Debug)]
enum Judgement {
    /// There is nothing here that it could be about.
    DoesNotApply,
    Passed(String),
    /// At least one.
    Found(Vec<Issue>),
}

/// Something that is not as it should be.
#[derive(Debug)]
struct Issue {
    severity: Severity,
    subject: String,
    message: String,
    effect: String,
    remedy: String,
}

impl Judgement {
    /// What was found, or that all is well.
    fn of(issues: Vec<Issue>, passed: impl Into<String>) -> Self {
        if issues.is_empty() {
            Self::Passed(passed.into())
        } else {
            Self::Found(issues)
        }
    }
}

/// What all checks find.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let judged = CHECKS.iter().map(|check| (check, (check.judge)(facts)));
    judged
        .flat_map(|(check, judgement)| match judgement {
            Judgement::DoesNotApply => Vec::new(),
            Judgement::Passed(message) => vec![Finding {
                check: check.name,
                theme: check.theme,
                severity: Severity::Ok,
                subject: String::new(),
                message,
                effect: None,
                remedy: None,
            }],
            Judgement::Found(issues) => (issues.into_iter())
                .map(|issue| Finding {
                    check: check.name,
                    theme: check.theme,
                    severity: issue.severity,
                    subject: issue.subject,
                    message: issue.message,
                    effect: Some(issue.effect),
                    remedy: Some(issue.remedy),
                })
                .collect(),
        })
        .collect()
}

/// `eth0 is`, `eth0 and eth1 are`.
fn are(names: &[String]) -> String {
    match names {
        [one] => format!("{one} is"),
        [most @ .., last] => format!("{} and {last} are", most.join(", ")),
        [] => "none is".to_owned(),
    }
}

/// `1 backend`, `2 backends`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
