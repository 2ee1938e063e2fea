//! `divvy explain` runs the program itself: what it says of a packet is what becomes of it, and nothing
//! comes of the question.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use lb_tests::lab::{Backend, Divvy, Host, Lab, URL4, URL6, VIP4, VIP6, wait_until};
use serde_json::Value;

/// Ports of the client that are tried of each family.
const TRIES: usize = 12;

/// A port of the client that was never used: one that was is in TIME-WAIT.
fn fresh_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(50_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn explain(divvy: &Divvy, client: SocketAddr, vip: &str) -> Value {
    let text = divvy.must(&["explain", &client.to_string(), vip, "-o", "json"]);
    serde_json::from_str(&text).expect("it is JSON")
}

/// Who answers a request that comes from this port.
fn answered_by(client: &Host, port: u16, url: &str) -> String {
    let port = port.to_string();
    let told = "%header{x-backend}";
    let words = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "--max-time",
        "5",
        "--local-port",
        &port,
        "-w",
        told,
        url,
    ];
    client.must_run(&words)
}

fn vip(address: IpAddr) -> String {
    SocketAddr::new(address, 80).to_string()
}

/// Whatever a question might change.
fn traces(divvy: &Divvy) -> (Value, Vec<Value>, Value) {
    let status = divvy.status();
    let totals = status["services"].as_array().expect("a list").iter();
    let totals = totals.flat_map(|service| service["backends"].as_array().expect("a list").clone());
    let totals = totals
        .map(|backend| serde_json::json!([backend["flows_total"], backend["packets_total"]]))
        .collect();
    let reasons = status["reasons"].as_array().expect("a list").iter();
    // The host's own packets come by meanwhile.
    let reasons = reasons
        .filter(|reason| reason["kind"] != "pass")
        .cloned()
        .collect();
    (
        Value::Array(reasons),
        totals,
        divvy.flows()["count"].clone(),
    )
}

/// The same once the last packets of the connection before have come by.
fn settled(divvy: &Divvy) -> (Value, Vec<Value>, Value) {
    let mut last = traces(divvy);
    wait_until("nothing comes by any more", Duration::from_secs(10), || {
        thread::sleep(Duration::from_millis(50));
        let before = std::mem::replace(&mut last, traces(divvy));
        before == last
    });
    last
}

fn agrees(lab: &Lab, divvy: &Divvy, [v4, v6]: [&str; 2]) {
    let client = lab.client();
    let sides: [(IpAddr, IpAddr, &str, &str); 2] = [
        (client.v4().into(), VIP4.into(), URL4, v4),
        (client.v6().into(), VIP6.into(), URL6, v6),
    ];
    for (address, vip_address, url, service) in sides {
        for _ in 0..TRIES {
            let port = fresh_port();
            let from = SocketAddr::new(address, port);
            let before = settled(divvy);
            let told = explain(divvy, from, &vip(vip_address));
            assert_eq!(traces(divvy), before, "the question left traces");
            assert_eq!(told["verdict"], "forward", "{told:#}");
            assert_eq!(told["packet"], "syn", "{told:#}");
            assert_eq!(told["service"]["name"], service, "{told:#}");
            let backend = told["backend"]["name"].as_str().expect("there is one");
            assert_eq!(told["ring"]["backend"], backend, "{told:#}");
            // A full packet of IPv4 does not fit once it is one of IPv6.
            let v4 = |side: &str| {
                !told[side]["destination"]
                    .as_str()
                    .expect("text")
                    .contains(':')
            };
            let (verdict, carries) = match v4("arrived") && !v4("left") {
                true => ("answer", Some(1480)),
                false => ("forward", None),
            };
            assert_eq!(told["mtu"]["verdict"], verdict, "{told:#}");
            assert_eq!(told["mtu"]["carries"].as_u64(), carries, "{told:#}");
            assert_eq!(answered_by(client, port, url), backend, "{from}: {told:#}");
        }
    }
}

#[test]
fn in_modes_whose_replies_come_back() {
    let lab = Lab::routed("explain").backends(3).start();
    let divvy = lab.divvy(&lab.config().probed_directly());
    for config in [
        lab.config(),
        lab.config().crossed(),
        lab.config().mode("route"),
    ] {
        divvy.apply(&config.probed_directly());
        divvy.wait_for_all_up();
        agrees(&lab, &divvy, ["web", "web6"]);
    }
}

#[test]
fn in_mode_dsr_and_with_affinity() {
    let lab = Lab::routed("explain_dsr").backends(3).start();
    lab.backends().iter().for_each(Backend::hold_vips);
    let config = lab.config().mode("dsr").probed_directly();
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    agrees(&lab, &divvy, ["web", "web6"]);

    // One client has one backend, also when the ring has another since.
    divvy.apply(&config.clone().with_default("affinity: client_ip"));
    divvy.wait_for_all_up();
    agrees(&lab, &divvy, ["web", "web6"]);
    let port = fresh_port();
    let from = SocketAddr::new(lab.client().v4().into(), port);
    let before = explain(&divvy, from, "web")["backend"]["name"].clone();
    let ring_owner = || explain(&divvy, from, "web")["ring"]["backend"].clone();
    let heavier = (lab.backends().iter()).find_map(|backend| {
        let changed = config.clone().with_default("affinity: client_ip");
        divvy.apply(&changed.weight(backend.name(), 900));
        (ring_owner() != before).then(|| backend.name().to_owned())
    });
    assert!(heavier.is_some(), "some weight moves the client's slot");
    let told = explain(&divvy, from, "web");
    assert_eq!(told["backend"]["name"], before, "{told:#}");
    assert!(
        told["why"]
            .as_str()
            .is_some_and(|why| why.contains("affinity")),
        "{told:#}"
    );
    assert_eq!(answered_by(lab.client(), port, URL4), before);
}

