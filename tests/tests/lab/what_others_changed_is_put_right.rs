//! Interfaces that go, come and are renamed, programs that are taken off, maps that are written to by
//! somebody else: the daemon puts them right, and says so.

use std::{
    fs,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};
use lb_common::{backend::Backend, names};
use lb_tests::lab::{Divvy, Host, IdleConnections, Lab, URL4, URL6, wait_until};

/// Longer than the daemon takes between two looks.
const PATIENCE: Duration = Duration::from_secs(20);

fn lab(title: &'static str) -> (Lab, Divvy) {
    let lab = Lab::routed(title).backends(2).start();
    // Else IPv6 addresses go with the link.
    for kind in ["all", "web-1"] {
        let key = format!("ipv6/conf/{kind}/keep_addr_on_down");
        lab.balancer().set(&key, "1");
    }
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    (lab, divvy)
}

fn link(balancer: &Host, words: &str) {
    let all = ["ip", "link", "set"].into_iter().chain(words.split(' '));
    balancer.must_run(&all.collect::<Vec<_>>());
}

/// Both backends answer in both families; how long that took since the link was there is printed.
fn serves_again(lab: &Lab, since: Instant, what: &str) {
    wait_until("both backends answer", PATIENCE, || {
        [URL4, URL6].iter().all(|url| {
            let report = lab.client().get_many(20, url);
            report.failed().is_empty() && report.by_backend().len() == 2
        })
    });
    println!(
        "{what}: traffic is back {:.1?} after the link",
        since.elapsed()
    );
}

#[test]
fn an_interface_that_is_down_for_a_while() {
    let (lab, divvy) = lab("linkdown");
    link(lab.balancer(), "web-1 down");
    divvy.wait_for_state("web/web-1", "down");
    let report = lab.client().get_many(40, URL4);
    assert_eq!(report.answered_by("web-2"), 40, "{report}");
    link(lab.balancer(), "web-1 up");
    serves_again(&lab, Instant::now(), "down and up");
    let (log, address) = (divvy.log(), lab.backend("web-1").v4().ip().to_string());
    for words in [
        format!("no next hop for backend address {address}: "),
        format!("backend address {address} has a next hop again"),
    ] {
        assert!(log.contains(&words), "{words}: {log}");
    }
}

#[test]
fn an_interface_that_is_deleted_and_made_again() {
    let (lab, divvy) = lab("linkmade");
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    lab.replace_link("web-1");
    serves_again(&lab, Instant::now(), "deleted and made again");
    // The backend is the same, and so are its connections.
    assert_eq!(idle.broken(), Vec::<String>::new());
    let interfaces = divvy.status()["interfaces"].clone();
    for interface in interfaces.as_array().expect("a list") {
        assert_eq!(interface["xdp"], "native", "{interfaces}");
    }
}

#[test]
fn an_interface_that_is_renamed_and_named_back() {
    let (lab, divvy) = lab("linkname");
    for words in ["web-1 down", "web-1 name elsewhere", "elsewhere up"] {
        link(lab.balancer(), words);
    }
    wait_until("the daemon misses it", PATIENCE, || {
        divvy.log().contains("interface web-1 is gone")
    });
    for words in ["elsewhere down", "elsewhere name web-1", "web-1 up"] {
        link(lab.balancer(), words);
    }
    serves_again(&lab, Instant::now(), "renamed and named back");
}

#[test]
fn a_program_that_was_taken_off() {
    let (lab, divvy) = lab("linktaken");
    let mut idle = IdleConnections::open(lab.client(), URL4, 20);
    // Nobody else holds the link, so that with its pin it goes.
    fs::remove_file(divvy.pins().join("link_client")).expect("it is pinned");
    wait_until("the daemon notices", PATIENCE, || {
        divvy.log().contains("client: the pin of its link is gone")
    });
    serves_again(&lab, Instant::now(), "unpinned");
    assert_eq!(idle.broken(), Vec::<String>::new());
    divvy.kill9();
    let report = lab.client().get_many(20, URL4);
    assert!(report.failed().is_empty(), "it is pinned again: {report}");
}

#[test]
fn maps_that_somebody_wrote_to() {
    let (lab, divvy) = lab("mapswritten");
    let map = |name: &str| {
        let data = MapData::from_pin(divvy.pins().join(name)).expect("it is pinned");
        Map::from_map_data(data).expect("a map of a known kind")
    };
    let mut backends: Array<_, Backend> = map(names::BACKENDS).try_into().expect("an array");
    let before: Vec<Backend> = backends
        .iter()
        .map(|entry| entry.expect("it reads"))
        .collect();
    let at = (before.iter().position(|entry| entry.identity != 0)).expect("there are backends");
    backends
        .set(u32::try_from(at).expect("small"), Backend::FREE, 0)
        .expect("it is ours to break");
    wait_until("the entry is back", PATIENCE, || {
        backends
            .iter()
            .map(|entry| entry.expect("it reads"))
            .eq(before.iter().copied())
    });
    let log = divvy.log();
    assert!(
        log.contains("someone else changed the tables: 1 of backends; putting them right"),
        "{log}"
    );
    serves_again(&lab, Instant::now(), "tables put right");
    // Nothing is found wrong that is right.
    assert_eq!(divvy.log().matches("someone else").count(), 1);
}
