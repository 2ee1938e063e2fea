//! A backup gets connections only while no other backend can, and keeps those it got.

use lb_tests::lab::{IdleConnections, Lab, URL4};

#[test]
fn when_the_others_die_and_come_back() {
    let lab = Lab::routed("backup").backends(3).start();
    let divvy = lab.divvy(&lab.config().backend_key("web-3", "backup: true"));
    divvy.wait_for_all_up();
    assert_eq!(divvy.backend("web/web-3")["backup"], true);
    assert_eq!(divvy.backend("web/web-1")["backup"], false);
    let table = divvy.must(&["status", "web"]);
    assert!(table.contains("web-3 (backup)"), "{table}");
    assert!(!table.contains("web-1 (backup)"), "{table}");
    let standing_by = |report: lb_tests::lab::Report| {
        assert_eq!(report.answered(), report.requests.len(), "{report}");
        assert_eq!(report.answered_by("web-3"), 0, "{report}");
    };
    standing_by(lab.client().get_many(60, URL4));

    lab.backend("web-1").kill();
    divvy.wait_for_state("web/web-1", "down");
    standing_by(lab.client().get_many(60, URL4));
    lab.backend("web-2").kill();
    divvy.wait_for_state("web/web-2", "down");
    let mut on_backup = IdleConnections::open(lab.client(), URL4, 40);
    assert_eq!(on_backup.to_backend("web-3"), 40);

    lab.backend("web-2").start();
    divvy.wait_for_state("web/web-2", "up");
    standing_by(lab.client().get_many(60, URL4));
    assert_eq!(on_backup.broken(), Vec::<String>::new());
}

#[test]
fn when_the_others_are_drained() {
    let lab = Lab::routed("backup_d").backends(2).start();
    let divvy = lab.divvy(&lab.config().backend_key("web-2", "backup: true"));
    divvy.wait_for_all_up();
    divvy.must(&["drain", "web/web-1"]);
    assert_eq!(lab.client().get_many(40, URL4).answered_by("web-2"), 40);
    divvy.must(&["enable", "web/web-1"]);
    assert_eq!(lab.client().get_many(40, URL4).answered_by("web-1"), 40);
}
