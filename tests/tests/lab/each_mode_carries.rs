//! Every mode carries HTTP and 100 MB unchanged, in both lab shapes and over every pair of address
//! families that it can lead between, to backends that are the real far ends of it.

use std::net::IpAddr;

use lb_tests::lab::{Backend, Config, Decap, Digest, Divvy, Ip, Lab, Tunnel, URL4, URL6};

use crate::tunnel::GUE_PORT;

/// The vips' services, by the IP version of the vip.
const SERVICES: [(Ip, &str, &str); 2] = [(Ip::V4, URL4, "web"), (Ip::V6, URL6, "web6")];

/// A lab of two backends that hold the vips, and what they must send.
fn lab(lab: Lab) -> (Lab, Digest) {
    lab.backends().iter().for_each(Backend::hold_vips);
    let file = lab.offer_hundred_megabytes();
    (lab, file)
}

/// Both services answer from both backends, which see the client's own address, and send the file.
fn carries(lab: &Lab, divvy: &Divvy, config: &Config, file: &Digest) {
    divvy.apply(config);
    divvy.wait_for_all_up();
    for (version, url, service) in SERVICES {
        let client = match version {
            Ip::V4 => IpAddr::from(lab.client().v4()),
            Ip::V6 => IpAddr::from(lab.client().v6()),
        };
        let flows = |backend: &Backend| {
            divvy.backend(&format!("{service}/{}", backend.name()))["flows_total"]
                .as_u64()
                .expect("a number")
        };
        let before: Vec<u64> = lab.backends().iter().map(flows).collect();
        let report = lab.client().get_many(40, url);
        assert!(report.failed().is_empty(), "{:?}", report.failed());
        for (backend, before) in lab.backends().iter().zip(before) {
            let hits = report.answered_by(backend.name());
            assert!(hits > 0, "{} got nothing of {url}", backend.name());
            assert_eq!(
                flows(backend) - before,
                hits as u64,
                "{url} at {}",
                backend.name()
            );
        }
        let response = lab.client().get(url).expect("the backend answers");
        assert_eq!(response.client, client.to_string(), "the client is seen");
        let came = lab.client().digest(&format!("{url}100mb"));
        assert_eq!(came.expect("the file comes"), *file, "{url}");
    }
}

/// The client is not seen: backends see an address of the balancer.
fn nat(lab: &Lab, file: &Digest) {
    let config = lab.config().crossed();
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    for (_, url, service) in SERVICES {
        let report = lab.client().get_many(40, url);
        assert!(report.failed().is_empty(), "{:?}", report.failed());
        for backend in lab.backends() {
            assert!(report.answered_by(backend.name()) > 0, "{}", backend.name());
            let place = format!("{service}/{}", backend.name());
            assert!(divvy.backend(&place)["flows_total"].as_u64() > Some(0));
        }
        let came = lab.client().digest(&format!("{url}100mb"));
        assert_eq!(came.expect("the file comes"), *file, "{url}");
    }
    let flows = divvy.flows();
    let flows = flows["flows"].as_array().expect("a list");
    let v4 = |flow: &serde_json::Value, key: &str| {
        let address = flow[key].as_str().expect("an address");
        !address.starts_with('[')
    };
    assert!(!flows.is_empty());
    for flow in flows {
        assert_eq!(v4(flow, "client"), v4(flow, "vip"), "{flow}");
        assert_ne!(v4(flow, "client"), v4(flow, "backend_address"), "{flow}");
        assert_eq!(v4(flow, "source"), v4(flow, "backend_address"), "{flow}");
    }
}

#[test]
fn nat_between_the_families_routed() {
    let (lab, file) = lab(Lab::routed("nat").backends(2).start());
    nat(&lab, &file);
}

#[test]
fn nat_between_the_families_one_arm() {
    let (lab, file) = lab(Lab::one_arm("nat_arm").backends(2).start());
    nat(&lab, &file);
}

fn route(lab: &Lab, file: &Digest) {
    let config = lab.config().mode("route");
    carries(lab, &lab.divvy(&config), &config, file);
}

fn dsr(lab: &Lab, file: &Digest) {
    let config = lab.config().mode("dsr");
    let divvy = lab.divvy(&config);
    carries(lab, &divvy, &config, file);
    carries(lab, &divvy, &config.crossed(), file);
}

fn tunnels(lab: &Lab, file: &Digest) {
    let far_ends: Vec<Decap> = (lab.backends().iter())
        .map(|backend| backend.decapsulate(GUE_PORT))
        .collect();
    let divvy = lab.divvy(&lab.config());
    let mut before = lab.backends().iter().map(|_| 0).collect::<Vec<u64>>();
    for (tunnel, mode) in [
        (Tunnel::Ipip, "ipip"),
        (Tunnel::Gue0, "gue"),
        (Tunnel::Gue1, "gue"),
    ] {
        for crossed in [false, true] {
            let mut config = lab.config().mode(mode).probed_directly();
            if tunnel == Tunnel::Gue1 {
                config = config.with_default("tunnel: { variant: 1 }");
            }
            if crossed {
                config = config.crossed();
            }
            carries(lab, &divvy, &config, file);
            for (far_end, before) in far_ends.iter().zip(&mut before) {
                let carried = far_end.carried();
                for inner in Ip::BOTH {
                    let outer = match (inner, crossed) {
                        (Ip::V4, false) | (Ip::V6, true) => Ip::V4,
                        _ => Ip::V6,
                    };
                    assert!(
                        carried.get(&(tunnel, outer, inner)).is_some_and(|n| *n > 0),
                        "{tunnel:?}, {inner:?} in {outer:?}: {carried:?}"
                    );
                }
                // Nothing came but what this tunnel carries.
                let others: u64 = (carried.iter())
                    .filter(|((of, outer, inner), _)| *of != tunnel || (outer == inner) == crossed)
                    .map(|(_, packets)| packets)
                    .sum();
                assert_eq!(others, *before, "{carried:?}");
                *before = carried.values().sum();
                assert_eq!(far_end.malformed(), 0);
            }
        }
    }
}

#[test]
fn route_routed() {
    let (lab, file) = lab(Lab::routed("route").backends(2).start());
    route(&lab, &file);
}

#[test]
fn route_one_arm() {
    let (lab, file) = lab(Lab::one_arm("route_arm").backends(2).start());
    // Replies must come back through the balancer, although the client is on the same network.
    for backend in lab.backends() {
        let host = backend.host();
        let (via4, via6) = (lab.balancer().v4(), lab.balancer().v6());
        let (client4, client6) = (lab.client().v4(), lab.client().v6());
        for (client, via) in [
            (client4.to_string(), via4.to_string()),
            (client6.to_string(), via6.to_string()),
        ] {
            host.must_run(&["ip", "route", "add", &client, "via", &via]);
        }
    }
    route(&lab, &file);
}

#[test]
fn dsr_routed() {
    let (lab, file) = lab(Lab::routed("dsr").backends(2).start());
    dsr(&lab, &file);
}

#[test]
fn dsr_one_arm() {
    let (lab, file) = lab(Lab::one_arm("dsr_arm").backends(2).start());
    dsr(&lab, &file);
}

#[test]
fn tunnels_routed() {
    let (lab, file) = lab(Lab::routed("tunnels").backends(2).start());
    tunnels(&lab, &file);
}

#[test]
fn tunnels_one_arm() {
    let (lab, file) = lab(Lab::one_arm("tunnels_arm").backends(2).start());
    tunnels(&lab, &file);
}
