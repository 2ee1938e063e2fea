//! The commands of docs/modes.md, run as they stand there, prepare backends for each mode. Only the
//! addresses of the example are replaced by the lab's.

use lb_tests::lab::{Backend, Config, Decap, Divvy, Lab, URL4, URL6, VIP4, VIP6};

use crate::tunnel::GUE_PORT;

const PAGE: &str = include_str!("../../../docs/modes.md");

/// The commands of each block below "Preparing a backend", in order.
fn blocks() -> Vec<Vec<&'static str>> {
    let (_, part) = PAGE
        .split_once("## Preparing a backend")
        .expect("the page has this part");
    part.split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.trim().lines().collect())
        .collect()
}

/// Runs a block on a backend, whose way to clients leads over this router.
fn prepare(backend: &Backend, block: &[&str], router: &str) {
    for command in block {
        let command = command
            .replace("10.0.0.1", router)
            .replace("203.0.113.10", &VIP4.to_string())
            .replace("2001:db8::10", &VIP6.to_string());
        let words: Vec<&str> = command.split_whitespace().collect();
        backend.host().must_run(&words);
    }
}

/// Both backends answer at this vip.
fn answers(lab: &Lab, divvy: &Divvy, config: &Config, urls: &[&str]) {
    divvy.apply(config);
    divvy.wait_for_all_up();
    for url in urls {
        let report = lab.client().get_many(40, url);
        assert!(report.failed().is_empty(), "{:?}", report.failed());
        for backend in lab.backends() {
            assert!(report.answered_by(backend.name()) > 0, "{}", backend.name());
        }
    }
}

#[test]
fn for_mode_route() {
    let lab = Lab::routed("page_route").backends(2).start();
    for backend in lab.backends() {
        let host = backend.host();
        let route = host.must_run(&["ip", "-4", "route", "show", "default"]);
        let router = route.split_whitespace().nth(2).expect("default via ROUTER");
        host.must_run(&["ip", "-4", "route", "delete", "default"]);
        prepare(backend, &blocks()[0], router);
    }
    let config = lab.config().mode("route");
    answers(&lab, &lab.divvy(&config), &config, &[URL4]);
}

#[test]
fn for_modes_whose_replies_go_past_the_balancer() {
    let lab = Lab::one_arm("page_past").backends(2).start();
    for backend in lab.backends() {
        prepare(backend, &blocks()[1], "");
    }
    let _far_ends: Vec<Decap> = (lab.backends().iter())
        .map(|backend| backend.decapsulate(GUE_PORT))
        .collect();
    let divvy = lab.divvy(&lab.config());
    for mode in ["dsr", "ipip", "gue"] {
        answers(&lab, &divvy, &lab.config().mode(mode), &[URL4, URL6]);
    }
    // The two others need tunnel devices of the kernel: `kernel_tunnels` runs them.
    assert_eq!(blocks().len(), 4, "every block is run");
}
