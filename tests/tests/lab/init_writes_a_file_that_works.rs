//! `divvy init` writes a configuration for the host it runs on: valid as it stands, with an address that
//! nobody answers for, and never over another file.

use std::{fs, os::unix::fs::PermissionsExt as _};

use lb_tests::lab::{Lab, WITHOUT_RIGHTS};

use crate::refusal::refused;

#[test]
fn for_a_host_in_one_network() {
    let lab = Lab::one_arm("init").backends(2).start();
    let balancer = lab.balancer();
    let divvy = lab.divvy_not_running("");
    fs::remove_file(divvy.config_path()).expect("removed");
    balancer.must_run(&["ip", "route", "add", "default", "via", "10.0.0.2"]);
    // Somebody has the first address that would be taken.
    let taken = lab.backend("web-1").host();
    taken.must_run(&["ip", "address", "add", "10.0.0.253/24", "dev", "eth0"]);

    let said = divvy.must(&["init"]);
    let file = divvy.config_path().display().to_string();
    let words = format!("wrote {file}: edit the lines marked EDIT, then `divvy check`");
    assert!(said.starts_with(&words), "{said}");
    let text = fs::read_to_string(divvy.config_path()).expect("it is there");
    for words in [
        "\n  - eth0 ",
        "left out: lo",
        "listen: [\"10.0.0.252:80\"]",
        "check that it is free",
        "\"10.0.0.1:80\"",
    ] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    let mode = fs::metadata(divvy.config_path())
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    let said = divvy.must(&["check"]);
    assert!(
        said.contains("valid: 1 service, 1 vip, 2 backends"),
        "{said}"
    );

    // With its servers in it, it serves.
    let edited =
        (text.replace("192.0.2.11:80", "10.0.0.11:80")).replace("192.0.2.12:80", "10.0.0.12:80");
    divvy.write_config(&edited);
    divvy.start_again();
    divvy.wait_for_all_up();
    let report = lab.client().get_many(20, "http://10.0.0.252/");
    assert_eq!(report.answered(), 20, "{report}");
}

#[test]
fn and_never_over_another() {
    let lab = Lab::routed("init_over").backends(1).start();
    let divvy = lab.divvy_not_running("# mine\n");
    let there = || fs::read_to_string(divvy.config_path()).expect("it is there");
    refused(
        &divvy.cli(&["init"]),
        1,
        &["is there already", "--output FILE", "--force"],
    );
    assert_eq!(there(), "# mine\n");
    let printed = divvy.must(&["init", "--output", "-"]);
    assert_eq!(there(), "# mine\n");
    divvy.must(&["init", "--force"]);
    assert_eq!(there(), printed);
    // Clients first, as there is no default route: by index.
    assert!(
        printed.contains("  - client   # EDIT") && printed.contains("\n  - web-1\n"),
        "{printed}"
    );

    // The package's own file is nobody's work, until somebody edits it.
    let delivered = include_str!("../../../packaging/divvy.yaml");
    divvy.write_config(delivered);
    divvy.must(&["init"]);
    assert_eq!(there(), printed);
    divvy.write_config(&format!("{delivered}#"));
    refused(&divvy.cli(&["init"]), 1, &["is there already"]);
    // What has no end is not read.
    refused(
        &divvy.cli(&["init", "--output", "/dev/zero"]),
        1,
        &["is there already"],
    );

    let elsewhere = lab.folder().join("a/b/divvy.yaml");
    let elsewhere = elsewhere.to_string_lossy();
    let said = divvy.must(&["init", "--output", &elsewhere]);
    assert!(
        said.contains(&format!("divvy check --config {elsewhere}")),
        "{said}"
    );
    divvy.must(&["check", &elsewhere]);
    let output = divvy.cli(&["init", "--output", "/proc/none/divvy.yaml"]);
    refused(
        &output,
        1,
        &["cannot write /proc/none/divvy.yaml", "--output"],
    );
    // Without rights nobody is asked, and that is said.
    let output = divvy.cli_by(&WITHOUT_RIGHTS, &["init", "--output", "-"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Nobody was asked for it, which takes root"),
        "{output:?}"
    );
}
