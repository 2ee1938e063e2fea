//! A traceroute to a vip shows every router, the balancer by its address on the client's side, then the vip:
//! over TCP and UDP, by both families, in each mode as [modes.md] says.
//!
//! [modes.md]: ../../../docs/modes.md

use std::net::IpAddr;

use lb_tests::lab::{DNS_PORT, DatagramEcho, EchoServer, Lab, Manner, VIP4, VIP6};

use crate::tunnel::GUE_PORT;

/// The hops that a real traceroute prints, one address for each. Panics where a probe was not answered, or
/// several answered for one hop.
fn hops(lab: &Lab, way: &[&str], vip: IpAddr) -> Vec<IpAddr> {
    let (vip, before) = (vip.to_string(), ["traceroute", "-n", "-q", "3", "-m", "8"]);
    let words: Vec<&str> = before.iter().chain(way).copied().chain([&*vip]).collect();
    let said = lab.client().must_run(&words);
    let hop = |line: &str| {
        // " 2  10.2.0.1  0.041 ms  0.032 ms  0.030 ms"
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, _, "ms", _, "ms", _, "ms"] = words[..] else {
            panic!("not one address and three times: {line:?} in\n{said}");
        };
        address.parse().expect("traceroute -n prints addresses")
    };
    // The first line says what is done.
    said.lines().skip(1).map(hop).collect()
}

#[test]
fn in_every_mode() {
    let lab = Lab::routed("traceroute")
        .backends(1)
        .client_behind_routers()
        .start();
    let web = lab.backend("web-1");
    web.hold_vips();
    let _far_end = web.decapsulate(GUE_PORT);
    let addresses = [
        web.host().v4().into(),
        web.host().v6().into(),
        VIP4.into(),
        VIP6.into(),
    ];
    let _datagrams = DatagramEcho::start(web.host(), DNS_PORT, &addresses);
    let _probed = EchoServer::start(web.host(), DNS_PORT, Manner::Echo);
    let [near, far] = lab.routers("client");
    for router in [near, far] {
        // Else a router that was asked often in a short time keeps silent.
        router.set("ipv4/icmp_ratelimit", "0");
        router.set("ipv6/icmp/ratelimit", "0");
    }
    let divvy = lab.divvy(&lab.config().dns());
    for mode in ["nat", "route", "dsr", "ipip", "gue"] {
        divvy.apply(&lab.config().mode(mode).dns());
        divvy.wait_for_all_up();
        let balancer = lab.balancer();
        let dns = DNS_PORT.to_string();
        for (vip, seen) in [
            (
                IpAddr::from(VIP4),
                [far, near, balancer].map(|host| IpAddr::from(host.v4())),
            ),
            (
                VIP6.into(),
                [far, near, balancer].map(|host| IpAddr::from(host.v6())),
            ),
        ] {
            // A backend of mode `dsr` gets what the client sent: the balancer is no hop.
            let shown = if mode == "dsr" { 2 } else { 3 };
            let due: Vec<IpAddr> = seen.into_iter().take(shown).chain([vip]).collect();
            for way in [["-T", "-p", "80"], ["-U", "-p", &*dns]] {
                let before = divvy.reason("time_exceeded");
                assert_eq!(hops(&lab, &way, vip), due, "{mode}, {}", way[0]);
                let told = divvy.reason("time_exceeded") - before;
                assert_eq!(
                    told,
                    if mode == "dsr" { 0 } else { 3 },
                    "{mode}, {}",
                    way[0]
                );
            }
        }
    }
}
