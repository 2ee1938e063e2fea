//! `cargo xtask bench e2e` sets every way up, all of them serve, and each figure is measured. Whether the figures are
//! good is not asked here.

use std::time::Duration;

use lb_tests::e2e::{self, E2eEffort, Measure, Way};

#[test]
fn once_each() {
    // The programs to compare with are unpacked by the bench, and not by the tests.
    let missing = e2e::missing();
    let ways = if missing.is_empty() {
        Way::ALL.to_vec()
    } else {
        println!(
            "leaving out nftables, HAProxy and nginx: {} missing",
            missing.join(", ")
        );
        vec![Way::Routing, Way::Divvy]
    };
    let effort = E2eEffort {
        rounds: 1,
        length: Duration::from_secs(1),
        rate: 500,
        ways: ways.clone(),
        ..E2eEffort::default()
    };
    let report =
        e2e::e2e(&effort, |what| println!("{what}")).unwrap_or_else(|error| panic!("{error:#}"));
    println!("{report}");
    assert_eq!(report.figures.len(), ways.len() * Measure::ALL.len());
    for figure in &report.figures {
        assert!(figure.median > 0.0, "{figure:?}");
    }
    let divvy = |figure: &&e2e::Figure| figure.way == Way::Divvy;
    let targets = report
        .figures
        .iter()
        .filter(divvy)
        .flat_map(|figure| &figure.targets);
    assert!(targets.count() >= 1, "the targets are told");
}
