//! With `panic_threshold` all backends are used when too few are up, until enough are up again.

use std::time::Duration;

use lb_tests::lab::{Lab, URL4, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn until_enough_are_up_again() {
    let lab = Lab::routed("panic").backends(3).start();
    let divvy = lab.divvy(&lab.config().with_default("panic_threshold: 50%"));
    divvy.wait_for_all_up();
    // Ill by their health checks, but serving, as when it is the checks that are wrong.
    lab.backend("web-1").set_healthy(false);
    divvy.wait_for_state("web/web-1", "down");
    assert_eq!(lab.client().get_many(60, URL4).answered_by("web-1"), 0);
    lab.backend("web-2").set_healthy(false);
    let said = divvy.wait_for_state("web/web-2", "down");
    let reason = said["reason"].as_str().expect("words");
    assert!(
        reason.ends_with("; used all the same, as only 1 of 3 backends are up"),
        "{reason}"
    );
    let report = lab.client().get_many(90, URL4);
    for backend in lab.backends() {
        assert!(report.answered_by(backend.name()) > 0, "{report}");
    }
    assert_eq!(divvy.status()["services"][0]["panic"], true);
    assert!(
        divvy
            .must(&["status", "web"])
            .contains("1 of 3 up, too few: all are used")
    );

    lab.backend("web-1").set_healthy(true);
    wait_until("the panic is over", SOON, || {
        divvy.status()["services"][0]["panic"] == false
    });
    let report = lab.client().get_many(60, URL4);
    assert_eq!(report.answered_by("web-2"), 0, "{report}");
    let log = divvy.log();
    for words in [
        "web: only 1 of 3 backends are up, below its panic_threshold: all are used, down or not",
        "web: enough backends are up again; only those are used",
    ] {
        assert_eq!(log.matches(words).count(), 1, "{words}: {log}");
    }
}
