//! Each finding, on a host that is otherwise healthy; and that each has its section in the documentation.

mod host;
mod network;
mod xdp;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use self::host::{CONFIG, finding, findings, healthy};
use super::*;
use crate::{
    cli::doctor::facts::{Daemon, Listener, NoConfig},
    config::{PortRange, Protocol},
    datapath::Bpffs,
    net::survey::Peer,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// `check severity subject`, of what is not well.
fn bad(facts: &Facts) -> Vec<String> {
    (findings(facts).into_iter())
        .filter(|finding| finding.severity != Severity::Ok)
        .map(|finding| {
            format!(
                "{} {} {}",
                finding.check,
                finding.severity.name(),
                finding.subject
            )
        })
        .collect()
}

/// The one finding that is not well, with its remedy.
#[track_caller]
fn only(facts: &Facts, expected: &str) -> Finding {
    assert_eq!(bad(facts), [expected]);
    let check = expected.split(' ').next().expect("a name");
    let finding = finding(facts, check);
    for (what, text) in [("effect", &finding.effect), ("remedy", &finding.remedy)] {
        let text = text.as_deref().unwrap_or_default();
        assert!(!text.is_empty() && !text.contains('\n'), "{what}: {text}");
    }
    finding
}

#[track_caller]
fn remedy(facts: &Facts, expected: &str) -> String {
    only(facts, expected).remedy.expect("there is one")
}

#[test]
fn a_healthy_host_has_nothing_but_passed_checks() {
    assert_eq!(bad(&healthy()), Vec::<String>::new());
    let passed: BTreeSet<&str> = (findings(&healthy()).iter().map(|one| one.check)).collect();
    assert!(passed.len() > 20, "{passed:?}");
}

#[test]
fn without_a_configuration_the_host_is_checked_alone() {
    let mut facts = healthy();
    facts.config = Err(NoConfig::Missing);
    assert_eq!(
        remedy(&facts, "config warning "),
        "divvy init --output /etc/divvy/divvy.yaml"
    );
    facts.config = Err(NoConfig::Wrong("divvy.yaml:3: foo".to_owned()));
    let finding = only(&facts, "config problem ");
    assert!(finding.message.starts_with("divvy.yaml:3: foo"));
    // The interface of the default route is looked at all the same.
    facts.survey.links[1].link.up = false;
    facts.survey.links[1].carrier = false;
    facts.switches.forwarding4 = Some(false);
    let bad = bad(&facts);
    assert!(
        bad.contains(&"forwarding_ipv4 warning ".to_owned()),
        "{bad:?}"
    );
    assert!(
        !bad.iter().any(|one| one.contains("eth0")),
        "a down one is none to use: {bad:?}"
    );
}

#[test]
fn a_daemon_that_is_gone_leaves_packets_to_old_tables() {
    let mut facts = healthy();
    facts.daemon = Daemon::Silent;
    assert!(remedy(&facts, "daemon warning ").starts_with("systemctl start divvy"));
    facts.standing.links.clear();
    facts.survey.links.iter_mut().for_each(|seen| {
        seen.programs.clear();
        seen.link.xdp = None;
    });
    assert_eq!(bad(&facts), Vec::<String>::new());
    facts.daemon = Daemon::Unknown("Permission denied".to_owned());
    only(&facts, "daemon warning ");
}

#[test]
fn old_kernels_and_what_they_lack() {
    let mut facts = healthy();
    for (release, good) in [
        ("6.1.0-18-amd64", true),
        ("6.10", true),
        ("7.0.1", true),
        ("6.0.9", false),
        ("5.15.0-91-generic", false),
    ] {
        facts.kernel.release = release.to_owned();
        assert_eq!(bad(&facts).is_empty(), good, "{release}");
    }
    only(&facts, "kernel_version problem ");
    let mut facts = healthy();
    facts.kernel.btf = false;
    only(&facts, "kernel_btf warning ");
    let mut facts = healthy();
    facts.switches.jit = Some(false);
    assert!(
        remedy(&facts, "kernel_jit warning ").starts_with("sysctl -w net.core.bpf_jit_enable=1")
    );
}

#[test]
fn rights() {
    let mut facts = healthy();
    facts.standing.bpffs = Bpffs::Absent("/run/divvy/bpf".into());
    assert_eq!(bad(&facts), Vec::<String>::new(), "root mounts one");
    facts.kernel.knows_bpffs = false;
    only(&facts, "bpffs problem /run/divvy/bpf");

    let mut facts = healthy();
    facts.process.capabilities.0 = 1 << 12 | 1 << 38 | 1 << 39 | 1 << 13;
    facts.standing.bpffs = Bpffs::Absent("/run/divvy/bpf".into());
    facts.process.is_daemon = false;
    assert!(remedy(&facts, "bpffs problem /run/divvy/bpf").contains("divvy prepare"));

    facts.standing.bpffs = Bpffs::Hidden("/run/divvy/bpf".into());
    facts.process.capabilities.0 = 1 << 12;
    let finding = only(&facts, "capabilities warning ");
    assert!(
        finding.message.ends_with("CAP_PERFMON, CAP_BPF"),
        "{finding:?}"
    );

    // Frames of its own are sent for one-way modes and for announcements.
    let announce = format!("announce: {{ addresses: true }}\n{CONFIG}");
    for yaml in [announce, CONFIG.replace("mode: nat", "mode: dsr")] {
        let mut facts = facts_with_one_port(&yaml);
        facts.process.capabilities.0 = 1 << 12 | 1 << 38 | 1 << 39;
        only(&facts, "raw_sockets warning ");
        facts.process.capabilities.0 |= 1 << 13;
        assert_eq!(bad(&facts), Vec::<String>::new());
    }
}

/// One-way modes keep the port.
fn facts_with_one_port(yaml: &str) -> Facts {
    host::facts(&yaml.replace(":8080", ":80"))
}

#[test]
fn what_may_run_out() {
    let mut facts = healthy();
    facts.process.open_files = Some(200);
    assert!(remedy(&facts, "open_files warning ").starts_with("ulimit -n 259 "));

    let mut facts = healthy();
    facts.memory_available = Some(1 << 20);
    assert_eq!(bad(&facts), Vec::<String>::new(), "the tables are there");
    facts.daemon = Daemon::Silent;
    facts.standing.links.clear();
    facts
        .survey
        .links
        .iter_mut()
        .for_each(|seen| seen.link.xdp = None);
    let said = remedy(&facts, "memory problem ");
    assert!(
        said.contains("{ flows: 131072, half_open: 32768 }"),
        "{said}"
    );

    let mut facts = healthy();
    facts.switches.ephemeral = Some(PortRange {
        first: 30_000,
        last: 60_999,
    });
    facts.switches.reserved = vec![PortRange::one(5_000)];
    assert_eq!(
        remedy(&facts, "source_ports warning snat.ports"),
        "sysctl -w net.ipv4.ip_local_reserved_ports=5000-5000,30000-32767"
    );
    facts.switches.reserved = vec![PortRange {
        first: 29_000,
        last: 33_000,
    }];
    assert_eq!(bad(&facts), Vec::<String>::new());
}

#[test]
fn clocks() {
    let mut facts = healthy();
    facts.clock.source = Some("hpet".to_owned());
    only(&facts, "clock_source warning ");
    let mut facts = healthy();
    facts.clock.synchronised = Some(false);
    only(&facts, "clock_synchronised warning ");
    let mut facts = healthy();
    facts.clock.now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(3_600);
    let finding = only(&facts, "clock_date warning ");
    assert!(finding.message.contains("1970-01-01T01:00:00Z"));
}

#[test]
fn each_check_has_its_section_and_each_section_its_check() {
    let page = include_str!("../../../../../docs/operations.md");
    let (_, rest) = page
        .split_once("\n## What `divvy doctor` finds\n")
        .expect("a part");
    let part = rest.split("\n## ").next().expect("it");
    let sections: Vec<&str> = part
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(sections, names);
}
