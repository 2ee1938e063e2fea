//! After `divvy prepare` the daemon runs as a user with three capabilities and nothing else: it balances,
//! reloads, is killed and starts again, and another user gets nowhere.

use std::{fs, os::unix::fs::chown, time::Duration};

use lb_tests::lab::{Config, Divvy, IdleConnections, Lab, Load, URL4, VIP4, wait_until};

/// A user and a group that nobody has.
const ID: u32 = 61_234;
/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF: as `docs/service.md` and the unit say.
const CAPABILITIES: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// As systemd does it with `User=`, `AmbientCapabilities=` and `CapabilityBoundingSet=`.
const AS_USER: [&str; 8] = [
    "setpriv",
    "--reuid=61234",
    "--regid=61234",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all,+net_admin,+perfmon,+bpf",
    "--ambient-caps=-all,+net_admin,+perfmon,+bpf",
    "--bounding-set=-all,+net_admin,+perfmon,+bpf",
];

fn prepared(lab: &Lab, config: &Config) -> Divvy {
    let divvy = lab.divvy_not_running(&config.yaml());
    divvy.run_by(&AS_USER);
    let said = divvy.must(&["prepare", "--user", &format!("{ID}:{ID}")]);
    assert!(
        said.contains("and the bpffs in it belong to 61234:61234"),
        "{said}"
    );
    // What StateDirectory= makes.
    fs::create_dir(divvy.state_dir()).expect("made");
    chown(divvy.state_dir(), Some(ID), Some(ID)).expect("given away");
    divvy
}

/// The sets of capabilities of the daemon.
fn capabilities(divvy: &Divvy) -> Vec<(String, u64)> {
    let status = fs::read_to_string(format!("/proc/{}/status", divvy.id())).expect("it runs");
    (status.lines())
        .filter_map(|line| line.split_once(":\t"))
        .filter(|(name, _)| name.starts_with("Cap"))
        .map(|(name, mask)| {
            (
                name.to_owned(),
                u64::from_str_radix(mask, 16).expect("a mask"),
            )
        })
        .collect()
}

