//! A healthy host: clients by `eth0`, backends by `eth1`, a daemon that runs.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{Facts, Finding, ip, judge};
use crate::{
    cli::{
        capabilities::Capabilities,
        doctor::facts::{Clock, Daemon, Kernel, Process, Switches},
    },
    config::{self, PortRange},
    datapath::{Bpffs, Device, Standing},
    net::{
        SeenAddress,
        links::Xdp,
        netdev::XdpFeatures,
        survey::{Peer, SeenLink, Survey, Way},
    },
};

pub(super) const CONFIG: &str = r#"interfaces: [eth0, eth1]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    mode: nat
    backends:
      - { name: web-1, address: "10.0.1.2:8080" }
      - { name: web-2, address: "10.0.1.3:8080" }
  - name: web6
    listen: ["[2001:db8::10]:80"]
    backends: [ { name: web-1, address: "[fd00:1::2]:80" } ]
"#;

/// Number of the program on both interfaces.
pub(super) const PROGRAM: u32 = 77;

pub(super) fn healthy() -> Facts {
    facts(CONFIG)
}

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    judge(facts)
}

/// The first of a check.
pub(super) fn finding(facts: &Facts, check: &str) -> Finding {
    let all = judge(facts);
    let found = all.into_iter().find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("no {check}"))
}

pub(super) fn way(ifindex: u32, peer: Peer) -> Result<Way, String> {
    Ok(Way {
        ifindex,
        source: ip("10.0.1.1"),
        gateway: None,
        mtu: None,
        peer,
    })
}

fn link(ifindex: u32, name: &str) -> SeenLink {
    let mut seen = SeenLink::plain(ifindex, name);
    if name != "lo" {
        seen.link.xdp = Some(Xdp::Native);
        seen.programs = vec![PROGRAM];
    }
    seen
}

pub(super) fn facts(yaml: &str) -> Facts {
    let config = config::parse(yaml, "divvy.yaml").expect("valid");
    let own = |address, length, ifindex| SeenAddress {
        address: ip(address),
        length,
        ifindex,
        announced: false,
    };
    let mut ways = BTreeMap::new();
    for service in &config.services {
        for backend in &service.backends {
            ways.insert(backend.address.ip(), way(3, Peer::Known));
        }
    }
    let device = |name: &str| {
        let device = Device {
            mtu: 1500,
            driver: "ixgbe".to_owned(),
            receive_queues: Some(4),
            ..Device::default()
        };
        (name.to_owned(), device)
    };
    let each = |value| BTreeMap::from(["eth0", "eth1"].map(|name| (name.to_owned(), value)));
    Facts {
        file: "/etc/divvy/divvy.yaml".into(),
        run_dir: "/run/divvy".into(),
        config: Ok(config),
        daemon: Daemon::Runs("0.1.0".to_owned()),
        standing: Standing {
            bpffs: Bpffs::Mounted("/run/divvy/bpf".into()),
            links: vec![(2, PROGRAM), (3, PROGRAM)],
        },
        survey: Survey {
            links: vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1")],
            addresses: vec![
                own("10.0.0.1", 24, 2),
                own("10.0.1.1", 24, 3),
                own("fd00:1::1", 64, 3),
            ],
            defaults: vec![2],
            ways,
        },
        devices: BTreeMap::from([device("eth0"), device("eth1")]),
        features: BTreeMap::from(["eth0", "eth1"].map(|name| {
            // Native, and takes what is redirected to it.
            (name.to_owned(), XdpFeatures::from_bits(7))
        })),
        switches: Switches {
            forwarding4: Some(true),
            forwarding6: Some(true),
            forwards4: BTreeMap::from(["eth0", "eth1"].map(|name| (name.to_owned(), true))),
            rp_filter: each(0),
            ephemeral: Some(PortRange {
                first: 32_768,
                last: 60_999,
            }),
            reserved: Vec::new(),
            jit: Some(true),
        },
        kernel: Kernel {
            release: "6.1.0-18-amd64".to_owned(),
            btf: true,
            knows_bpffs: true,
            processors: 4,
        },
        process: Process {
            is_daemon: true,
            capabilities: Capabilities(u64::MAX),
            open_files: Some(65_536),
        },
        memory_available: Some(8 << 30),
        listeners: Vec::new(),
        clock: Clock {
            source: Some("tsc".to_owned()),
            synchronised: Some(true),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        },
    }
}
