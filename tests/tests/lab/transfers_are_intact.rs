//! 10 MB come through unchanged, by both families, in both lab shapes.

use lb_tests::lab::{Lab, ten_megabytes};

fn transfer(lab: &Lab) {
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    for url in [
        "http://203.0.113.10/10mb",
        "http://[2001:db8:ffff::10]/10mb",
    ] {
        for _ in 0..3 {
            let response = lab.client().get(url).expect("the file comes");
            assert!(response.body == ten_megabytes(), "{url} came changed");
        }
    }
    let bytes = divvy.status()["services"][0]["backends"][0]["bytes_total"].clone();
    assert!(
        bytes.as_u64().is_some_and(|bytes| bytes > 30_000_000),
        "{bytes}"
    );
}

#[test]
fn routed() {
    transfer(&Lab::routed("transfer").backends(1).start());
}

#[test]
fn one_arm() {
    transfer(&Lab::one_arm("transfer_arm").backends(1).start());
}
