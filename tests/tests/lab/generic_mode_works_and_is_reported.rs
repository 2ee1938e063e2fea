//! Native mode where the driver has it, generic where it is asked for: both carry connections, and
//! `status` says which is in use.

use lb_tests::lab::{Lab, URL4, URL6, ten_megabytes};

fn modes(status: &serde_json::Value) -> Vec<String> {
    (status["interfaces"].as_array().into_iter().flatten())
        .map(|interface| interface["xdp"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn native_is_the_default() {
    let lab = Lab::routed("native").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    assert_eq!(modes(&divvy.status()), ["native", "native"]);
}

#[test]
fn generic_by_wish() {
    let lab = Lab::routed("generic").backends(2).start();
    let divvy = lab.divvy(&lab.config().with("xdp: generic"));
    divvy.wait_for_all_up();
    assert_eq!(modes(&divvy.status()), ["generic"; 3]);
    for url in [URL4, URL6] {
        let report = lab.client().get_many(40, url);
        assert_eq!(report.failed().len(), 0, "{report}");
        assert_eq!(report.by_backend().len(), 2, "{report}");
    }
    let response = lab
        .client()
        .get("http://203.0.113.10/10mb")
        .expect("the file comes");
    assert!(response.body == ten_megabytes());

    // A restart keeps the mode, and a changed wish is carried out.
    divvy.kill9();
    divvy.start_again();
    assert_eq!(modes(&divvy.status()), ["generic"; 3]);
    divvy.apply(&lab.config().with("xdp: native"));
    assert_eq!(modes(&divvy.status()), ["native"; 3]);
    assert_eq!(lab.client().get_many(40, URL4).failed().len(), 0);
}
