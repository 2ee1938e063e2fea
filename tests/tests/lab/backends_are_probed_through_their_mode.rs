//! A backend of a mode whose packets are for the vip is probed by that mode too: one that does not
//! hold the vip, or does not unwrap packets, is down with the reason, although it answers directly.

use std::{net::IpAddr, time::Duration};

use lb_tests::lab::{Backend, Config, Divvy, Lab, URL4, VIP4, VIP6, wait_until};
use serde_json::Value;

use crate::tunnel::GUE_PORT;

const SOON: Duration = Duration::from_secs(10);
const PLACES: [(&str, IpAddr); 2] = [
    ("web/web-1", IpAddr::V4(VIP4)),
    ("web6/web-1", IpAddr::V6(VIP6)),
];

/// Waits until both services say this of their backend.
fn wait_for_both(divvy: &Divvy, state: &str, probe: &str, reason: impl Fn(IpAddr) -> String) {
    for (place, vip) in PLACES {
        let reason = reason(vip);
        let mut said = Value::Null;
        let done = || {
            said = divvy.backend(place);
            let words = said["reason"].as_str().unwrap_or_default();
            said["state"] == state && said["probe"] == probe && words.starts_with(&reason)
        };
        wait_until(
            &format!("{place} is {state}, {probe}: {reason}"),
            SOON,
            done,
        );
    }
}

fn well(divvy: &Divvy) {
    wait_for_both(divvy, "up", "ok", |_| "HTTP 200 in ".to_owned());
}

fn drop_vips(backend: &Backend) {
    for vip in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
        (backend.host()).must_run(&["ip", "address", "del", &vip, "dev", "lo"]);
    }
}

fn dsr(lab: &Lab) {
    let no_vip = |vip| format!("answers directly but not for the vip: is {vip} on its loopback?");
    let backend = lab.backend("web-1");
    let divvy = lab.divvy(&lab.config().mode("dsr"));
    wait_for_both(&divvy, "down", "direct_only", no_vip);
    backend.hold_vips();
    well(&divvy);
    assert_eq!(lab.client().get(URL4).expect("answered").backend, "web-1");
    // No connection is left half-open: the host counts each that was given up.
    let before = backend.host().kernel_count("TcpAttemptFails");
    wait_until("connections are given up", SOON, || {
        backend.host().kernel_count("TcpAttemptFails") >= before + 6
    });
    drop_vips(backend);
    wait_for_both(&divvy, "down", "direct_only", no_vip);
    // The cause is logged.
    let logged = format!("web/web-1 is down: {}", no_vip(VIP4.into()));
    assert!(divvy.log().contains(&logged), "{}", divvy.log());
    // Between the families, too.
    divvy.apply(&lab.config().mode("dsr").crossed());
    wait_for_both(&divvy, "down", "direct_only", no_vip);
    backend.hold_vips();
    well(&divvy);
}

#[test]
fn dsr_finds_a_missing_loopback_address() {
    dsr(&Lab::routed("probe_dsr").backends(1).start());
}

#[test]
fn dsr_finds_it_with_one_arm() {
    dsr(&Lab::one_arm("probe_dsr_arm").backends(1).start());
}

/// By these tunnels, as the defaults of a configuration say.
fn tunnels(lab: &Lab, mode: &str, tunnels: &[&str]) {
    let no_tunnel = |vip| {
        format!(
            "answers directly but not through the tunnel: does it unwrap {mode} and hold the vip {vip}?"
        )
    };
    let lost = |divvy: &Divvy| wait_for_both(divvy, "down", "direct_only", no_tunnel);
    let backend = lab.backend("web-1");
    let divvy = lab.divvy(&lab.config());
    for tunnel in tunnels {
        let mut config = lab.config().mode(mode);
        if !tunnel.is_empty() {
            config = config.with_default(&format!("tunnel: {tunnel}"));
        }
        for config in [config.clone(), config.crossed()] {
            // Whoever holds the vips still needs to unwrap.
            backend.hold_vips();
            divvy.apply(&config);
            lost(&divvy);
            let far_end = backend.decapsulate(GUE_PORT);
            well(&divvy);
            assert_eq!(far_end.malformed(), 0);
            drop_vips(backend);
            lost(&divvy);
            backend.hold_vips();
            well(&divvy);
            drop(far_end);
            lost(&divvy);
        }
    }
}

