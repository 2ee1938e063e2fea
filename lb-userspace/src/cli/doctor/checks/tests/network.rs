//! What the network of the host is like: interfaces, forwarding, sizes, ways, vips.

use super::*;

#[test]
fn interfaces_that_are_missing_or_down() {
    let mut facts = healthy();
    facts.survey.links[1].link.up = false;
    assert_eq!(
        remedy(&facts, "interface_down problem eth0"),
        "ip link set dev eth0 up"
    );
    let mut facts = healthy();
    facts.survey.links[1].carrier = false;
    only(&facts, "interface_down problem eth0");
    let facts = host::facts(&CONFIG.replace("[eth0, eth1]", "[eth0, eth1, ehto]"));
    let said = remedy(&facts, "interface_missing problem ehto");
    assert!(said.starts_with("write eth0 in place of ehto"), "{said}");
}

#[test]
fn forwarding_and_filters() {
    let mut facts = healthy();
    facts.switches.forwarding4 = Some(false);
    assert_eq!(
        remedy(&facts, "forwarding_ipv4 warning "),
        "sysctl -w net.ipv4.ip_forward=1"
    );
    let mut facts = healthy();
    facts.switches.forwards4.insert("eth1".to_owned(), false);
    assert_eq!(
        remedy(&facts, "forwarding_ipv4 warning eth1"),
        "sysctl -w net/ipv4/conf/eth1/forwarding=1"
    );
    let mut facts = healthy();
    facts.switches.forwarding6 = Some(false);
    only(&facts, "forwarding_ipv6 warning ");
    let mut facts = host::facts(&CONFIG.replace("mode: nat", "mode: route"));
    facts.switches.forwarding4 = Some(false);
    only(&facts, "forwarding_ipv4 problem ");

    let mut facts = healthy();
    facts.switches.rp_filter.insert("eth1".to_owned(), 1);
    assert_eq!(
        remedy(&facts, "rp_filter warning eth1"),
        "sysctl -w net/ipv4/conf/eth1/rp_filter=2"
    );
    facts.switches.rp_filter.insert("eth1".to_owned(), 2);
    assert_eq!(bad(&facts), Vec::<String>::new());
}

#[test]
fn bytes_that_lack_are_counted() {
    // What a mode adds to a packet, by the families of vip and backend.
    let cases = [
        ("mode: nat", 0, 20),
        ("mode: ipip", 20, 40),
        ("mode: gue", 32, 52),
        ("mode: gue\n    tunnel: { variant: 1 }", 28, 48),
    ];
    for (mode, v4, v6) in cases {
        let facts = facts_with_one_port(&CONFIG.replace("mode: nat", mode));
        let service = &facts.services()[0];
        assert_eq!(mtu::added(service, true, ip("10.0.1.2")), v4, "{mode}");
        assert_eq!(mtu::added(service, true, ip("fd00::2")), v6, "{mode}");
    }
    let mut facts = facts_with_one_port(&CONFIG.replace("mode: nat", "mode: ipip"));
    let finding = only(&facts, "path_mtu warning web/web-1 and another backend");
    assert!(
        finding
            .message
            .starts_with("eth1 has an MTU of 1500, 20 bytes less than full packets wrapped"),
        "{}",
        finding.message
    );
    let said = finding.remedy.expect("a command");
    assert!(said.starts_with("ip link set dev eth1 mtu 1520 "), "{said}");
    facts.survey.links[2].link.mtu = 1520;
    assert_eq!(bad(&facts), Vec::<String>::new());
    // The route says less.
    for way in facts.survey.ways.values_mut().flatten() {
        way.mtu = Some(1400);
    }
    let said = remedy(&facts, "path_mtu warning web/web-1 and 2 others");
    assert!(said.starts_with("ip route get 10.0.1.2 "), "{said}");
    // Nobody sends shorter ones than that.
    for way in facts.survey.ways.values_mut().flatten() {
        way.mtu = Some(595);
    }
    only(&facts, "path_mtu problem web/web-1 and 2 others");
}

