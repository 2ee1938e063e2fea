//! With `watch: true` an edited file is applied by itself, one that is not valid is not, and what came of it
//! is said.

use std::{fs, time::Duration};

use lb_tests::lab::{Lab, Load, URL4, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn under_load() {
    let mut lab = Lab::routed("watched").backends(2).start();
    let watched = |lab: &Lab| lab.config().with("watch: true");
    let divvy = lab.divvy(&watched(&lab));
    divvy.wait_for_all_up();
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    let good = watched(&lab).yaml();
    divvy.write_config(&good.replace("listen:", "lisen:"));
    wait_until("the file is refused", SOON, || {
        let error = divvy.status()["config"]["last_error"].clone();
        error.as_str().is_some_and(|error| error.contains("lisen"))
    });
    assert!(divvy.log().contains("reload failed (by the file's change)"));

    // As editors do: a new file in place of the old one.
    lab.add_backend();
    let beside = divvy.config_path().with_extension("new");
    fs::write(&beside, watched(&lab).yaml()).expect("a folder of ours");
    fs::rename(&beside, divvy.config_path()).expect("the same folder");
    divvy.wait_for_state("web/web-3", "up");
    wait_until("the new backend gets requests", SOON, || {
        load.so_far().answered_by("web-3") > 0
    });
    let log = divvy.log();
    assert!(
        log.contains("added web-3") && log.contains("(by the file's change)"),
        "{log}"
    );

    // Switched off by the file itself, it stays off.
    divvy.write_config(&lab.config().yaml());
    wait_until("it is no longer watched", SOON, || {
        // The first time was the new backend's interface.
        let log = divvy.log();
        log.matches("settings changed (by the file's change)")
            .count()
            == 2
    });
    divvy.write_config(&lab.config().without("web-1").yaml());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(divvy.backend("web/web-1")["state"], "up");
    divvy.must(&["reload"]);
    assert!(divvy.backend("web/web-1").is_null());
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
}
