//! 10,000 connections, half of them idle all the while, live on through whatever is done to the daemon: it is
//! killed and started again twenty times, upgraded and downgraded, and offered a hundred files that are not
//! valid, none of which changes a byte in the maps.

use lb_tests::lab::{IdleConnections, Lab, Load, URL4, Version};
use lb_userspace::datapath::Datapath;

const CONNECTIONS: usize = 10_000;
const KILLS: usize = 20;
const REFUSALS: usize = 100;

#[test]
fn through_all_that_is_done_to_the_daemon() {
    let lab = Lab::routed("tenthousand").backends(3).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, CONNECTIONS);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    // Of the half that is not idle, another part each time.
    let mut round = 0;
    let mut live = |idle: &mut IdleConnections| {
        round += 1;
        let broken = idle.ask(|number| number % 2 == 0 && number / 2 % 10 == round % 10);
        assert_eq!(broken, Vec::<String>::new(), "round {round}");
    };
    for _ in 0..KILLS {
        divvy.kill9();
        live(&mut idle);
        divvy.start_again();
        load.wait_for(20);
    }
    for version in [Version::SecondLayout, Version::This] {
        divvy.kill9();
        divvy.become_version(version);
        divvy.start_again();
        assert_eq!(divvy.layouts(), [version.layout()]);
        live(&mut idle);
    }

    let good = lab.config().yaml();
    let dump = || Datapath::pinned(divvy.run_dir()).expect("the maps can be read");
    let before = dump();
    for bad in (0..)
        .filter_map(|number| spoilt(&good, number))
        .take(REFUSALS)
    {
        divvy.write_config(&bad);
        let refused = divvy.reload();
        assert_eq!(refused.status.code(), Some(3), "{bad}");
        assert!(dump() == before, "a refused file changed the maps: {bad}");
    }
    live(&mut idle);
    divvy.write_config(&good);
    divvy.must(&["reload"]);

    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
}

/// The file with something wrong at one of its lines.
fn spoilt(good: &str, number: usize) -> Option<String> {
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let at = number % lines.len();
    let line = &mut lines[at];
    let (key, value) = line.split_once(':')?;
    *line = match number / good.lines().count() {
        0 => format!("{key}x:{value}"),
        1 => format!("{key}:: [{value}"),
        2 => format!("{key}: {{ no: {{ such: thing }} }}"),
        kind => format!("{key}: -{kind}"),
    };
    Some(lines.join("\n"))
}
