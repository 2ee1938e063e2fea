//! With `scheduler: least_conn` new connections go to the backends that have fewer: one that is slow to
//! finish, so that its connections pile up, gets none until the others have as many.

use lb_tests::lab::{IdleConnections, Lab, URL4, URL6};

const SLOW: usize = 60;

#[test]
fn connections_pile_up_on_one() {
    let lab = Lab::routed("spared").backends(3).start();
    let all = lab.config().with_default("scheduler: least_conn");
    let alone = all.clone().without("web-2").without("web-3");
    let divvy = lab.divvy(&alone);
    divvy.wait_for_all_up();
    let mut slow: Vec<_> = [URL4, URL6]
        .map(|url| IdleConnections::open(lab.client(), url, SLOW))
        .into();
    divvy.apply(&all);
    divvy.wait_for_all_up();
    for url in [URL4, URL6] {
        let new = IdleConnections::open(lab.client(), url, 2 * SLOW - 20);
        // Of two draws the backend with fewer gets the connection, so that the two others differ by
        // a few: each bound is passed once in a million runs (2,000,000 simulated).
        assert!(new.to_backend("web-1") <= 2, "{}", new.to_backend("web-1"));
        for backend in ["web-2", "web-3"] {
            let has = new.to_backend(backend);
            assert!((39..=61).contains(&has), "{backend} has {has}");
        }
        let more = IdleConnections::open(lab.client(), url, SLOW).to_backend("web-1");
        assert!((8..=18).contains(&more), "{more}");
    }
    for idle in &mut slow {
        assert_eq!(idle.broken(), Vec::<String>::new());
    }
}

/// Connections that have ended weigh nothing.
#[test]
fn short_connections_go_to_all() {
    let lab = Lab::routed("short").backends(3).start();
    let divvy = lab.divvy(&lab.config().with_default("scheduler: least_conn"));
    divvy.wait_for_all_up();
    let report = lab.client().get_many(300, URL4);
    assert_eq!(report.failed().len(), 0, "{report}");
    for backend in lab.backends() {
        // 100 each are expected; seven standard deviations are 57.
        let hits = report.answered_by(backend.name());
        assert!((43..=157).contains(&hits), "{report}");
    }
}
