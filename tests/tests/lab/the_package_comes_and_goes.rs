//! Debian's package, from its own paths: it installs, waits until it is configured, starts, reloads under load,
//! is upgraded under load, and goes without a trace. In a copy of this host's files; docs/install.md tells an
//! operator the same.

use std::{env, fs, path::Path, process::Command, time::Duration};

use lb_tests::lab::{Copy, IdleConnections, Lab, Load, URL4, wait_until};

use crate::packed::{dist, named, this};

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
const CAPABILITIES: &str = "000000c000001000";
const SOON: Duration = Duration::from_secs(10);
/// Of the script in systemd's place.
const STAND_IN: &str = "/run/stand-in";

fn install(copy: &Copy, package: &Path) -> String {
    copy.put("/tmp/package.deb", &fs::read(package).expect("it was made"));
    copy.must(&["dpkg", "--install", "/tmp/package.deb"])
}

fn daemon(copy: &Copy) -> String {
    let pid = copy.must(&["cat", &format!("{STAND_IN}/divvy.pid")]);
    pid.trim().to_owned()
}

fn journal(copy: &Copy) -> String {
    copy.must(&["cat", &format!("{STAND_IN}/journal")])
}

/// Whether an XDP program is on an interface of the balancer.
fn attached(lab: &Lab) -> bool {
    lab.balancer().must_run(&["ip", "link"]).contains("xdp")
}

#[test]
fn from_installation_to_purge() {
    let lab = Lab::routed("package").backends(2).start();
    let next = dist(&lab.folder().join("next"), "0.1.0+next");
    let copy = lab.copy_of_this_host();

    // As it comes: enabled, and not started, because it balances for nobody yet.
    let said = install(&copy, named(this(), ".deb"));
    assert!(said.contains("edit /etc/divvy/divvy.yaml"), "{said}");
    copy.must(&["systemctl", "is-enabled", "divvy.service"]);
    let said = journal(&copy);
    assert!(said.contains("not started: put your interfaces"), "{said}");
    assert!(said.contains("skipped by its condition"), "{said}");
    assert!(
        !copy
            .run(&["systemctl", "is-active", "divvy.service"])
            .status
            .success()
    );
    assert!(!attached(&lab));
    let said = copy.must(&["/usr/bin/divvy", "check"]);
    assert!(said.contains("valid: 1 service"), "{said}");
    assert_eq!(copy.must(&["dpkg", "--verify", "divvy"]), "");
    let schema = copy.must(&["cat", "/usr/share/divvy/divvy.schema.json"]);
    assert_eq!(schema, copy.must(&["divvy", "schema"]));
    copy.must(&["man", "--where", "divvy-run"]);
    security(&copy);

    // Configured, started by the unit's lines, and reloaded under load.
    let fewer = lab.config().without("web-2").yaml();
    copy.put("/etc/divvy/divvy.yaml", fewer.as_bytes());
    copy.must(&["systemctl", "start", "divvy"]);
    let first = daemon(&copy);
    let status = fs::read_to_string(format!("/proc/{first}/status")).expect("it runs");
    let uid = copy.must(&["id", "--user", "divvy"]);
    assert!(
        status.contains(&format!("Uid:\t{}\t", uid.trim())),
        "{status}"
    );
    assert!(
        status.contains(&format!("CapEff:\t{CAPABILITIES}")),
        "{status}"
    );
    let mut idle = IdleConnections::open(lab.client(), URL4, 40);
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(100);
    copy.put("/etc/divvy/divvy.yaml", lab.config().yaml().as_bytes());
    let said = copy.must(&["systemctl", "reload", "divvy"]);
    assert!(said.contains("reloaded"), "{said}");
    wait_until("the new backend gets requests", SOON, || {
        lab.client().get_many(10, URL4).answered_by("web-2") > 0
    });
    assert_eq!(idle.broken(), Vec::<String>::new());
    copy.put("/etc/divvy/divvy.yaml", b"interfaces: []");
    let refused = copy.run(&["systemctl", "reload", "divvy"]);
    assert_eq!(refused.status.code(), Some(3), "the file is refused");
    copy.put("/etc/divvy/divvy.yaml", lab.config().yaml().as_bytes());

    // Upgraded under load: another daemon, the same connections, the same configuration.
    let said = install(&copy, named(&next, ".deb"));
    let version = copy.must(&["dpkg-query", "--show", "--showformat=${Version}", "divvy"]);
    assert_eq!(version, "0.1.0+next", "{said}");
    let second = daemon(&copy);
    assert_ne!(first, second, "{}", journal(&copy));
    assert!(!Path::new(&format!("/proc/{first}")).exists());
    load.wait_for(100);
    let report = load.stop();
    assert_eq!(report.failed().len(), 0, "{report}");
    assert_eq!(idle.broken(), Vec::<String>::new());
    assert_eq!(
        copy.must(&["cat", "/etc/divvy/divvy.yaml"]),
        lab.config().yaml()
    );

    // Stopped by the administrator it stays so, packets flow on; removal takes the program off.
    copy.must(&["systemctl", "stop", "divvy"]);
    install(&copy, named(this(), ".deb"));
    assert!(
        !copy
            .run(&["systemctl", "is-active", "divvy.service"])
            .status
            .success()
    );
    assert_eq!(idle.broken(), Vec::<String>::new());
    copy.must(&["systemctl", "start", "divvy"]);
    assert_eq!(idle.broken(), Vec::<String>::new());
    let third = daemon(&copy);
    let said = copy.must(&["dpkg", "--remove", "divvy"]);
    assert!(said.contains("took the program off"), "{said}");
    assert!(!Path::new(&format!("/proc/{third}")).exists());
    assert!(!attached(&lab));
    assert!(lab.client().get(URL4).is_err(), "nobody has the vip now");
    assert!(
        !copy
            .must(&["cat", "/proc/self/mounts"])
            .contains("/run/divvy")
    );
    copy.must(&["test", "-e", "/etc/divvy/divvy.yaml"]);
    copy.must(&["test", "-d", "/var/lib/divvy"]);

    copy.must(&["dpkg", "--purge", "divvy"]);
    copy.must(&["rm", "-r", STAND_IN]);
    assert_eq!(copy.written("divvy"), Vec::<String>::new());
    for database in ["passwd", "group"] {
        assert!(!copy.run(&["getent", database, "divvy"]).status.success());
    }
}

