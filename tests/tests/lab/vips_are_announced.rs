//! With `announce: { addresses: true }` each vip that has a backend is an address of the host, neighbours
//! are told at once, and nobody else's addresses are touched.

use std::{thread, time::Duration};

use lb_tests::lab::{
    Config, Divvy, Host, IdleConnections, Lab, URL4, URL6, VIP4, VIP6, wait_until,
};

/// Neighbours are told two or three times, within 2 s.
const LONGER_THAN_TELLING: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(20);
/// The balancer's only interface in a one-arm lab.
const OWN: &str = "eth0";

/// Client, balancer and backends in one network, in which the client asks for the vips' MAC addresses:
/// nobody answers for those that no host has.
fn lab(title: &'static str) -> Lab {
    let lab = Lab::one_arm(title).backends(2).start();
    for vip in [VIP4.to_string(), VIP6.to_string()] {
        let client = lab.client();
        client.must_run(&["ip", "route", "replace", &vip, "dev", "eth0"]);
    }
    lab
}

fn announcing(lab: &Lab) -> Config {
    lab.config().with("announce: { addresses: true }")
}

/// The addresses of the balancer's, as `ip` shows them: `INTERFACE ADDRESS/LENGTH`.
fn addresses(host: &Host) -> Vec<String> {
    (host.must_run(&["ip", "-o", "address"]).lines())
        .map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let interface = words.next().expect("a name");
            format!("{interface} {}", words.nth(1).expect("an address"))
        })
        .collect()
}

fn has(host: &Host, interface: &str, address: &str) -> bool {
    addresses(host).contains(&format!("{interface} {address}"))
}

/// Both vips, or neither, are on that interface of the host; `divvy status` says the same.
fn holds(lab: &Lab, divvy: &Divvy, interface: &str, wanted: bool) {
    let status = divvy.status();
    for (place, vip, length) in [(0, VIP4.to_string(), 32), (1, VIP6.to_string(), 128)] {
        let address = format!("{vip}/{length}");
        let there = has(lab.balancer(), interface, &address);
        assert_eq!(there, wanted, "{address}: {:?}", addresses(lab.balancer()));
        let told = &status["services"][place]["announced"];
        let expected = if wanted { vec![vip] } else { vec![] };
        assert_eq!(*told, serde_json::json!(expected), "{status}");
    }
}

fn serve(lab: &Lab) {
    for url in [URL4, URL6] {
        let report = lab.client().get_many(20, url);
        assert!(report.failed().is_empty(), "{url}: {report}");
    }
}

fn both(divvy: &Divvy, verb: &str) {
    for place in ["web/web-1", "web/web-2", "web6/web-1", "web6/web-2"] {
        divvy.must(&[verb, place]);
    }
}

#[test]
fn while_a_backend_is_up() {
    let lab = lab("announce");
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    holds(&lab, &divvy, OWN, false);
    assert!(lab.client().get(URL4).is_err(), "nobody has the vip");

    divvy.apply(&announcing(&lab));
    holds(&lab, &divvy, OWN, true);
    serve(&lab);
    let shown = divvy.must(&["status"]);
    assert!(
        shown.contains(&format!("2 of 2 up, announced: {VIP4}\n")),
        "{shown}"
    );
    // It is not the source of the host's own connections, though its network is nearest to where these go.
    for (far, gateway, own) in [
        (
            "203.0.113.11",
            lab.client().v4().to_string(),
            lab.balancer().v4().to_string(),
        ),
        (
            "2001:db8:ffff::11",
            lab.client().v6().to_string(),
            lab.balancer().v6().to_string(),
        ),
    ] {
        let balancer = lab.balancer();
        balancer.must_run(&["ip", "route", "add", far, "via", &gateway]);
        let route = balancer.must_run(&["ip", "-o", "route", "get", far]);
        assert!(route.contains(&format!("src {own} ")), "{route}");
    }

    for backend in lab.backends() {
        backend.set_healthy(false);
    }
    for place in ["web/web-1", "web/web-2", "web6/web-1", "web6/web-2"] {
        divvy.wait_for_state(place, "down");
    }
    wait_until("the vips are taken off", PATIENCE, || {
        !has(lab.balancer(), OWN, &format!("{VIP4}/32"))
            && !has(lab.balancer(), OWN, &format!("{VIP6}/128"))
    });
    holds(&lab, &divvy, OWN, false);
    let log = divvy.log();
    let words = format!("vip {VIP4} taken off this host: no backend behind it is up");
    assert!(log.contains(&words), "{log}");

    lab.backends()[1].set_healthy(true);
    divvy.wait_for_state("web/web-2", "up");
    divvy.wait_for_state("web6/web-2", "up");
    wait_until("the vips are back", PATIENCE, || {
        has(lab.balancer(), OWN, &format!("{VIP4}/32"))
            && has(lab.balancer(), OWN, &format!("{VIP6}/128"))
    });
    holds(&lab, &divvy, OWN, true);
    serve(&lab);

    divvy.apply(&lab.config());
    holds(&lab, &divvy, OWN, false);
}

#[test]
fn and_while_one_drains() {
    let lab = lab("announcedrain");
    let divvy = lab.divvy(&announcing(&lab).with_default("drain_timeout: 3s"));
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 20);
    both(&divvy, "drain");
    // Who forgets the MAC address can ask for it.
    lab.client().flush_neighbours();
    assert_eq!(idle.broken(), Vec::<String>::new());
    holds(&lab, &divvy, OWN, true);
    wait_until("the vips go when the time is over", PATIENCE, || {
        !has(lab.balancer(), OWN, &format!("{VIP4}/32"))
    });
    both(&divvy, "enable");
    holds(&lab, &divvy, OWN, true);
    both(&divvy, "disable");
    holds(&lab, &divvy, OWN, false);
}

