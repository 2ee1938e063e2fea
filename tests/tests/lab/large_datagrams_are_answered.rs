//! Datagrams that are too large for one packet travel in fragments, real ones, both ways and in every mode.

use std::net::{IpAddr, SocketAddr};

use lb_tests::lab::{
    Backend, DNS_PORT, DatagramEcho, Decap, Divvy, EchoServer, Lab, Manner, VIP4, VIP6,
};

use crate::tunnel::GUE_PORT;

/// In one packet, in two, in three and in many fragments.
const SIZES: [usize; 8] = [100, 1_600, 4_000, 4_000, 4_001, 20_000, 3, 4_000];
const SOCKETS: usize = 20;

/// UDP servers on all backends, and what answers their probes.
fn serve(lab: &Lab) -> Vec<(DatagramEcho, EchoServer)> {
    let serve = |backend: &Backend| {
        let host = backend.host();
        backend.hold_vips();
        let addresses: [IpAddr; 4] = [host.v4().into(), host.v6().into(), VIP4.into(), VIP6.into()];
        (
            DatagramEcho::start(host, DNS_PORT, &addresses),
            EchoServer::start(host, DNS_PORT, Manner::Echo),
        )
    };
    lab.backends().iter().map(serve).collect()
}

fn answers(lab: &Lab, divvy: &Divvy, mode: &str) {
    divvy.apply(&lab.config().mode(mode).dns());
    divvy.wait_for_all_up();
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        for socket in 0..SOCKETS {
            let server = SocketAddr::new(vip, DNS_PORT);
            let exchanged = lab.client().exchange(server, &SIZES);
            assert!(
                exchanged.is_ok(),
                "{mode}, {vip}, socket {socket}: {exchanged:?}"
            );
        }
    }
}

#[test]
fn in_modes_whose_answers_come_back() {
    let lab = Lab::routed("large_back").backends(2).start();
    let _servers = serve(&lab);
    let divvy = lab.divvy(&lab.config().dns());
    for mode in ["nat", "route"] {
        answers(&lab, &divvy, mode);
    }
}

#[test]
fn in_modes_whose_answers_go_past_us() {
    let lab = Lab::one_arm("large_past").backends(2).start();
    let _servers = serve(&lab);
    let _far_ends: Vec<Decap> = (lab.backends().iter())
        .map(|backend| backend.decapsulate(GUE_PORT))
        .collect();
    // Room for the outer headers on the way to the backends.
    let (v4, v6) = (lab.balancer().v4(), lab.balancer().v6());
    for way in [
        format!("default via {v4} mtu 1400"),
        format!("default via {v6} mtu 1400"),
    ] {
        let mut words = vec!["ip", "route", "replace"];
        words.extend(way.split(' '));
        lab.client().must_run(&words);
    }
    let divvy = lab.divvy(&lab.config().dns());
    for mode in ["dsr", "ipip", "gue"] {
        answers(&lab, &divvy, mode);
    }
}
