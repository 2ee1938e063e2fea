//! Two services may send to one backend: its health, flows, source ports and counts are apart.

use std::collections::HashSet;

use lb_tests::lab::{IdleConnections, Lab, URL4};

/// Connections of each service. Together they take most of the source ports there are.
const CONNECTIONS: usize = 30;
const AGAIN4: &str = "http://203.0.113.10:81/";

#[test]
fn one_server_of_two_services() {
    let lab = Lab::routed("shared").backends(1).start();
    let yaml = format!(
        "{}  - name: again\n    listen: [\"203.0.113.10:81\"]\n    health_check: {{ type: none }}\n    \
         backends: [{{ name: other-name, address: \"10.0.1.2:80\" }}]\n",
        lab.config().with("snat: { ports: 2000-2063 }").yaml()
    );
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();
    let mut web = IdleConnections::open(lab.client(), URL4, CONNECTIONS);
    let mut again = IdleConnections::open(lab.client(), AGAIN4, CONNECTIONS);
    assert_eq!(web.broken(), Vec::<String>::new());
    assert_eq!(again.broken(), Vec::<String>::new());

    // One address and port for each connection, whichever the service.
    let flows = divvy.flows();
    let sources: HashSet<&str> = (flows["flows"].as_array().into_iter().flatten())
        .filter_map(|flow| flow["source"].as_str())
        .collect();
    assert_eq!(sources.len(), 2 * CONNECTIONS, "{flows}");
    for place in ["web/web-1", "again/other-name"] {
        let shown = divvy.backend(place);
        assert_eq!(shown["active_flows"], CONNECTIONS, "{shown}");
        assert_eq!(shown["flows_total"], CONNECTIONS, "{shown}");
    }

    // Ill by the health check of one, which the other does not have.
    lab.backend("web-1").set_healthy(false);
    divvy.wait_for_state("web/web-1", "down");
    assert_eq!(divvy.backend("again/other-name")["state"], "up");
    assert_eq!(web.broken().len(), CONNECTIONS);
    assert_eq!(again.broken(), Vec::<String>::new());
    assert!(lab.client().get(URL4).is_err());
    assert_eq!(lab.client().get(AGAIN4).expect("served").backend, "web-1");
    lab.backend("web-1").set_healthy(true);
    divvy.wait_for_state("web/web-1", "up");

    // And so for what the operator says.
    divvy.must(&["drain", "again/other-name"]);
    assert_eq!(divvy.backend("web/web-1")["state"], "up");
    assert!(lab.client().get(AGAIN4).is_err());
    assert_eq!(lab.client().get(URL4).expect("served").backend, "web-1");
}
