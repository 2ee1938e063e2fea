//! On a path with a hop that carries 1,400 bytes, 10 MB come through unchanged, up and down, in every mode
//! and by both families: whoever sends larger packets hears of it, the balancer with its tunnels as well.

use lb_tests::lab::{Backend, Decap, Divvy, Host, Lab, NARROW_MTU, URL4, URL6, ten_megabytes};

use crate::tunnel::GUE_PORT;

/// Where the narrow link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Narrow {
    /// Between client and balancer.
    Front,
    /// Between balancer and backend.
    Back,
    Both,
}

const EACH: [Narrow; 3] = [Narrow::Front, Narrow::Back, Narrow::Both];

/// Who refuses packets that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Router {
    /// Those that come from the client, before the balancer.
    BeforeUs,
    /// Those that the balancer has sent on to the backend.
    BehindUs,
    /// Those of the backend, before they come to the balancer.
    BehindBackend,
    /// Those of the backend, close to the client.
    BeforeClient,
}

/// Instead of a mode: `nat` from one address family to the other.
const ACROSS: &str = "nat between the families";

/// Packets that the host was asked to forward and could not, for their length.
fn refused(host: &Host, v4: bool) -> u64 {
    let name = if v4 { "IpFragFails" } else { "Ip6FragFails" };
    host.kernel_count(name)
}

/// Of each router there is, how many packets it refused.
fn refusals(lab: &Lab, mode: &str, narrow: Narrow, url: &str) -> Vec<(Router, u64)> {
    let mut all = Vec::new();
    let v4 = url == URL4;
    let v4_behind = v4 != (mode == ACROSS);
    if narrow != Narrow::Back {
        let [near, far] = lab.routers("client");
        all.push((Router::BeforeUs, refused(far, v4)));
        all.push((Router::BeforeClient, refused(near, v4)));
    }
    if narrow != Narrow::Front {
        let [near, far] = lab.routers("web-1");
        all.push((Router::BehindUs, refused(near, v4_behind)));
        all.push((Router::BehindBackend, refused(far, v4_behind)));
    }
    all
}

/// 10 MB to the backend and 10 MB back in one connection: so neither end knows of the narrow hop when they
/// agree on the length of segments, and each has to hear of it.
fn there_and_back(lab: &Lab, url: &str, name: &str) {
    let file = lab.folder().join("10mb").display().to_string();
    let copy = lab.folder().join(name).display().to_string();
    let (up, down) = (format!("{url}uploads/{name}"), format!("{url}10mb"));
    let limits = ["--fail", "--silent", "--show-error", "--max-time", "20"];
    let told = ["--write-out", "%{num_connects} "];
    let mut words = vec!["curl", "--fail-early"];
    words.extend(limits);
    words.extend(told);
    words.extend(["--upload-file", &file, &up, "--next"]);
    words.extend(limits);
    words.extend(told);
    words.extend(["--output", &copy, &down]);
    let connections = lab.client().must_run(&words);
    assert_eq!(connections.trim(), "1 0", "one connection for both");
    let sent = lab.backend("web-1").uploaded(name);
    assert!(sent == ten_megabytes(), "{name}: it came up changed");
    let came = std::fs::read(&copy).expect("curl has written it");
    assert!(came == ten_megabytes(), "{name}: it came down changed");
}

/// Who refuses what, in this mode, where the narrow link is here and the client asks this address.
fn expected(mode: &str, narrow: Narrow, url: &str) -> Vec<Router> {
    let wrapped = matches!(mode, "ipip" | "gue");
    match narrow {
        Narrow::Front => vec![Router::BeforeUs, Router::BeforeClient],
        Narrow::Back => vec![Router::BehindUs, Router::BehindBackend],
        // What fits the first hop is too long for the second only once it is wrapped.
        Narrow::Both if wrapped => {
            vec![Router::BeforeUs, Router::BehindUs, Router::BehindBackend]
        }
        // So is what becomes IPv6.
        Narrow::Both if mode == ACROSS && url == URL4 => {
            vec![Router::BeforeUs, Router::BehindUs, Router::BehindBackend]
        }
        Narrow::Both if mode == ACROSS => {
            vec![
                Router::BeforeUs,
                Router::BehindBackend,
                Router::BeforeClient,
            ]
        }
        Narrow::Both => vec![Router::BeforeUs, Router::BehindBackend],
    }
}

/// What the balancer counts when these routers refuse: the errors that it sends on to whom they concern,
/// what it learns of the way of its own outer packets, and what it then tells the client.
fn counted(mode: &str, routers: &[Router]) -> Vec<&'static str> {
    let wrapped = matches!(mode, "ipip" | "gue");
    let sent_on = routers.iter().any(|router| match router {
        // This one tells the client, who is on its own side.
        Router::BeforeUs => false,
        Router::BehindUs => !wrapped,
        // A backend that answers as the vip is told where the vip is.
        Router::BehindBackend => wrapped,
        Router::BeforeClient => true,
    });
    let mut reasons = Vec::new();
    if sent_on {
        reasons.push("icmp_error");
    }
    if wrapped && routers.contains(&Router::BehindUs) {
        reasons.extend(["path_mtu", "packet_too_big"]);
    }
    reasons
}

