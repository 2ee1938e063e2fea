//! The watcher against the real kernel: every next hop is found, and every change of it noticed.
//!
//! Each test makes network namespaces of its own, which needs root and iproute2.

mod lab;
mod watched;

use std::net::IpAddr;

use lb_userspace::net::{Event, Interface, NetError, NextHop, link_by_name, sysctl};

use lab::{Lab, output};
use watched::Watched;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn known(next_hop: &NextHop) -> bool {
    next_hop.peer_mac.is_some()
}

const MAC_1: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const MAC_2: [u8; 6] = [2, 0, 0, 0, 0, 0x12];

fn set_peer_mac(lab: &Lab, mac: [u8; 6]) {
    let text = mac.map(|byte| format!("{byte:02x}")).join(":");
    lab.peer(&format!("link set net1 address {text}"));
}

#[test]
fn neighbours_on_our_networks_are_found() {
    Lab::new().run(async |lab| {
        set_peer_mac(lab, MAC_1);
        let a = link_by_name("net1").await.unwrap();
        assert!(a.up && a.resolves && a.mtu == 1500, "{a:?}");
        for (backend, source) in [("10.1.0.2", "10.1.0.1"), ("fd01::2", "fd01::1")] {
            let mut watched = Watched::start(&[backend]);
            let next_hop = watched.next_hop(backend, known).await;
            let wanted = NextHop {
                ifindex: a.ifindex,
                local_mac: a.mac.unwrap(),
                peer_mac: Some(MAC_1),
                source: ip(source),
                gateway: None,
                mtu: 1500,
            };
            assert_eq!(next_hop, wanted);
        }
    });
}

#[test]
fn behind_a_gateway_the_gateway_is_the_next_hop() {
    Lab::new().run(async |lab| {
        set_peer_mac(lab, MAC_1);
        lab.balancer("route add 192.0.2.0/24 via 10.1.0.2");
        lab.balancer("route add 198.51.100.0/24 via inet6 fd01::2 dev net1");
        lab.balancer("-6 route add 2001:db8::/64 via fd01::2");
        let gateways = [
            ("192.0.2.9", "10.1.0.2"),
            ("198.51.100.9", "fd01::2"),
            ("2001:db8::9", "fd01::2"),
        ];
        for (backend, gateway) in gateways {
            let next_hop = Watched::start(&[backend]).next_hop(backend, known).await;
            assert_eq!(
                (next_hop.gateway, next_hop.peer_mac),
                (Some(ip(gateway)), Some(MAC_1))
            );
        }
    });
}

#[test]
fn mtu_and_addresses_of_an_interface_are_told_as_they_change() {
    Lab::new().run(async |lab| {
        let (first, second, v6) = (ip("10.1.0.1"), ip("10.1.0.9"), ip("fd01::1"));
        let mut watched = Watched::start(&[]);
        let as_made = |net1: &Interface| net1.mtu == 1500 && net1.addresses == [first, v6];
        watched.interface("net1", as_made).await;
        lab.balancer("link set net1 mtu 1400");
        watched.interface("net1", |net1| net1.mtu == 1400).await;
        lab.balancer("addr add 10.1.0.9/24 dev net1");
        let last = |net1: &Interface| net1.addresses == [first, v6, second];
        watched.interface("net1", last).await;
        // The kernel takes the second away with the first of their network.
        lab.balancer("addr del 10.1.0.1/24 dev net1");
        watched
            .interface("net1", |net1| net1.addresses == [v6])
            .await;
    });
}

#[test]
fn another_mac_address_is_noticed_after_a_flush() {
    Lab::new().run(async |lab| {
        set_peer_mac(lab, MAC_1);
        let mut watched = Watched::start(&["10.1.0.2"]);
        watched
            .next_hop("10.1.0.2", |next_hop| next_hop.peer_mac == Some(MAC_1))
            .await;
        set_peer_mac(lab, MAC_2);
        lab.balancer("neigh flush all");
        watched
            .next_hop("10.1.0.2", |next_hop| next_hop.peer_mac == Some(MAC_2))
            .await;
    });
}