#[test]
fn a_flow_that_exists_is_known() {
    let lab = Lab::routed("explain_flow").backends(2).start();
    let divvy = lab.divvy(&lab.config().probed_directly());
    divvy.wait_for_all_up();
    for url in [URL4, URL6] {
        let mut connection = lab.client().connect(url).expect("it connects");
        let answer = connection.get("/").expect("it answers");
        let from = lab.client().inside(|| connection.socket().local_addr());
        let told = explain(
            &divvy,
            from.expect("it is bound"),
            if url == URL4 { "web" } else { "web6" },
        );
        assert_eq!(told["packet"], "segment", "{told:#}");
        assert_eq!(told["flow"]["state"], "established", "{told:#}");
        assert_eq!(told["flow"]["confirmed"], true, "{told:#}");
        assert_eq!(told["backend"]["name"], answer.backend.as_str(), "{told:#}");
        assert_eq!(told["ring"], Value::Null, "{told:#}");
        // Nor does it touch the connection.
        assert!(connection.get("/").is_ok());
    }
}

#[test]
fn what_does_not_reach_a_backend_is_explained() {
    let lab = Lab::routed("explain_why").backends(2).start();
    let config = lab.config().probed_directly();
    let divvy = lab.divvy(&config.clone().with_default("deny: [192.0.2.0/24]"));
    divvy.wait_for_all_up();
    let from = |text: &str| -> SocketAddr { text.parse().expect("it is an address") };

    let told = explain(
        &divvy,
        from("198.51.100.7:40000"),
        &SocketAddr::new(VIP4.into(), 81).to_string(),
    );
    assert_eq!(
        (&told["verdict"], &told["reason"]),
        (&"pass".into(), &"not_ours".into()),
        "{told:#}"
    );
    let why = told["why"].as_str().expect("it says why");
    assert!(
        why.contains("no service listens on") && why.contains("of web"),
        "{why}"
    );

    let told = explain(&divvy, from("192.0.2.7:40000"), "web");
    assert_eq!(
        (&told["verdict"], &told["reason"]),
        (&"drop".into(), &"source_denied".into())
    );
    assert_eq!(
        (&told["left"], &told["backend"]),
        (&Value::Null, &Value::Null),
        "{told:#}"
    );

    // The ring's backend is down, and the next one takes the flow.
    divvy.must(&["disable", "web/web-1"]);
    for _ in 0..TRIES {
        let from = SocketAddr::new(lab.client().v4().into(), fresh_port());
        let told = explain(&divvy, from, "web");
        assert_eq!(told["backend"]["name"], "web-2", "{told:#}");
    }
    divvy.must(&["disable", "web/web-2"]);
    let told = explain(&divvy, from("198.51.100.7:40000"), "web");
    assert_eq!(
        (&told["verdict"], &told["reason"]),
        (&"answer".into(), &"no_backend".into())
    );
    assert!(
        told["left"]["flags"]
            .as_str()
            .is_some_and(|flags| flags.contains('R')),
        "{told:#}"
    );
}

#[test]
fn a_packet_too_large_for_a_tunnel_is_seen_before_it_is_sent() {
    let lab = Lab::routed("explain_mtu").backends(1).start();
    let divvy = lab.divvy(
        &lab.config()
            .mode("ipip")
            .probed_directly()
            .health_check("{ type: none }"),
    );
    divvy.wait_for_all_up();
    let client = SocketAddr::new(lab.client().v4().into(), 40_000).to_string();
    let sized = |bytes: &str| -> Value {
        let words = ["explain", &client, "web", "--size", bytes, "-o", "json"];
        serde_json::from_str(&divvy.must(&words)).expect("it is JSON")
    };
    let told = sized("1480");
    assert_eq!(told["mtu"]["verdict"], "forward", "{told:#}");
    assert_eq!(
        told["left"]["inner"]["destination"],
        VIP4.to_string(),
        "{told:#}"
    );
    let told = sized("1481");
    assert_eq!(told["mtu"]["verdict"], "answer", "{told:#}");
    assert_eq!(told["mtu"]["carries"], 1480, "{told:#}");
    let text = divvy.must(&["explain", &client, "web"]);
    assert!(
        text.contains("1500 bytes are too large: the sender is told that the way carries 1480"),
        "{text}"
    );
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let lab = Lab::routed("explain_bad").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    for (words, expected) in [
        (vec!["198.51.100.7", "nonsense"], "neither a vip such as"),
        (vec!["somebody", "web"], "somebody is no client"),
        (
            vec!["198.51.100.7", "web6"],
            "no vip of the address family of 198.51.100.7",
        ),
        (
            vec!["2001:db8::7", "10.0.0.1:80"],
            "different address families",
        ),
        (
            vec!["198.51.100.7", "web", "--interface", "eth9"],
            "none of the configuration's interfaces",
        ),
        (
            vec!["198.51.100.7", "web", "--size", "9"],
            "size 9 is not within",
        ),
    ] {
        let words = [vec!["explain"], words].concat();
        let output = divvy.cli(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}
