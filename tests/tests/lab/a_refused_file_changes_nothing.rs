//! A file that is not valid, or asks for what the host does not have, is refused with its problems
//! by name, and everything goes on as before.

use lb_tests::lab::{IdleConnections, Lab, Load, URL4};

#[test]
fn under_load() {
    let lab = Lab::routed("refused").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let good = lab.config().yaml();
    let before = divvy.must(&["status", "-o", "json"]);
    let mut idle = IdleConnections::open(lab.client(), URL4, 50);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    let taken = std::net::TcpListener::bind("127.0.0.1:0");
    drop(taken);
    for (bad, names) in [
        (
            good.replace(
                "web-2, address: \"10.0.2.2:80\"",
                "web-2, address: \"10.0.2:80\"",
            ),
            "10.0.2:80",
        ),
        (good.replace("listen:", "lisen:"), "lisen"),
        (
            good.replace("203.0.113.10:80", "[2001:db8:ffff::10]:80"),
            "2001:db8:ffff::10",
        ),
        (good.replace("interval: 200ms", "interval: 0s"), "interval"),
        (
            good.replace("interfaces: [", "interfaces: [nosuch0, "),
            "nosuch0",
        ),
        (String::new(), "empty"),
        ("interfaces: [".to_owned(), "line"),
    ] {
        assert_ne!(bad, good);
        divvy.write_config(&bad);
        let output = divvy.reload();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(names), "{names} is missing in: {said}");
    }
    load.wait_for(100);
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());

    let after = divvy.status();
    let before: serde_json::Value = serde_json::from_str(&before).expect("JSON");
    for (a, b) in [0, 1].map(|i| (&after["services"][i], &before["services"][i])) {
        assert_eq!((&a["name"], &a["vips"]), (&b["name"], &b["vips"]));
        assert_eq!(
            a["backends"].as_array().map(Vec::len),
            b["backends"].as_array().map(Vec::len)
        );
    }
    // What is not in force is said, until a good file comes.
    assert!(after["config"]["last_error"].is_string());
    divvy.write_config(&good);
    divvy.must(&["reload"]);
    assert!(divvy.status()["config"]["last_error"].is_null());
}
