//! A backend that its service's mode cannot reach is named in `status`, with the remedy, and gets
//! nobody; in a mode that can reach it, it is used.

use lb_tests::lab::Lab;

/// A backend behind the router web-1.
fn config(lab: &Lab, mode: &str) -> String {
    format!(
        "interfaces: [client, {}]\n\
         services:\n\
         \x20 - name: far\n\
         \x20   listen: [\"203.0.113.10:80\"]\n\
         \x20   mode: {mode}\n\
         \x20   health_check: {{ type: none }}\n\
         \x20   backends:\n\
         \x20     - {{ name: behind, address: \"192.0.2.9:80\" }}\n",
        lab.backends()[0].name()
    )
}

#[test]
fn a_dsr_backend_behind_a_router() {
    let lab = Lab::routed("dsr_far").backends(1).start();
    let router = lab.backends()[0].v4().ip().to_string();
    (lab.balancer()).must_run(&["ip", "route", "add", "192.0.2.9", "via", &router]);

    let divvy = lab.divvy_not_running(&config(&lab, "dsr"));
    divvy.start_again();
    let backend = divvy.wait_for_state("far/behind", "down");
    let reason = backend["reason"].as_str().expect("a text");
    assert_eq!(
        reason,
        format!(
            "mode dsr needs a backend on a network of this host, but this one is behind the router \
             {router}; use mode ipip or gue"
        )
    );
    let refused = lab
        .client()
        .get("http://203.0.113.10/")
        .expect_err("nobody answers");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    divvy.write_config(&config(&lab, "ipip"));
    assert!(divvy.reload().status.success());
    divvy.wait_for_state("far/behind", "up");
}
