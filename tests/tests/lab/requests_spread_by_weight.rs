//! Requests spread over backends, by their weights, for IPv4 and IPv6.

use lb_tests::lab::{EchoServer, Lab, Manner, URL4, URL6};

#[test]
fn equal_weights() {
    let lab = Lab::routed("spread").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    for url in [URL4, URL6] {
        let report = lab.client().get_many(900, url);
        assert_eq!(report.failed().len(), 0, "{report}");
        for backend in lab.backends() {
            // 300 each are expected; six standard deviations are 85.
            let hits = report.answered_by(backend.name());
            assert!(
                (215..=385).contains(&hits),
                "{}: {hits}\n{report}",
                backend.name()
            );
        }
    }
}

#[test]
fn weights() {
    let lab = Lab::routed("weights").backends(3).start();
    let config = lab.config().weight("web-2", 3).weight("web-3", 0);
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let report = lab.client().get_many(800, URL4);
    assert_eq!(report.failed().len(), 0, "{report}");
    // 200, 600 and none are expected; six standard deviations are 74.
    assert!(
        (126..=274).contains(&report.answered_by("web-1")),
        "{report}"
    );
    assert!(
        (526..=674).contains(&report.answered_by("web-2")),
        "{report}"
    );
    assert_eq!(report.answered_by("web-3"), 0, "{report}");
}

#[test]
fn by_turns() {
    let lab = Lab::routed("turns").backends(3).start();
    let config = lab.config().with_default("scheduler: round_robin");
    let divvy = lab.divvy(&config.weight("web-3", 2));
    divvy.wait_for_all_up();
    for url in [URL4, URL6] {
        for _ in 0..5 {
            // Any four in a row.
            let report = lab.client().get_many(4, url);
            let shares = ["web-1", "web-2", "web-3"].map(|name| report.answered_by(name));
            assert_eq!(shares, [1, 1, 2], "{report}");
        }
    }
}

#[test]
fn one_arm() {
    let lab = Lab::one_arm("spread_arm").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    for url in [URL4, URL6] {
        let report = lab.client().get_many(100, url);
        assert_eq!(report.failed().len(), 0, "{report}");
        assert!(report.by_backend().len() == 2, "{report}");
    }
}

#[test]
fn a_vip_that_is_the_hosts_own_address_leaves_its_other_ports_to_the_host() {
    let lab = Lab::routed("own_vip").backends(1).start();
    let yaml = (lab.config().yaml()).replace("203.0.113.10:80", "10.0.0.1:80");
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();
    let response = lab
        .client()
        .get("http://10.0.0.1/")
        .expect("the vip answers");
    assert_eq!(response.backend, "web-1");
    let error = lab
        .client()
        .get("http://10.0.0.1:81/")
        .expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let _own = EchoServer::start(lab.balancer(), 700, Manner::CloseFirst);
    let greeting = lab.client().inside(|| {
        let mut text = String::new();
        let mut stream = std::net::TcpStream::connect("10.0.0.1:700")?;
        std::io::Read::read_to_string(&mut stream, &mut text).map(|_| text)
    });
    assert_eq!(greeting.expect("the host's own server answers"), "hello");
}
