//! When the table of confirmed flows is full, the connections in it go on, and each one that finds no room is
//! counted, once. It goes on half-open; those that newer ones then push out are reset, and counted too.

use std::{collections::BTreeSet, net::SocketAddr};

use lb_tests::lab::{IdleConnections, Lab, URL4, URL6};

/// The smallest tables there are have room for about half of them.
const LIMITS: &str = "limits: { flows: 64, half_open: 64 }";
const OPENED: usize = 1_000;

fn goes_on(title: &'static str, url: &str) {
    let lab = Lab::routed(title).backends(2).start();
    let divvy = lab.divvy(&lab.config().with(LIMITS));
    divvy.wait_for_all_up();
    let counts = || ["flow_table_full", "no_flow"].map(|reason| divvy.reason(reason) as usize);
    assert_eq!(counts(), [0, 0]);

    let mut connections = IdleConnections::open(lab.client(), url, OPENED);
    let confirmed = || -> BTreeSet<SocketAddr> {
        let flows = divvy.flows();
        let flows = flows["flows"].as_array().into_iter().flatten();
        let confirmed = flows.filter(|flow| flow["confirmed"] == true);
        let client = confirmed.map(|flow| flow["client"].as_str().expect("an address").parse());
        client.map(|client| client.expect("an address")).collect()
    };
    let live = confirmed();
    let [refused, _] = counts();
    assert_eq!(
        live.len() + refused,
        OPENED,
        "{} live, {refused} refused",
        live.len()
    );
    assert!(
        live.len() >= 64 && refused >= 64,
        "{} live, {refused} refused",
        live.len()
    );

    let addresses = connections.addresses();
    let is_live = |number: usize| live.contains(&addresses[number]);
    assert_eq!(connections.ask(is_live), Vec::<String>::new());
    let reset = connections.ask(|number| !is_live(number));
    assert!(
        !reset.is_empty() && reset.len() < refused,
        "{} of {refused}",
        reset.len()
    );
    let other = reset.iter().find(|error| !error.contains("reset"));
    assert_eq!(
        other, None,
        "by a RST, and not by a timeout of the client's"
    );
    assert_eq!(counts(), [refused, reset.len()]);
    assert_eq!(connections.ask(is_live), Vec::<String>::new());
    assert_eq!(confirmed(), live);
}

#[test]
fn v4() {
    goes_on("full_table4", URL4);
}

#[test]
fn v6() {
    goes_on("full_table6", URL6);
}
