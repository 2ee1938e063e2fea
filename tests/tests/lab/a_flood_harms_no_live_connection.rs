//! A SYN flood of ten times the half-open limit leaves every established connection alone, idle or
//! not.

use std::{net::SocketAddr, time::Duration};

use lb_tests::lab::{IdleConnections, Lab, SynFlood, URL4, URL6, VIP4, VIP6, wait_until};

const HALF_OPEN: u32 = 2_000;
const LIVE: usize = 1_000;

fn survives(title: &'static str, vip: SocketAddr, url: &str) {
    let lab = Lab::routed(title).backends(3).start();
    let config = lab.config().with(&format!(
        "limits: {{ flows: 4096, half_open: {HALF_OPEN} }}"
    ));
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let mut live = IdleConnections::open(lab.client(), url, LIVE);
    let service = if vip.is_ipv4() { "web" } else { "web6" };
    let established = || {
        let words = [
            "flows",
            "--service",
            service,
            "--state",
            "established",
            "--count",
        ];
        divvy
            .must(&words)
            .trim()
            .parse::<usize>()
            .expect("a number")
    };
    assert_eq!(established(), LIVE);

    for _ in 0..10 {
        SynFlood::at(vip)
            .count(HALF_OPEN)
            .per_second(20_000)
            .from(lab.client());
        // Every second connection speaks during the flood, the others stay idle.
        assert_eq!(live.ask(|number| number % 2 == 0), Vec::<String>::new());
    }
    assert_eq!(live.broken(), Vec::<String>::new());
    assert_eq!(established(), LIVE);
    let half_open = divvy.status()["flows"]["half_open"]
        .as_u64()
        .expect("a number");
    assert!(
        half_open <= u64::from(2 * HALF_OPEN),
        "{half_open} half-open flows"
    );
}

#[test]
fn v4() {
    survives("flood4", (VIP4, 80).into(), URL4);
}

#[test]
fn v6() {
    survives("flood6", (VIP6, 80).into(), URL6);
}

#[test]
fn half_open_flows_expire() {
    let lab = Lab::routed("half_open").backends(1).start();
    let config = lab.config().with_default("timeouts: { half_open: 1s }");
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    SynFlood::at((VIP4, 80).into())
        .count(100)
        .from(lab.client());
    assert!(divvy.status()["flows"]["half_open"].as_u64() > Some(0));
    // The backend repeats its SYN-ACKs for a while, and each keeps the flow for another second.
    wait_until("half-open flows expire", Duration::from_secs(90), || {
        divvy.status()["flows"]["half_open"] == 0
    });
}
