//! Drivers, offloads and programs of others.

use super::{
    bad,
    host::{self, CONFIG, PROGRAM, healthy},
    only, remedy,
};
use crate::{
    cli::doctor::facts::{Daemon, Facts},
    net::{links::Xdp, netdev::XdpFeatures},
};

/// The daemon has not been started yet.
fn before(yaml: &str) -> Facts {
    let mut facts = host::facts(yaml);
    facts.daemon = Daemon::Silent;
    facts.standing.links.clear();
    for seen in &mut facts.survey.links {
        seen.link.xdp = None;
        seen.programs.clear();
    }
    facts
}

#[test]
fn a_program_of_somebody_else() {
    for (xdp, off) in [(Xdp::Native, "xdp off"), (Xdp::Generic, "xdpgeneric off")] {
        let mut facts = before(CONFIG);
        facts.survey.links[2].link.xdp = Some(xdp);
        facts.survey.links[2].programs = vec![5];
        let said = remedy(&facts, "xdp_program problem eth1");
        assert!(
            said.starts_with(&format!("ip link set dev eth1 {off} ")),
            "{said}"
        );
    }
}

#[test]
fn generic_mode_is_told_where_it_was_not_asked_for() {
    let mut facts = healthy();
    facts.survey.links[2].link.xdp = Some(Xdp::Generic);
    let said = remedy(&facts, "xdp_mode warning eth1");
    assert!(said.starts_with("write `xdp: native` in /etc/divvy/divvy.yaml, then: divvy reload"));
    facts.features.clear();
    let said = remedy(&facts, "xdp_mode warning eth1");
    assert!(
        said.contains("ixgbe") && said.contains("`xdp: generic`"),
        "{said}"
    );
    facts.devices.get_mut("eth1").expect("known").lro = true;
    let said = remedy(&facts, "xdp_mode warning eth1");
    assert!(said.starts_with("ethtool -K eth1 lro off "), "{said}");
    let mut facts = host::facts(&format!("xdp: generic\n{CONFIG}"));
    facts.survey.links[2].link.xdp = Some(Xdp::Generic);
    assert_eq!(bad(&facts), Vec::<String>::new());
}

#[test]
fn a_program_that_was_taken_off_under_the_daemon() {
    let mut facts = healthy();
    facts.survey.links[2].link.xdp = None;
    facts.survey.links[2].programs.clear();
    only(&facts, "xdp_mode problem eth1");
}

#[test]
fn drivers_without_xdp_are_known_before() {
    let without = |yaml: &str| {
        let mut facts = before(yaml);
        let none = XdpFeatures::default();
        facts.features.insert("eth1".to_owned(), none);
        facts
    };
    only(&without(CONFIG), "xdp_mode warning eth1");
    only(
        &without(&format!("xdp: native\n{CONFIG}")),
        "xdp_mode problem eth1",
    );
    assert_eq!(
        bad(&without(&format!("xdp: generic\n{CONFIG}"))),
        Vec::<String>::new()
    );
}

#[test]
fn frames_that_are_redirected_get_out() {
    let mut facts = healthy();
    facts
        .features
        .insert("eth1".to_owned(), XdpFeatures::from_bits(1));
    only(&facts, "xdp_redirect problem eth1");
    facts.survey.links[2].link.veth = true;
    assert!(remedy(&facts, "xdp_redirect problem eth1").ends_with("ethtool -K NAME gro on"));
    // In generic mode frames leave by the kernel's queues.
    facts.survey.links[2].link.xdp = Some(Xdp::Generic);
    assert!(
        !bad(&facts)
            .iter()
            .any(|one| one.starts_with("xdp_redirect"))
    );
}

#[test]
fn what_drivers_refuse_xdp_for() {
    let mut facts = before(CONFIG);
    facts.devices.get_mut("eth1").expect("known").lro = true;
    assert_eq!(
        remedy(&facts, "receive_offloads warning eth1"),
        "ethtool -K eth1 lro off"
    );
    let mut facts = before(&format!("xdp: native\n{CONFIG}"));
    facts.devices.get_mut("eth1").expect("known").gro_hw = true;
    assert_eq!(
        remedy(&facts, "receive_offloads problem eth1"),
        "ethtool -K eth1 rx-gro-hw off"
    );
    let mut facts = before(CONFIG);
    facts.devices.get_mut("eth1").expect("known").mtu = 9_000;
    assert_eq!(
        remedy(&facts, "interface_mtu warning eth1"),
        "ip link set dev eth1 mtu 3498"
    );
    // The driver has taken the program with all that.
    let mut facts = healthy();
    let device = facts.devices.get_mut("eth1").expect("known");
    (device.lro, device.gro_hw, device.mtu) = (true, true, 9_000);
    assert_eq!(bad(&facts), Vec::<String>::new());
    // And generic mode does not mind.
    let mut facts = before(&format!("xdp: generic\n{CONFIG}"));
    facts.devices.get_mut("eth1").expect("known").lro = true;
    assert_eq!(bad(&facts), Vec::<String>::new());
}

#[test]
fn tags_are_missed_only_by_those_who_use_them() {
    let mut facts = healthy();
    facts.devices.get_mut("eth1").expect("known").rx_vlan = true;
    assert_eq!(bad(&facts), Vec::<String>::new());
    let mut vlan = facts.survey.links[2].clone();
    vlan.link.name = "eth1.100".to_owned();
    vlan.link.ifindex = 9;
    vlan.kind = "vlan".to_owned();
    vlan.parent = Some(3);
    vlan.programs = vec![PROGRAM];
    facts.survey.links.push(vlan);
    assert_eq!(
        remedy(&facts, "vlan_offload problem eth1"),
        "ethtool -K eth1 rxvlan off"
    );
}