#[test]
fn with_three_capabilities_from_start_to_end() {
    let mut lab = Lab::routed("user").backends(2).start();
    let divvy = prepared(&lab, &lab.config());
    divvy.start_again();
    divvy.wait_for_all_up();
    let sets = capabilities(&divvy);
    assert_eq!(sets.len(), 5, "{sets:?}");
    assert!(
        sets.iter().all(|(_, mask)| *mask == CAPABILITIES),
        "{sets:x?}"
    );

    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    // An interface and rings that were not there before.
    lab.add_backend();
    divvy.apply(&lab.config());
    divvy.wait_for_all_up();
    divvy.must(&["drain", "web/web-1"]);
    load.wait_for(100);
    divvy.kill9();
    load.wait_for(100);
    divvy.start_again();
    assert_eq!(
        divvy.backend("web/web-1")["state"],
        "drain",
        "the state file is the user's own"
    );
    divvy.must(&["enable", "web/web-1"]);
    // For these the daemon loads programs while it runs, and replaces the one on the links.
    divvy.must(&["explain", "198.51.100.7", "web"]);
    let told = divvy.must(&["trace", "web", "--sample", "all", "--for", "1s"]);
    assert!(told.contains("forward"), "{told}");
    load.wait_for(100);
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert!(report.answered_by("web-3") > 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert!(!divvy.log().contains("cannot"), "{}", divvy.log());

    // Detached and started once more, without root in between.
    divvy.must(&["detach"]);
    assert!(divvy.wait_for_its_end().success());
    assert!(lab.client().get(URL4).is_err(), "nobody has the vip now");
    divvy.start_again();
    divvy.wait_for_all_up();
    assert_eq!(lab.client().get_many(10, URL4).failed().len(), 0);
    divvy.terminate();
    // By root: the bpffs goes too.
    divvy.must(&["detach"]);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("proc is mounted");
    assert!(
        !mounts.contains(&*divvy.run_dir().to_string_lossy()),
        "{mounts}"
    );
}

#[test]
fn and_another_user_may_not_even_ask() {
    let lab = Lab::routed("other_user").backends(1).start();
    let divvy = prepared(&lab, &lab.config());
    divvy.start_again();
    let other = [
        "setpriv",
        "--reuid=61235",
        "--regid=61235",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    for verb in ["status", "reload", "detach"] {
        let output = divvy.cli_by(&other, &[verb]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{verb}: {said}");
        assert!(said.contains("Permission denied"), "{verb}: {said}");
    }
    let same = [
        "setpriv",
        "--reuid=61234",
        "--regid=61234",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ];
    let output = divvy.cli_by(&same, &["status"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn and_takes_over_from_one_that_ran_as_root() {
    let lab = Lab::routed("handover").backends(2).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    assert!(divvy.terminate().success());
    divvy.must(&["prepare", "--user", &format!("{ID}:{ID}")]);
    assert_eq!(idle.broken(), Vec::<String>::new());
    divvy.run_by(&AS_USER);
    divvy.start_again();
    divvy.wait_for_all_up();
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert_eq!(lab.client().get_many(20, URL4).failed().len(), 0);
}

#[test]
fn and_without_a_bpffs_it_says_what_to_do() {
    let lab = Lab::routed("unprepared").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    fs::create_dir(divvy.run_dir()).expect("made");
    chown(divvy.run_dir(), Some(ID), Some(ID)).expect("given away");
    let output = divvy.to_its_end("run", &AS_USER);
    crate::refusal::refused(&output, 1, &["CAP_SYS_ADMIN", "divvy prepare"]);
}

#[test]
fn and_a_file_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::routed("writable").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mode = |mode| {
        fs::set_permissions(divvy.config_path(), fs::Permissions::from_mode(mode)).expect("set");
    };
    mode(0o666);
    let said = |words: &[&str], code: i32| {
        let output = divvy.cli(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(
            said.contains("is writable by everyone (mode 0666)"),
            "{words:?}: {said}"
        );
        assert!(said.contains("`chmod go-w "), "{words:?}: {said}");
    };
    said(&["reload"], 3);
    said(&["check"], 0);
    said(&["diff"], 0);
    divvy.kill9();
    crate::refusal::refused(
        &divvy.run_to_its_end(),
        3,
        &["is writable by everyone", "chmod go-w"],
    );
    mode(0o644);
    divvy.start_again();
    divvy.must(&["drain", "web/web-1"]);
    divvy.kill9();
    let state = fs::read_dir(divvy.state_dir())
        .expect("there")
        .flatten()
        .next()
        .expect("a file");
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o646)).expect("set");
    crate::refusal::refused(
        &divvy.run_to_its_end(),
        1,
        &["overrides-", "is writable by everyone (mode 0646)"],
    );
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o640)).expect("set");
    divvy.start_again();
    wait_until("it drains again", Duration::from_secs(10), || {
        divvy.backend("web/web-1")["state"] == "drain"
    });
}

#[test]
fn and_vips_are_put_on_the_host_but_neighbours_not_told() {
    let lab = Lab::routed("user_announces").backends(1).start();
    let config = lab.config().with("announce: { addresses: true }");
    let divvy = prepared(&lab, &config);
    divvy.start_again();
    divvy.wait_for_all_up();
    let there = || {
        let all = lab.balancer().must_run(&["ip", "-o", "address"]);
        all.contains(&format!("{VIP4}/32"))
    };
    assert!(there());
    let log = divvy.log();
    let words = "announce: neighbours are not told of new vips: no packet socket: Operation not \
                 permitted (os error 1); give the daemon CAP_NET_RAW";
    assert!(log.contains(words), "{log}");
    divvy.must(&["detach"]);
    assert!(!there());
}