/// What systemd says of the installed unit: 10 is a service that root runs without any protection.
fn security(copy: &Copy) {
    let said = copy.must(&[
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--no-pager",
        "--threshold=30",
        "/usr/lib/systemd/system/divvy.service",
    ]);
    let score = said.lines().find(|line| line.contains("exposure level"));
    println!("{}", score.expect("it judges"));
}

#[test]
fn removed_while_it_runs_without_systemd_and_removed_again_when_it_never_ran() {
    let lab = Lab::routed("package_bare").backends(1).start();
    let copy = lab.copy_of_this_host();
    install(&copy, named(this(), ".deb"));
    copy.must(&["dpkg", "--purge", "divvy"]);

    copy.must(&["rm", "-r", "/run/systemd/system"]);
    install(&copy, named(this(), ".deb"));
    copy.put("/etc/divvy/divvy.yaml", lab.config().yaml().as_bytes());
    copy.must(&["systemctl", "start", "divvy"]);
    let daemon = daemon(&copy);
    assert_eq!(lab.client().get_many(5, URL4).failed().len(), 0);
    copy.must(&["dpkg", "--remove", "divvy"]);
    wait_until("the daemon has ended", SOON, || {
        !Path::new(&format!("/proc/{daemon}")).exists()
    });
    assert!(!attached(&lab));
    copy.must(&["dpkg", "--purge", "divvy"]);
    copy.must(&["rm", "-r", STAND_IN]);
    assert_eq!(copy.written("divvy"), Vec::<String>::new());
}

#[test]
fn and_is_the_same_bytes_each_time() {
    let folder = env::temp_dir().join(format!("divvy-dist-{}", std::process::id()));
    let (one, other) = (this(), dist(&folder, "0.1.0"));
    assert_eq!(one.len(), 2, "{one:?}");
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.file_name(), other.file_name());
        let same = fs::read(one).expect("made") == fs::read(other).expect("made");
        assert!(same, "{} differs from {}", one.display(), other.display());
    }
    let tarball = named(one, "-linux.tar.gz");
    let list = Command::new("tar")
        .arg("tf")
        .arg(tarball)
        .output()
        .expect("tar is there");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for file in [
        "bin/divvy",
        "etc/divvy.yaml",
        "systemd/divvy.service",
        "systemd/divvy.sysusers",
        "share/man/man8/divvy.8",
        "share/divvy/divvy.schema.json",
        "docs/install.md",
        "packaging/monitoring/alerts.yml",
        "LICENSE",
    ] {
        assert!(
            list.lines().any(|line| line.ends_with(&format!("/{file}"))),
            "{file}: {list}"
        );
    }
    fs::remove_dir_all(&folder).expect("removed");
}
