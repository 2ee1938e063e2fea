//! A backend whose MAC address changes, and a neighbour cache that is flushed, stop no connection
//! for long.

use std::time::Duration;

use lb_tests::lab::{IdleConnections, Lab, Load, URL4, URL6, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_changed_mac_address_is_learned() {
    let lab = Lab::routed("mac").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 20);
    lab.backend("web-1").set_mac("02:00:00:00:00:77");
    wait_until("the new address is in use", SOON, || {
        divvy.backend("web/web-1")["next_hop"]
            .as_str()
            .is_some_and(|hop| hop.contains("02:00:00:00:00:77"))
    });
    divvy.wait_for_all_up();
    let words = format!(
        "packets to backend address {} go to 02:00:00:00:00:77 instead of ",
        lab.backend("web-1").v4().ip()
    );
    let log = divvy.log();
    assert!(log.contains(&words), "{log}");
    for url in [URL4, URL6] {
        let report = lab.client().get_many(40, url);
        assert_eq!(report.failed().len(), 0, "{report}");
        assert_eq!(report.by_backend().len(), 2, "{report}");
    }
    // Its connections were there all the time.
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn a_flushed_neighbour_cache_fails_no_request() {
    let lab = Lab::routed("flush").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let load = Load::on(URL4).from(lab.client());
    let load6 = Load::on(URL6).from(lab.client());
    for _ in 0..10 {
        load.wait_for(50);
        lab.balancer().flush_neighbours();
    }
    load.wait_for(50);
    for report in [load.stop(), load6.stop()] {
        assert_eq!(report.failed().len(), 0, "{report}");
        // A lost SYN would have cost a second.
        assert!(report.slowest() < Duration::from_millis(900), "{report}");
    }
}

#[test]
fn an_interface_that_goes_and_comes_is_attached_again() {
    let lab = Lab::routed("link").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    lab.backend("web-2").unplug();
    divvy.wait_for_state("web/web-2", "down");
    let report = lab.client().get_many(40, URL4);
    assert_eq!(report.answered_by("web-1"), 40, "{report}");
}