/// A MAC address that no host has.
const ELSEWHERE: &str = "02:00:00:00:00:99";

/// What the client believes of a vip's MAC address.
fn believed(lab: &Lab, vip: &str) -> String {
    let words = ["ip", "neighbour", "show", vip, "dev", "eth0"];
    lab.client().must_run(&words)
}

/// The client believes that another host has the vips, as after this balancer took over from it.
fn mislead(lab: &Lab) {
    for vip in [VIP4.to_string(), VIP6.to_string()] {
        let words = format!("ip neighbour replace {vip} lladdr {ELSEWHERE} dev eth0 nud stale");
        lab.client().must_run(&words.split(' ').collect::<Vec<_>>());
        let believed = believed(lab, &vip);
        assert!(believed.contains(ELSEWHERE), "{believed}");
    }
}

/// The client, which sends nothing meanwhile, comes to know better.
fn is_told(lab: &Lab) {
    let balancer = lab.balancer();
    let shown = balancer.must_run(&["ip", "-o", "link", "show", "dev", OWN]);
    let (_, own) = shown.split_once("link/ether ").expect("it is Ethernet");
    let own = own.split_whitespace().next().expect("a MAC address");
    for vip in [VIP4.to_string(), VIP6.to_string()] {
        wait_until("the client was told", PATIENCE, || {
            believed(lab, &vip).contains(own)
        });
    }
    serve(lab);
}

#[test]
fn neighbours_are_told_at_once() {
    let lab = lab("announcetold");
    let divvy = lab.divvy(&announcing(&lab));
    divvy.wait_for_all_up();
    both(&divvy, "disable");
    mislead(&lab);
    both(&divvy, "enable");
    is_told(&lab);
}

#[test]
fn and_once_the_interface_is_up() {
    let lab = lab("announceup");
    let config = announcing(&lab).health_check("{ type: none }");
    let divvy = lab.divvy(&lab.config().health_check("{ type: none }"));
    divvy.wait_for_all_up();
    let link = |state: &str| {
        let words = ["ip", "link", "set", OWN, state];
        lab.balancer().must_run(&words);
    };
    link("down");
    divvy.apply(&config);
    assert!(has(lab.balancer(), OWN, &format!("{VIP4}/32")));
    mislead(&lab);
    // What was said until now was lost, with all its repetitions.
    thread::sleep(LONGER_THAN_TELLING);
    link("up");
    // Addresses of IPv6 went with the link.
    let own = format!("{}/64", lab.balancer().v6());
    let words = ["ip", "address", "replace", &own, "dev", OWN, "nodad"];
    lab.balancer().must_run(&words);
    is_told(&lab);
}

#[test]
fn over_a_restart_and_against_others() {
    let lab = lab("announcekept");
    let balancer = lab.balancer();
    // One vip is an address of the host in any case.
    let others = format!("{VIP6}/64");
    let words = ["ip", "address", "add", &others, "dev", OWN, "nodad"];
    balancer.must_run(&words);
    let divvy = lab.divvy(&announcing(&lab));
    divvy.wait_for_all_up();
    let (ours, theirs) = (format!("{VIP4}/32"), format!("{VIP6}/64"));
    let as_wanted = |what: &str| {
        let all = addresses(balancer);
        assert!(has(balancer, OWN, &ours), "{what}: {all:?}");
        assert!(has(balancer, OWN, &theirs), "{what}: {all:?}");
        assert!(
            !has(balancer, OWN, &format!("{VIP6}/128")),
            "{what}: {all:?}"
        );
    };
    as_wanted("at first");
    let said = format!("vip {VIP6} is an address of this host already: left as it is");
    assert!(divvy.log().contains(&said), "{}", divvy.log());

    // Killed: the address stays, and who starts again knows that it is its own.
    divvy.kill9();
    as_wanted("killed");
    serve(&lab);
    divvy.start_again();
    divvy.wait_for_all_up();
    as_wanted("started again");
    assert_eq!(
        divvy.log().matches(" put on eth0").count(),
        1,
        "{}",
        divvy.log()
    );

    // Somebody takes it off: it comes back.
    balancer.must_run(&["ip", "address", "del", &ours, "dev", OWN]);
    wait_until("the address is back", PATIENCE, || {
        has(balancer, OWN, &ours)
    });
    serve(&lab);

    // On another interface, and one that is not there.
    balancer.must_run(&["ip", "link", "set", "lo", "up"]);
    let on = |interface: &str| {
        lab.config().with(&format!(
            "announce: {{ addresses: true, interface: {interface} }}"
        ))
    };
    divvy.apply(&on("lo"));
    assert!(has(balancer, "lo", &ours) && !has(balancer, OWN, &ours));
    divvy.write_config(&on("eth7").yaml());
    let refused = divvy.reload();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        words.contains("announce.interface: interface eth7 does not exist; this host has lo, eth0"),
        "{words}"
    );
    assert!(has(balancer, "lo", &ours), "a refused file changes nothing");

    // A stopped daemon leaves it, since packets go on; a detached one takes it away, by itself or without it.
    divvy.apply(&announcing(&lab));
    divvy.terminate();
    as_wanted("stopped");
    serve(&lab);
    let said = divvy.must(&["detach"]);
    assert!(said.contains(&format!("{VIP4} off this host")), "{said}");
    assert!(!has(balancer, OWN, &ours) && has(balancer, OWN, &theirs));
    divvy.start_again();
    divvy.wait_for_all_up();
    as_wanted("once more");
    divvy.must(&["detach"]);
    assert!(divvy.wait_for_its_end().success());
    assert!(!has(balancer, OWN, &ours) && has(balancer, OWN, &theirs));
}
