//! When all source ports toward a backend are in use, each further SYN is dropped and counted; no connection is
//! given a port that another has, and those that are there go on.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread,
};

use lb_tests::lab::{Host, IdleConnections, Lab, TIMEOUT, URL4, URL6, Url};

const PORTS: std::ops::RangeInclusive<u16> = 2_000..=2_099;
const REFUSED: usize = 20;

/// SYNs that the host's kernel has sent so far.
fn syns(host: &Host) -> u64 {
    host.kernel_count("TcpActiveOpens") + host.kernel_count("TcpExtTCPSynRetrans")
}

/// Whom the host's kernel has connections with from these ports.
fn peers(host: &Host) -> BTreeSet<SocketAddr> {
    let said = host.must_run(&["ss", "-Htn", "state", "established"]);
    let peer = |line: &str| -> SocketAddr {
        let peer = line
            .split_whitespace()
            .nth(3)
            .expect("queues, own address, peer");
        peer.parse().expect("ss -n prints addresses")
    };
    let peers = said.lines().map(peer);
    peers.filter(|peer| PORTS.contains(&peer.port())).collect()
}

fn is_counted(title: &'static str, url: &str) {
    let lab = Lab::routed(title).backends(1).start();
    let ports = format!("snat: {{ ports: {}-{} }}", PORTS.start(), PORTS.end());
    let divvy = lab.divvy(&lab.config().with(&ports));
    divvy.wait_for_all_up();
    let mut live = IdleConnections::open(lab.client(), url, PORTS.len());
    assert_eq!(divvy.reason("ports_exhausted"), 0);

    let before = syns(lab.client());
    let vip = Url::parse(url).address;
    lab.client().inside(|| {
        thread::scope(|scope| {
            for _ in 0..REFUSED {
                scope.spawn(|| {
                    let error =
                        TcpStream::connect_timeout(&vip, TIMEOUT).expect_err("no port is free");
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                });
            }
        });
    });
    let sent = syns(lab.client()) - before;
    assert!(sent >= REFUSED as u64, "{sent} SYNs");
    assert_eq!(
        divvy.reason("ports_exhausted"),
        sent,
        "each SYN, repeated ones too"
    );

    let at_backend = peers(lab.backend("web-1").host());
    assert_eq!(at_backend.len(), PORTS.len());
    let flows = divvy.flows();
    let sources = flows["flows"].as_array().into_iter().flatten();
    let sources = sources.map(|flow| flow["source"].as_str().expect("an address").parse());
    let sources: Vec<SocketAddr> = sources.map(|source| source.expect("an address")).collect();
    assert_eq!(sources.len(), PORTS.len());
    assert_eq!(sources.into_iter().collect::<BTreeSet<_>>(), at_backend);
    assert_eq!(live.broken(), Vec::<String>::new());
}

#[test]
fn v4() {
    is_counted("ports4", URL4);
}

#[test]
fn v6() {
    is_counted("ports6", URL6);
}
