//! In modes whose replies go past the balancer, a connection stays with its backend whatever the ring
//! becomes: 10,000 of them while a backend is added and removed ten times.

use lb_tests::lab::{Backend, IdleConnections, Lab, URL4};

const CONNECTIONS: usize = 10_000;
const ROUNDS: usize = 10;

#[test]
fn while_backends_come_and_go() {
    let lab = Lab::routed("stay").backends(3).start();
    lab.backends().iter().for_each(Backend::hold_vips);
    let all = lab.config().mode("dsr").health_check("{ type: none }");
    let without = all.clone().without("web-3");
    let divvy = lab.divvy(&without);
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, CONNECTIONS);
    for round in 0..ROUNDS {
        divvy.apply(&all);
        let to_new = lab.client().get_many(60, URL4).answered_by("web-3");
        assert!(to_new > 0, "round {round}: the ring has changed");
        let broken = idle.ask(|number| number % ROUNDS == round);
        assert_eq!(broken, Vec::<String>::new(), "round {round}, web-3 added");
        divvy.apply(&without);
        let report = lab.client().get_many(60, URL4);
        assert_eq!((report.answered(), report.answered_by("web-3")), (60, 0));
    }
    assert_eq!(idle.broken(), Vec::<String>::new());
    let flows = divvy.status()["flows"]["confirmed"].as_u64();
    assert!(
        flows.is_some_and(|flows| flows >= CONNECTIONS as u64),
        "{flows:?}"
    );
}