const FAMILIES: [(&str, &str); 2] = [(URL4, "v4"), (URL6, "v6")];

/// A lab whose backend is ready for the mode.
fn lab(mode: &str, narrow: Narrow) -> (Lab, Decap) {
    let mut lab = Lab::routed("narrow").backends(1);
    if narrow != Narrow::Back {
        lab = lab.client_behind_routers();
    }
    if narrow != Narrow::Front {
        lab = lab.backends_behind_routers();
    }
    let lab = lab.start();
    if !matches!(mode, "nat" | "route" | ACROSS) {
        lab.backends().iter().for_each(Backend::hold_vips);
    }
    let far_end = lab.backend("web-1").decapsulate(GUE_PORT);
    (lab, far_end)
}

fn completes(mode: &str, places: &[Narrow]) {
    for &narrow in places {
        let (lab, _far_end) = lab(mode, narrow);
        let config = match mode {
            ACROSS => lab.config().crossed(),
            mode => lab.config().mode(mode),
        };
        let divvy = lab.divvy(&config);
        divvy.wait_for_all_up();
        for (url, name) in FAMILIES {
            one_family(&lab, &divvy, mode, narrow, (url, name));
        }
    }
}

fn one_family(lab: &Lab, divvy: &Divvy, mode: &str, narrow: Narrow, (url, name): (&str, &str)) {
    const COUNTED: [&str; 3] = ["icmp_error", "path_mtu", "packet_too_big"];
    let counts = || COUNTED.map(|reason| divvy.reason(reason));
    let at = format!("{mode}, {narrow:?}, {name}");
    println!("{at}");
    let (before, refused_before) = (counts(), refusals(lab, mode, narrow, url));
    there_and_back(lab, url, name);

    let refused = refusals(lab, mode, narrow, url)
        .into_iter()
        .zip(refused_before);
    let refused: Vec<(Router, u64)> = refused
        .map(|((router, now), (_, before))| (router, now - before))
        .collect();
    let who: Vec<Router> = (refused.iter())
        .filter(|(_, count)| *count > 0)
        .map(|(router, _)| *router)
        .collect();
    let mut due = expected(mode, narrow, url);
    due.sort_by_key(|router| refused.iter().position(|(other, _)| other == router));
    assert_eq!(
        who, due,
        "{at}: who refused what is above {NARROW_MTU} bytes: {refused:?}"
    );

    let due = counted(mode, &due);
    for ((reason, before), now) in COUNTED.into_iter().zip(before).zip(counts()) {
        assert_eq!(
            now > before,
            due.contains(&reason),
            "{at}: {reason} {before} to {now}"
        );
    }
}

#[test]
fn nat() {
    completes("nat", &EACH);
}

#[test]
fn nat_between_the_families() {
    completes(ACROSS, &EACH);
}

#[test]
fn route() {
    completes("route", &EACH);
}

/// Backends of this mode are on a network of the balancer. Their answers pass the hop in front.
#[test]
fn dsr() {
    completes("dsr", &[Narrow::Front]);
}

#[test]
fn ipip() {
    completes("ipip", &EACH);
}

#[test]
fn gue() {
    completes("gue", &EACH);
}

/// The same where the narrow link is one of the balancer's own: it is the balancer that refuses what does not
/// fit, and says so itself.
fn completes_beside(mode: &str, places: &[Narrow]) {
    for &narrow in places {
        let (lab, _far_end) = lab(mode, narrow);
        let host = match narrow {
            Narrow::Front => "client",
            Narrow::Back | Narrow::Both => "web-1",
        };
        let [near, far] = lab.routers(host);
        for (end, interface, mtu) in [
            (near, "eth1", 1_500),
            (far, "eth0", 1_500),
            (near, "eth0", NARROW_MTU),
            (lab.balancer(), host, NARROW_MTU),
        ] {
            end.must_run(&["ip", "link", "set", interface, "mtu", &mtu.to_string()]);
        }
        let divvy = lab.divvy(&lab.config().mode(mode));
        divvy.wait_for_all_up();
        for (url, name) in FAMILIES {
            println!("{mode}, {narrow:?}, {name}");
            let before = (divvy.reason("packet_too_big"), refused(near, url == URL4));
            there_and_back(&lab, url, name);
            assert!(divvy.reason("packet_too_big") > before.0, "nobody was told");
            assert!(
                refused(near, url == URL4) > before.1,
                "the router told nobody"
            );
            assert_eq!(divvy.reason("path_mtu"), 0);
        }
    }
}

#[test]
fn nat_beside_the_balancer() {
    completes_beside("nat", &[Narrow::Front, Narrow::Back]);
}

#[test]
fn route_beside_the_balancer() {
    completes_beside("route", &[Narrow::Front, Narrow::Back]);
}

#[test]
fn tunnels_beside_the_balancer() {
    for mode in ["ipip", "gue"] {
        completes_beside(mode, &[Narrow::Back]);
    }
}