#[test]
fn ipip_finds_what_does_not_unwrap() {
    let lab = Lab::routed("probe_ipip").backends(1).start();
    tunnels(
        &lab,
        "ipip",
        &["", "{ sources: [10.9.0.0/16, \"fd00:9::/64\"] }"],
    );
}

#[test]
fn gue_finds_what_does_not_unwrap() {
    let lab = Lab::routed("probe_gue").backends(1).start();
    tunnels(&lab, "gue", &["{ variant: 0 }", "{ variant: 1 }"]);
}

#[test]
fn a_vip_may_be_an_address_of_the_balancer() {
    let lab = Lab::routed("probe_own").backends(1).start();
    let backend = lab.backend("web-1");
    for vip in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
        (lab.balancer()).must_run(&["ip", "address", "add", &vip, "dev", "lo"]);
    }
    let divvy = lab.divvy(&lab.config().mode("dsr"));
    wait_for_both(&divvy, "down", "direct_only", |_| String::new());
    backend.hold_vips();
    well(&divvy);
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    let lab = Lab::routed("probe_port").backends(1).start();
    let backend = lab.backend("web-1");
    backend.hold_vips();
    let divvy = lab.divvy_not_running(&format!(
        "interfaces: [client, web-1]\n\
         services:\n\
         \x20 - name: web\n\
         \x20   listen: [\"{VIP4}:81\"]\n\
         \x20   mode: dsr\n\
         \x20   health_check: {{ port: 80, interval: 100ms, rise: 1, fall: 1 }}\n\
         \x20   backends: [{{ name: web-1, address: {} }}]\n",
        backend.host().v4()
    ));
    divvy.start_again();
    let said = divvy.wait_for_state("web/web-1", "down");
    assert_eq!(
        said["reason"],
        format!("answers directly but refuses connections to the vip {VIP4}:81")
    );
    assert_eq!(said["probe"], "direct_only");
}

/// Without what probing through the mode finds: nothing holds the vips.
fn unheld(lab: &Lab) -> Config {
    lab.config().mode("dsr")
}

#[test]
fn it_can_be_turned_off() {
    let lab = Lab::routed("probe_off").backends(1).start();
    let check = "{ type: http, interval: 100ms, rise: 1, fall: 1, through: false }";
    let divvy = lab.divvy(&unheld(&lab).health_check(check));
    well(&divvy);
}

#[test]
fn without_the_capability_it_is_left_out_and_said_once() {
    let lab = Lab::routed("probe_cap").backends(1).start();
    let divvy = lab.divvy_not_running(&unheld(&lab).yaml());
    divvy.run_by(&["setpriv", "--bounding-set=-net_raw"]);
    divvy.start_again();
    for (place, _) in PLACES {
        let said = divvy.wait_for_state(place, "up");
        let reason = said["reason"].as_str().expect("words");
        assert!(
            reason.ends_with("; not probed through dsr: CAP_NET_RAW is missing"),
            "{reason}"
        );
    }
    let log = divvy.log();
    let said = "no packet socket: Operation not permitted (os error 1); give the daemon \
                CAP_NET_RAW, or set through: false";
    assert_eq!(log.matches(said).count(), 1, "{log}");
}

#[test]
fn udp_services_are_asked_by_datagrams() {
    let lab = Lab::routed("probe_udp").backends(1).start();
    let backend = lab.backend("web-1");
    backend.hold_vips();
    let own = backend.host().v4();
    let server =
        |addresses: &[IpAddr]| lb_tests::lab::DatagramEcho::start(backend.host(), 5353, addresses);
    let divvy = lab.divvy_not_running(&format!(
        "interfaces: [client, web-1]\n\
         services:\n\
         \x20 - name: dns\n\
         \x20   listen: [\"{VIP4}:5353\"]\n\
         \x20   protocol: udp\n\
         \x20   mode: ipip\n\
         \x20   health_check: {{ type: udp, send: ping, interval: 100ms, rise: 1, fall: 1 }}\n\
         \x20   backends: [{{ name: web-1, address: \"{own}:5353\" }}]\n",
    ));
    let _far_end = backend.decapsulate(GUE_PORT);
    let only_itself = server(&[own.into()]);
    divvy.start_again();
    let said = divvy.wait_for_state("dns/web-1", "down");
    assert_eq!(said["probe"], "direct_only", "{said}");
    drop(only_itself);
    let _both = server(&[own.into(), VIP4.into()]);
    let said = divvy.wait_for_state("dns/web-1", "up");
    assert_eq!(said["probe"], "ok", "{said}");
}
