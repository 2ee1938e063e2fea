use rtnetlink::packet_route::route::RouteLwTunnelEncap;

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const PEER: Mac = [2, 0, 0, 0, 0, 2];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The kernel's answer about a route of this kind.
fn answer(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.kind = kind;
    message.attributes = attributes;
    message
}

fn on_link(source: &str) -> Vec<RouteAttribute> {
    vec![
        RouteAttribute::Oif(3),
        RouteAttribute::PrefSource(ip(source).into()),
    ]
}

fn link() -> Link {
    Link {
        veth: false,
        xdp: None,
        name: "eth0".into(),
        ifindex: 3,
        mac: Some(MAC),
        mtu: 1500,
        up: true,
        resolves: true,
    }
}

#[test]
fn on_a_network_of_ours_the_neighbour_is_the_backend() {
    let backend = ip("10.0.0.9");
    let message = answer(RouteType::Unicast, on_link("10.0.0.1"));
    let route = Route::from_message(backend, &message).unwrap();
    assert_eq!(route.neighbour(backend), (3, backend));
    let next_hop = NextHop {
        ifindex: 3,
        local_mac: MAC,
        peer_mac: Some(PEER),
        source: ip("10.0.0.1"),
        gateway: None,
        mtu: 1500,
    };
    assert_eq!(
        route.next_hop(backend, Some(&link()), Some(PEER)),
        Ok(next_hop)
    );
}

#[test]
fn behind_a_gateway_the_neighbour_is_the_gateway() {
    let v4 = RouteAttribute::Gateway(ip("10.0.0.254").into());
    let v6 = RouteAttribute::Gateway(ip("fe80::1").into());
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::2".parse().unwrap()));
    let cases = [
        ("192.0.2.1", "10.0.0.1", v4, "10.0.0.254"),
        ("2001:db8::9", "2001:db8::1", v6, "fe80::1"),
        ("192.0.2.1", "10.0.0.1", via, "fe80::2"),
    ];
    for (backend, source, attribute, gateway) in cases {
        let mut attributes = on_link(source);
        attributes.push(attribute);
        let message = answer(RouteType::Unicast, attributes);
        let route = Route::from_message(ip(backend), &message).unwrap();
        assert_eq!(route.neighbour(ip(backend)), (3, ip(gateway)));
        let next_hop = route.next_hop(ip(backend), Some(&link()), None).unwrap();
        assert_eq!(next_hop.gateway, Some(ip(gateway)));
        assert_eq!(next_hop.peer_mac, None);
    }
}

#[test]
fn routes_that_lead_nowhere_say_why() {
    let backend = ip("10.0.0.9");
    let mut tunnel = on_link("10.0.0.1");
    tunnel.push(RouteAttribute::Encap(Vec::<RouteLwTunnelEncap>::new()));
    let cases = [
        (
            answer(RouteType::Local, vec![]),
            "10.0.0.9 is an address of this host",
        ),
        (
            answer(RouteType::BlackHole, vec![]),
            "the route to 10.0.0.9 is of type blackhole",
        ),
        (
            answer(RouteType::Prohibit, vec![]),
            "the route to 10.0.0.9 is of type prohibit",
        ),
        (
            answer(RouteType::Unreachable, vec![]),
            "the route to 10.0.0.9 is of type unreachable",
        ),
        (
            answer(RouteType::Broadcast, vec![]),
            "10.0.0.9 is not the address of one host",
        ),
        (
            answer(RouteType::Unicast, tunnel),
            "the route to 10.0.0.9 leads into a tunnel (encap)",
        ),
        (
            answer(RouteType::Unicast, vec![]),
            "the route to 10.0.0.9 has no interface",
        ),
        (
            answer(RouteType::Unicast, vec![RouteAttribute::Oif(3)]),
            "this host has no address to reach 10.0.0.9 from",
        ),
    ];
    for (message, reason) in cases {
        assert_eq!(
            Route::from_message(backend, &message),
            Err(reason.to_owned())
        );
    }
    assert_eq!(refusal(backend, libc::ENETUNREACH), "no route to 10.0.0.9");
}

#[test]
fn links_without_mac_addresses_cannot_carry_a_next_hop() {
    let backend = ip("10.0.0.9");
    let route =
        Route::from_message(backend, &answer(RouteType::Unicast, on_link("10.0.0.1"))).unwrap();
    for link in [
        Link {
            resolves: false,
            ..link()
        },
        Link {
            mac: None,
            ..link()
        },
    ] {
        let reason = route
            .next_hop(backend, Some(&link), Some(PEER))
            .unwrap_err();
        assert!(
            reason.contains("leaves by eth0, which has no MAC addresses"),
            "{reason}"
        );
    }
    let reason = route.next_hop(backend, None, Some(PEER)).unwrap_err();
    assert!(reason.contains("interface 3, which is gone"), "{reason}");
}
