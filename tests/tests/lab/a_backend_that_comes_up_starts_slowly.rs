//! With `slow_start` a backend that comes up beside others gets a tenth of its share at first, and
//! all of it in the end. A starting daemon lets nobody start slowly.

use std::time::Duration;

use lb_tests::lab::{Config, Divvy, Lab, URL4, wait_until};

const REQUESTS: usize = 400;

fn slow_start(config: Config, time: &str) -> Config {
    config.with_default(&format!("slow_start: {time}"))
}

fn starts_slowly(divvy: &Divvy, backend: &str) -> bool {
    let reason = divvy.backend(backend)["reason"].clone();
    reason
        .as_str()
        .is_some_and(|reason| reason.starts_with("slow start: "))
}

fn share(lab: &Lab, backend: &str) -> usize {
    let report = lab.client().get_many(REQUESTS, URL4);
    assert_eq!(report.failed().len(), 0, "{report}");
    report.answered_by(backend)
}

#[test]
fn after_it_was_down() {
    let lab = Lab::routed("slow").backends(2).start();
    let divvy = lab.divvy(&slow_start(lab.config(), "1h"));
    divvy.wait_for_all_up();
    assert!(!starts_slowly(&divvy, "web/web-2"), "found up at the start");
    lab.backend("web-2").kill();
    divvy.wait_for_state("web/web-2", "down");
    lab.backend("web-2").start();
    let up = divvy.wait_for_state("web/web-2", "up");
    assert!(
        up["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("slow start: 10 %; ")),
        "{up}"
    );
    // An eleventh of all requests, give or take what chance allows.
    let few = share(&lab, "web-2");
    assert!((1..REQUESTS / 4).contains(&few), "{few} of {REQUESTS}");

    divvy.kill9();
    divvy.start_again();
    assert!(!starts_slowly(&divvy, "web/web-2"), "adopted");
    let half = share(&lab, "web-2");
    assert!(half > REQUESTS / 3, "{half} of {REQUESTS}");
}

#[test]
fn after_it_joined_and_in_the_end_it_has_its_full_share() {
    let mut lab = Lab::routed("slow_new").backends(1).start();
    let divvy = lab.divvy(&slow_start(lab.config(), "4s"));
    divvy.wait_for_all_up();
    lab.add_backend();
    divvy.apply(&slow_start(lab.config(), "4s"));
    divvy.wait_for_state("web/web-2", "up");
    assert!(starts_slowly(&divvy, "web/web-2"));
    wait_until("its start is over", Duration::from_secs(20), || {
        !starts_slowly(&divvy, "web/web-2")
    });
    let half = share(&lab, "web-2");
    assert!(half > REQUESTS / 3, "{half} of {REQUESTS}");
}

#[test]
fn after_it_was_drained() {
    let lab = Lab::routed("slow_drain").backends(2).start();
    let divvy = lab.divvy(&slow_start(lab.config(), "1h"));
    divvy.wait_for_all_up();
    divvy.must(&["drain", "web/web-2"]);
    let said = divvy.must(&["enable", "web/web-2"]);
    assert!(said.contains("its full share in 1h"), "{said}");
    assert!(starts_slowly(&divvy, "web/web-2"));
    let few = share(&lab, "web-2");
    assert!((1..REQUESTS / 4).contains(&few), "{few} of {REQUESTS}");
}
