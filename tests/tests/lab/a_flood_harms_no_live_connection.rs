//! A SYN flood, each second of ten times as many flows as may be half-open, leaves every established
//! connection alone, idle or not, and lets new ones in meanwhile. `DIVVY_FLOOD_SECONDS` asks for a longer one
//! (docs/testing.md).

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lb_tests::{
    lab::{IdleConnections, Lab, Load, SynFlood, URL4, URL6, VIP4, VIP6, wait_until},
    number_from_env,
};
use serde_json::Value;

const SECONDS: u32 = 10;
const HALF_OPEN: u32 = 1_000;
const LIVE: usize = 1_000;
/// New connections a second, of clients that mean it.
const GENUINE: u32 = 100;

fn survives(title: &'static str, vip: SocketAddr, url: &str) {
    let lab = Lab::routed(title).backends(3).start();
    let config = lab.config().with(&format!(
        "limits: {{ flows: 4096, half_open: {HALF_OPEN} }}"
    ));
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let mut live = IdleConnections::open(lab.client(), url, LIVE);
    let service = if vip.is_ipv4() { "web" } else { "web6" };
    let established = format!("flows --service {service} --state established -o json");
    let established: Vec<&str> = established.split(' ').collect();
    // By address and port of the client: which, not only how many.
    let sources = || -> BTreeSet<String> {
        let said: Value = serde_json::from_str(&divvy.must(&established)).expect("JSON");
        let flows = said["flows"].as_array().into_iter().flatten();
        flows.map(|flow| flow["client"].to_string()).collect()
    };
    let at_first = sources();
    assert_eq!(at_first.len(), LIVE);

    let seconds = number_from_env("DIVVY_FLOOD_SECONDS", SECONDS);
    let syns = 10 * HALF_OPEN * seconds;
    let flood = SynFlood::at(vip).count(syns).per_second(10 * HALF_OPEN);
    let opened = divvy.reason("flow_new");
    let load = Load::on(url).per_second(GENUINE).from(lab.client());
    let start = Instant::now();
    let (took, spoken) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood.from(lab.client()));
        let mut spoken = 0;
        // Every second connection speaks during the flood, the others stay idle.
        while !flood.is_finished() {
            assert_eq!(live.ask(|number| number % 2 == 0), Vec::<String>::new());
            spoken += 1;
        }
        (flood.join().expect("all SYNs are sent"), spoken)
    });
    let new = load.stop().since(start).until(start + took);
    let (tried, answered) = (new.requests.len(), new.answered());
    // Past the capture of output, which would hide it from whoever runs a test that passes.
    let _ = writeln!(
        std::io::stderr().lock(),
        "{title}: {syns} SYNs in {took:.1?}; {LIVE} connections, half of which spoke {spoken} times; \
         {answered} of {tried} new ones were served"
    );
    let opened = divvy.reason("flow_new") - opened;
    assert!(
        opened > u64::from(syns / 2),
        "only {opened} of {syns} SYNs opened a flow"
    );
    assert!(tried >= 100, "only {tried} new connections were tried");
    assert!(answered * 100 >= tried * 99, "{new}");
    assert_eq!(live.broken(), Vec::<String>::new());
    let still = sources();
    assert!(
        still.is_superset(&at_first),
        "{} of {LIVE} are left",
        still.intersection(&at_first).count()
    );
    let half_open = divvy.status()["flows"]["half_open"].as_u64();
    assert!(
        half_open <= Some(u64::from(2 * HALF_OPEN)),
        "{half_open:?} half-open flows"
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
