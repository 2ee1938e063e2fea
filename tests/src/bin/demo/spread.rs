//! Requests are spread over the backends.

use std::time::Duration;

use lb_tests::lab::{Lab, URL4, URL6};

use crate::stage::{Stage, milliseconds};

const REQUESTS: usize = 600;
/// When a client whose SYN was lost sends it again (RFC 6298, section 2).
const SYN_AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn show(stage: &mut Stage, lab: &Lab) {
    stage.heading("Requests are spread over the backends");
    for (family, url) in [("IPv4", URL4), ("IPv6", URL6)] {
        stage.done(&format!("{REQUESTS} requests to {url}, a connection each"));
        let report = lab.client().get_many(REQUESTS, url);
        let counts = report.by_backend();
        stage.chart(&counts);
        stage.figure("the slowest took", &milliseconds(report.slowest()));
        stage.claim(
            report.answered() == REQUESTS,
            &format!("{family}: all answered ({} failed)", report.failed().len()),
        );
        stage.claim(
            report.slowest() < SYN_AGAIN,
            &format!("{family}: no SYN was lost, not even the first"),
        );
        // A fair share is a third. Flows are spread by hash, so the counts vary like dice: this
        // bound is more than four standard deviations away.
        let least = REQUESTS / 4;
        stage.claim(
            lab.backends()
                .iter()
                .all(|backend| report.answered_by(backend.name()) > least),
            &format!("{family}: each of the three got more than a quarter"),
        );
    }
}
