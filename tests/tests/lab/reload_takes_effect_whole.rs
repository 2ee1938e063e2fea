//! A reload does all that the file says, to the host too; one that cannot be carried out does nothing.

use std::{io::ErrorKind, time::Duration};

use aya::maps::{Array, Map, MapData};
use lb_common::{backend::Backend, names};
use lb_tests::lab::{Divvy, IdleConnections, Lab, Load, URL4, wait_until};

use crate::refusal::accept_local;

/// Interfaces of the balancer that have an XDP program.
fn attached(lab: &Lab) -> Vec<String> {
    let links = lab.balancer().must_run(&["ip", "-o", "link"]);
    let mut names: Vec<_> = (links.lines())
        .filter(|line| line.contains(" xdp"))
        .filter_map(|line| line.split([':', '@']).nth(1))
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn on_the_interfaces() {
    let lab = Lab::routed("interfaces").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let all = attached(&lab);
    assert_eq!(all, ["client", "web-1", "web-2"]);
    for (path, value) in accept_local(&lab) {
        let wanted = all
            .iter()
            .any(|name| path.ends_with(format!("{name}/accept_local")));
        assert_eq!(value == "1", wanted, "{}", path.display());
    }

    let fewer = lab.config().without("web-2").yaml();
    divvy.write_config(&fewer.replace(", web-2]", "]"));
    divvy.must(&["reload"]);
    assert_eq!(attached(&lab), ["client", "web-1"]);
    divvy.apply(&lab.config());
    assert_eq!(attached(&lab), all);
}

/// The client's interface is a veth: a reset that goes back by it must be redirected
/// (decision 0007), after a reload too.
#[test]
fn on_resets_that_go_back_to_the_client() {
    let lab = Lab::routed("reload_rst").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    divvy.apply(&lab.config().weight("web-1", 2));
    lab.backend("web-1").kill();
    divvy.wait_for_state("web/web-1", "down");
    let error = lab.client().get(URL4).expect_err("no backend is up");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn or_not_at_all_where_an_interface_cannot_be_had() {
    let lab = Lab::routed("half").backends(2).start();
    let only_first = lab.config().without("web-2").yaml();
    let good = only_first.replace(", web-2]", "]");
    let divvy = lab.divvy_not_running(&good);
    divvy.start_again();
    divvy.wait_for_all_up();
    let other = lab.divvy_not_running(&good.replace("[client, web-1]", "[web-2]"));
    other.start_again();
    other.wait_for_all_up();

    let before = divvy.status();
    let bad = lab.config().with("snat: { ports: 2000-2999 }");
    divvy.write_config(&bad.yaml());
    let output = divvy.reload();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for word in ["another XDP program", "web-2", "nothing changed"] {
        assert!(said.contains(word), "{word} is missing in: {said}");
    }
    let after = divvy.status();
    let backends = |status: &serde_json::Value| -> Vec<String> {
        (status["services"][0]["backends"]
            .as_array()
            .expect("backends")
            .iter())
        .map(|backend| backend["name"].to_string())
        .collect()
    };
    assert_eq!(backends(&after), backends(&before));
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.answered_by("web-1") > 0, "{report}");
}

/// Addresses of the backends that the map has entries for.
fn entries(divvy: &Divvy) -> Vec<[u32; 4]> {
    let map = MapData::from_pin(divvy.pins().join(names::BACKENDS)).expect("it is pinned");
    let map = Map::from_map_data(map).expect("an array");
    let backends = Array::<_, Backend>::try_from(map).expect("of backends");
    (backends.iter())
        .map(|entry| entry.expect("it can be read"))
        .filter(|entry| entry.identity != 0)
        .map(|entry| entry.address)
        .collect()
}

#[test]
fn and_entries_of_removed_backends_are_freed_once_they_have_no_flows() {
    let lab = Lab::routed("freed").backends(3).start();
    let config = lab.config().with_default("on_down: keep");
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    // For each family one of each backend.
    assert_eq!(entries(&divvy).len(), 6);
    let mut idle = IdleConnections::open(lab.client(), URL4, 30);
    assert!(idle.to_backend("web-1") > 0);
    divvy.apply(&config.without("web-1"));
    // Of web-1 the entry for IPv6 has no flows, the one for IPv4 has.
    wait_until("an entry is freed", Duration::from_secs(20), || {
        entries(&divvy).len() < 6
    });
    // Sweeps of a second that follow leave the other alone.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(entries(&divvy).len(), 5);
    assert_eq!(idle.broken(), Vec::<String>::new());
}
