//! A backend's host may itself ask for the vip, and be sent to another backend or to itself.

use lb_tests::lab::{Lab, URL4, URL6, ten_megabytes};

const REQUESTS: usize = 40;

fn asks_for_the_vip(lab: &Lab) {
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    for asking in lab.backends() {
        for url in [URL4, URL6] {
            let report = asking.host().get_many(REQUESTS, url);
            assert_eq!(
                report.answered(),
                REQUESTS,
                "{} and {url}: {report}",
                asking.name()
            );
            for answering in lab.backends() {
                let answered = report.answered_by(answering.name());
                assert!(
                    answered > 0,
                    "{} to {}: {report}",
                    asking.name(),
                    answering.name()
                );
            }
            let file = asking.host().get(&format!("{url}10mb")).expect("answered");
            assert!(file.body == ten_megabytes(), "{} and {url}", asking.name());
        }
    }
}

#[test]
fn routed() {
    asks_for_the_vip(&Lab::routed("hairpin").backends(2).start());
}

#[test]
fn on_one_arm() {
    asks_for_the_vip(&Lab::one_arm("hairpin_arm").backends(2).start());
}

#[test]
fn in_mode_route_it_reaches_the_others() {
    let lab = Lab::routed("hairpin_route").backends(2).start();
    let divvy = lab.divvy(&lab.config().mode("route").without("web-1"));
    divvy.wait_for_all_up();
    let report = lab.backend("web-1").host().get_many(REQUESTS, URL4);
    assert_eq!(report.answered_by("web-2"), REQUESTS, "{report}");
}