#[test]
fn another_mac_address_is_noticed_at_once_when_doubted() {
    Lab::new().run(async |lab| {
        set_peer_mac(lab, MAC_1);
        for backend in ["10.1.0.2", "fd01::2"] {
            set_peer_mac(lab, MAC_1);
            lab.balancer("neigh flush all");
            let mut watched = Watched::start(&[backend]);
            watched
                .next_hop(backend, |next_hop| next_hop.peer_mac == Some(MAC_1))
                .await;
            set_peer_mac(lab, MAC_2);
            watched.watcher.refresh(ip(backend));
            // The next event already: the old address is not given up before the new one is known.
            let event = watched.event().await;
            let Event::NextHop {
                next_hop: Ok(next_hop),
                ..
            } = event
            else {
                panic!("{event:?}")
            };
            assert_eq!(next_hop.peer_mac, Some(MAC_2));
        }
    });
}

#[test]
fn a_peer_that_falls_silent_is_given_up_and_found_again() {
    Lab::new().run(async |lab| {
        let mut watched = Watched::start(&["10.1.0.2"]);
        watched.next_hop("10.1.0.2", known).await;
        lab.peer("addr del 10.1.0.2/24 dev net1");
        watched.watcher.refresh(ip("10.1.0.2"));
        watched
            .next_hop("10.1.0.2", |next_hop| next_hop.peer_mac.is_none())
            .await;
        lab.peer("addr add 10.1.0.2/24 dev net1");
        watched.next_hop("10.1.0.2", known).await;
    });
}

#[test]
fn a_permanent_neighbour_is_used_and_left_alone() {
    Lab::new().run(async |lab| {
        // While it is being asked for in vain, an administrator sets it.
        let mut watched = Watched::start(&["10.1.0.77"]);
        let unknown = |next_hop: &NextHop| next_hop.peer_mac.is_none();
        watched.next_hop("10.1.0.77", unknown).await;
        lab.balancer("neigh replace 10.1.0.77 lladdr 02:00:00:00:00:77 dev net1 nud permanent");
        watched.next_hop("10.1.0.77", known).await;

        watched.watcher.refresh(ip("10.1.0.77"));
        // What is asked for later has been answered, so the refresh is over.
        watched.watcher.track(vec![ip("10.1.0.77"), ip("10.1.0.2")]);
        watched.next_hop("10.1.0.2", known).await;
        let shown = output(&format!("ip -n {} neigh show 10.1.0.77", lab.balancer));
        assert!(shown.contains("02:00:00:00:00:77 PERMANENT"), "{shown}");
    });
}

#[test]
fn a_route_that_moves_to_another_interface_is_followed() {
    Lab::new().run(async |lab| {
        let a = link_by_name("net1").await.unwrap().ifindex;
        let b = link_by_name("net2").await.unwrap().ifindex;
        lab.balancer("route add 192.0.2.0/24 via 10.1.0.2");
        let mut watched = Watched::start(&["192.0.2.9"]);
        let next_hop = watched.next_hop("192.0.2.9", known).await;
        assert_eq!((next_hop.ifindex, next_hop.source), (a, ip("10.1.0.1")));
        lab.balancer("route replace 192.0.2.0/24 via 10.2.0.2");
        let next_hop = watched
            .next_hop("192.0.2.9", |next_hop| next_hop.ifindex == b)
            .await;
        assert_eq!(next_hop.source, ip("10.2.0.1"));
        lab.balancer("route del 192.0.2.0/24");
        assert_eq!(
            watched.no_next_hop("192.0.2.9").await,
            "no route to 192.0.2.9"
        );
    });
}

#[test]
fn a_link_set_down_takes_its_routes_along() {
    Lab::new().run(async |lab| {
        let mut watched = Watched::start(&["10.1.0.2"]);
        watched.next_hop("10.1.0.2", known).await;
        lab.balancer("link set net1 down");
        assert_eq!(
            watched.no_next_hop("10.1.0.2").await,
            "no route to 10.1.0.2"
        );
        lab.balancer("link set net1 up");
        watched.next_hop("10.1.0.2", known).await;
    });
}

#[test]
fn our_own_mac_address_is_followed() {
    Lab::new().run(async |lab| {
        let mut watched = Watched::start(&["10.1.0.2"]);
        watched.next_hop("10.1.0.2", known).await;
        lab.balancer("link set net1 address 02:00:00:00:00:aa");
        let ours = [2, 0, 0, 0, 0, 0xaa];
        watched
            .next_hop("10.1.0.2", |next_hop| next_hop.local_mac == ours)
            .await;
    });
}