#[test]
fn ways_to_backends() {
    let mut facts = healthy();
    facts
        .survey
        .ways
        .insert(ip("10.0.1.3"), Err("no route to 10.0.1.3".to_owned()));
    assert_eq!(
        remedy(&facts, "backend_route problem web/web-2"),
        "ip route replace 10.0.1.0/24 dev eth1"
    );
    let facts = host::facts(&CONFIG.replace("10.0.1.3", "192.0.2.3"));
    let mut facts = facts;
    facts
        .survey
        .ways
        .insert(ip("192.0.2.3"), Err("no route to 192.0.2.3".to_owned()));
    let said = remedy(&facts, "backend_route problem web/web-2");
    assert!(
        said.starts_with("ip route add 192.0.2.3 via ROUTER"),
        "{said}"
    );

    let mut facts = host::facts(&CONFIG.replace("10.0.1.3", "10.0.1.1"));
    let way = Err("10.0.1.1 is an address of this host".to_owned());
    facts.survey.ways.insert(ip("10.0.1.1"), way);
    only(&facts, "backend_own_address problem web/web-2");

    let facts = host::facts(&CONFIG.replace("[eth0, eth1]", "[eth0]"));
    assert_eq!(
        bad(&facts),
        [
            "backend_interface problem web/web-1",
            "backend_interface problem web/web-2",
            "backend_interface problem web6/web-1"
        ]
    );
    let said = finding(&facts, "backend_interface").remedy.expect("one");
    assert!(said.contains("interfaces: [eth0, eth1]"), "{said}");

    let mut facts = healthy();
    if let Some(Ok(way)) = facts.survey.ways.get_mut(&ip("10.0.1.2")) {
        way.peer = Peer::Silent;
    }
    let finding = only(&facts, "backend_neighbour problem web/web-1");
    assert_eq!(finding.message, "10.0.1.2 does not answer ARP on eth1");

    let mut facts = facts_with_one_port(&CONFIG.replace("mode: nat", "mode: dsr"));
    if let Some(Ok(way)) = facts.survey.ways.get_mut(&ip("10.0.1.2")) {
        way.gateway = Some(ip("10.0.1.254"));
    }
    only(&facts, "backend_router problem web/web-1");
}

#[test]
fn vips_that_nobody_answers_for() {
    let yaml = CONFIG.replace("203.0.113.10:80", "10.0.0.99:80");
    let mut facts = host::facts(&yaml);
    let said = remedy(&facts, "vip_address problem web 10.0.0.99");
    assert!(
        said.starts_with("ip address add 10.0.0.99/32 dev eth0 "),
        "{said}"
    );
    facts.survey.addresses[0].address = ip("10.0.0.99");
    assert_eq!(bad(&facts), Vec::<String>::new());
    let facts = host::facts(&format!("announce: {{ addresses: true }}\n{yaml}"));
    assert_eq!(bad(&facts), Vec::<String>::new());
    let mut facts = host::facts(&yaml);
    facts
        .survey
        .ways
        .insert(ip("10.0.0.99"), host::way(2, Peer::Known));
    only(&facts, "vip_address warning web 10.0.0.99");
}

#[test]
fn servers_of_the_host_itself() {
    let mut facts = host::facts(&CONFIG.replace("203.0.113.10:80", "10.0.0.1:80"));
    let mut listen = |address: &str, port, protocol| {
        facts.listeners.push(Listener {
            protocol,
            address: ip(address),
            port,
        });
    };
    listen("127.0.0.1", 80, Protocol::Tcp);
    listen("10.0.1.1", 80, Protocol::Tcp);
    listen("0.0.0.0", 80, Protocol::Udp);
    listen("0.0.0.0", 22, Protocol::Tcp);
    assert_eq!(bad(&facts), Vec::<String>::new());
    for address in ["0.0.0.0", "::", "10.0.0.1"] {
        let mut facts = facts.clone();
        facts.listeners.push(Listener {
            protocol: Protocol::Tcp,
            address: ip(address),
            port: 80,
        });
        let said = remedy(&facts, "vip_local_server warning web 10.0.0.1:80");
        assert!(said.starts_with("ss -Hlnpt 'sport = :80' "), "{said}");
    }
    // All ports take the host's own with them.
    let every = r#"["10.0.0.1:*"]
    health_check: { type: none }"#;
    let yaml = CONFIG.replace(r#"["203.0.113.10:80"]"#, every);
    let mut all = host::facts(&yaml.replace(":8080", ""));
    all.listeners.clone_from(&facts.listeners);
    let finding = only(&all, "vip_local_server warning web 10.0.0.1:*");
    assert!(finding.message.contains("port 22 "), "{}", finding.message);
}