#[test]
fn links_that_go_and_come_are_told_of() {
    Lab::new().run(async |lab| {
        let ifindex = link_by_name("net1").await.unwrap().ifindex;
        let mut watched = Watched::start(&["10.1.0.2"]);
        let before = watched.next_hop("10.1.0.2", known).await;
        assert_eq!(before.ifindex, ifindex);
        lab.balancer("link del net1");
        let gone = Event::LinkGone {
            name: "net1".into(),
            ifindex,
        };
        while watched.event().await != gone {}
        assert_eq!(
            watched.no_next_hop("10.1.0.2").await,
            "no route to 10.1.0.2"
        );

        lab.add_link("net1", 1);
        let came = link_by_name("net1").await.unwrap().ifindex;
        while watched.event().await
            != (Event::LinkCame {
                name: "net1".into(),
                ifindex: came,
            })
        {}
        watched
            .next_hop("10.1.0.2", |next_hop| {
                next_hop.ifindex == came && known(next_hop)
            })
            .await;
    });
}

#[test]
fn routes_that_lead_nowhere_say_why() {
    Lab::new().run(async |lab| {
        for (family, prefix) in [("-4", "10.9"), ("-6", "fd09:")] {
            for (number, kind) in ["blackhole", "prohibit", "unreachable"].iter().enumerate() {
                let network = if family == "-4" {
                    format!("{prefix}.{number}.0/24")
                } else {
                    format!("{prefix}{number}::/64")
                };
                lab.balancer(&format!("{family} route add {kind} {network}"));
            }
        }
        let reasons = [
            ("10.9.0.9", "the route to 10.9.0.9 is of type blackhole"),
            ("10.9.1.9", "the route to 10.9.1.9 is of type prohibit"),
            ("10.9.2.9", "the route to 10.9.2.9 is of type unreachable"),
            ("fd09:0::9", "the route to fd09::9 is of type blackhole"),
            ("fd09:1::9", "the route to fd09:1::9 is of type prohibit"),
            ("fd09:2::9", "the route to fd09:2::9 is of type unreachable"),
            ("192.0.2.9", "no route to 192.0.2.9"),
            ("2001:db8::9", "no route to 2001:db8::9"),
            ("10.1.0.1", "10.1.0.1 is an address of this host"),
            ("fd01::1", "fd01::1 is an address of this host"),
            ("127.0.0.1", "127.0.0.1 is an address of this host"),
            ("10.1.0.255", "10.1.0.255 is not the address of one host"),
        ];
        for (address, reason) in reasons {
            assert_eq!(
                Watched::start(&[address]).no_next_hop(address).await,
                reason
            );
        }
    });
}

#[test]
fn a_burst_that_overruns_the_socket_loses_nothing() {
    Lab::new().run(async |lab| {
        let mut watched = Watched::start(&["10.1.0.2", "10.1.0.77"]);
        watched.next_hop("10.1.0.2", known).await;
        // The runtime has one thread: while this runs, nobody reads the socket. 40,000 messages
        // are more than its buffer takes, and few neighbours at a time: all namespaces of a
        // kernel share one limit for them (gc_thresh3, 1024).
        let lines = |verb: &str| {
            let line = |n| format!("neigh {verb} 10.1.1.{n} lladdr 02:00:00:00:00:01 dev net1\n");
            (1..=200).map(line).collect::<String>()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), (lines("replace") + &lines("del")).repeat(100)).unwrap();
        lab.balancer(&format!("-batch {}", file.path().display()));
        lab.balancer("neigh replace 10.1.0.77 lladdr 02:00:00:00:00:77 dev net1");
        let next_hop = watched.next_hop("10.1.0.77", known).await;
        assert_eq!(next_hop.peer_mac, Some([2, 0, 0, 0, 0, 0x77]));
    });
}

#[test]
fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
    Lab::new().run(async |_| {
        let error = link_by_name("eth9").await.unwrap_err();
        assert!(matches!(error, NetError::NoInterface { .. }));
        let words = error.to_string();
        assert!(
            words.starts_with("interface eth9 does not exist; this host has lo, "),
            "{words}"
        );
        let lo = link_by_name("lo").await.unwrap();
        assert!(!lo.resolves);
    });
}

#[test]
fn switches_are_those_of_this_namespace() {
    Lab::new().run(async |lab| {
        lab.balancer("link add net1.1 type veth peer name other");
        assert!(!sysctl::accept_local("net1.1").unwrap());
        sysctl::set_accept_local("net1.1", true).unwrap();
        assert!(sysctl::accept_local("net1.1").unwrap());
        assert!(!sysctl::accept_local("net1").unwrap());
        // Both can be asked; what they say is the host's default.
        sysctl::ipv4_forwarding().unwrap();
        sysctl::ipv6_forwarding().unwrap();
    });
}
