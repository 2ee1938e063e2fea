//! `divvy doctor` names what a host lacks, says what to do about it, and sees that it was done: each fault is
//! made in a healthy lab, and the remedy is the doctor's own command where that is one.

use std::{collections::BTreeMap, fs, net::TcpListener};

use lb_tests::lab::{Divvy, Lab, WITHOUT_RIGHTS};
use serde_json::Value;

/// Exit code, and all that it says.
fn doctor(divvy: &Divvy) -> (Option<i32>, Value) {
    let output = divvy.cli(&["doctor", "-o", "json"]);
    assert!(output.stderr.is_empty(), "{output:?}");
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.expect("JSON"))
}

/// Of one check, what is not well: severity, subject, message and remedy.
fn bad(report: &Value, check: &str) -> Vec<[String; 4]> {
    let findings = report["findings"].as_array().expect("a list");
    let text = |finding: &Value, field: &str| {
        let text = finding[field].as_str().map(str::to_owned);
        text.unwrap_or_else(|| panic!("{field} of {finding}"))
    };
    (findings.iter())
        .filter(|finding| finding["check"] == check && finding["severity"] != "ok")
        .map(|finding| {
            assert!(!text(finding, "effect").is_empty());
            ["severity", "subject", "message", "remedy"].map(|field| text(finding, field))
        })
        .collect()
}

/// The check finds something of this severity about this subject, and the exit code fits; returns the
/// remedy.
#[track_caller]
fn found(divvy: &Divvy, check: &str, severity: &str, subject: &str) -> String {
    let (code, report) = doctor(divvy);
    let bad = bad(&report, check);
    let one = bad.iter().find(|[_, about, ..]| about == subject);
    let [found, _, message, remedy] =
        one.unwrap_or_else(|| panic!("{check} of {subject}: {bad:?}"));
    println!("{check}: {message}; {remedy}");
    assert_eq!(found, severity, "{message}");
    let problems = report["problems"].as_u64().expect("a number");
    assert_eq!(code, Some(i32::from(problems > 0)), "{report}");
    remedy.clone()
}

#[track_caller]
fn gone(divvy: &Divvy, check: &str) {
    let (_, report) = doctor(divvy);
    assert_eq!(bad(&report, check), Vec::<[String; 4]>::new(), "{check}");
}

/// Found; then the remedy, as it is printed, is carried out by a shell on the balancer, and does help.
#[track_caller]
fn cured(lab: &Lab, divvy: &Divvy, check: &str, severity: &str, subject: &str) {
    let remedy = found(divvy, check, severity, subject);
    lab.balancer().must_run(&["sh", "-c", &remedy]);
    gone(divvy, check);
}

#[track_caller]
fn healthy(divvy: &Divvy) {
    let (code, report) = doctor(divvy);
    assert_eq!(
        (code, &report["problems"]),
        (Some(0), &Value::from(0)),
        "{report:#}"
    );
    assert!(report["passed"].as_u64() > Some(15), "{report:#}");
}

/// Bytes of all eBPF maps that a process has open.
fn memory_of_maps(process: u32) -> u64 {
    let files = fs::read_dir(format!("/proc/{process}/fdinfo")).expect("it runs");
    let maps: BTreeMap<u64, u64> = (files.flatten())
        .filter_map(|file| {
            let text = fs::read_to_string(file.path()).ok()?;
            let value = |key: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(key));
                line.and_then(|value| value.trim().parse().ok())
            };
            Some((value("map_id:")?, value("memlock:")?))
        })
        .collect();
    maps.values().sum()
}

#[test]
fn nothing_on_a_healthy_host() {
    let lab = Lab::routed("doctor_well").backends(2).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    healthy(&divvy);
    let before = divvy.must(&["doctor"]);
    assert!(before.contains("; no daemon answers\n"), "{before}");
    divvy.start_again();
    // What it said of memory is what the kernel counts then.
    let (_, rest) = before
        .split_once("the tables take ")
        .expect("a line of memory");
    let said: u64 = (rest.split(' ').next().and_then(|mib| mib.parse().ok())).expect("a number");
    let taken = memory_of_maps(divvy.id()) >> 20;
    assert!(
        said.abs_diff(taken) * 20 < taken,
        "{said} MiB, and it is {taken}"
    );
    healthy(&divvy);
    let text = divvy.must(&["doctor"]);
    println!("{text}");
    let file = divvy.config_path().display().to_string();
    assert!(text.starts_with(&format!("this host against {file}; the daemon runs\n")));
    let last = text.lines().last().unwrap_or_default();
    assert!(last.ends_with(" checks passed"), "{last}");
    assert!(
        text.contains("native on client, web-1, web-2 [xdp_mode]"),
        "{text}"
    );
    for module in ["forwarding_ipv4", "backend_neighbour", "path_mtu", "memory"] {
        assert!(text.contains(&format!("[{module}]")), "{module}: {text}");
    }
}

#[test]
fn what_the_kernel_does_not_do() {
    let lab = Lab::routed("doctor_kernel").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let balancer = lab.balancer();
    balancer.set("ipv4/ip_forward", "0");
    cured(&lab, &divvy, "forwarding_ipv4", "warning", "");
    balancer.set("ipv4/conf/web-1/forwarding", "0");
    cured(&lab, &divvy, "forwarding_ipv4", "warning", "web-1");
    balancer.set("ipv6/conf/all/forwarding", "0");
    cured(&lab, &divvy, "forwarding_ipv6", "warning", "");
    balancer.set("ipv4/ip_forward", "0");
    divvy.write_config(&lab.config().mode("route").yaml());
    cured(&lab, &divvy, "forwarding_ipv4", "problem", "");
    divvy.write_config(&lab.config().yaml());
    balancer.set("ipv4/conf/client/rp_filter", "1");
    cured(&lab, &divvy, "rp_filter", "warning", "client");
    balancer.set("ipv4/conf/all/rp_filter", "1");
    for interface in ["client", "web-1"] {
        balancer.set(&format!("ipv4/conf/{interface}/rp_filter"), "0");
        let remedy = found(&divvy, "rp_filter", "warning", interface);
        balancer.must_run(&["sh", "-c", &remedy]);
    }
    gone(&divvy, "rp_filter");
    balancer.set("ipv4/ip_local_port_range", "20000 60999");
    balancer.set("ipv4/ip_local_reserved_ports", "8080");
    cured(&lab, &divvy, "source_ports", "warning", "snat.ports");
    let reserved = balancer.must_run(&["sysctl", "-n", "net.ipv4.ip_local_reserved_ports"]);
    assert_eq!(reserved.trim(), "8080,20000-32767");
    healthy(&divvy);
}

#[test]
fn ways_that_lead_nowhere() {
    let lab = Lab::routed("doctor_ways").backends(2).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let (balancer, backend) = (lab.balancer(), lab.backend("web-1").host());
    balancer.must_run(&["ip", "route", "delete", "10.0.1.0/24"]);
    cured(&lab, &divvy, "backend_route", "problem", "web/web-1");

    // The backend is not there, as far as anybody hears.
    backend.must_run(&["ip", "address", "delete", "10.0.1.2/24", "dev", "eth0"]);
    balancer.flush_neighbours();
    let remedy = found(&divvy, "backend_neighbour", "problem", "web/web-1");
    let shown = balancer.must_run(&["sh", "-c", &remedy]);
    assert!(
        shown.contains("FAILED") || shown.contains("INCOMPLETE"),
        "{shown}"
    );
    backend.must_run(&["ip", "address", "add", "10.0.1.2/24", "dev", "eth0"]);
    gone(&divvy, "backend_neighbour");

    let own = lab.config().yaml().replace("10.0.1.2:80", "10.0.2.1:80");
    divvy.write_config(&own);
    found(&divvy, "backend_own_address", "problem", "web/web-1");
    gone(&divvy, "backend_route");

    let all = lab.config().yaml();
    let few = all.replace("[client, web-1, web-2]", "[client, web-1]");
    divvy.write_config(&few);
    let remedy = found(&divvy, "backend_interface", "problem", "web/web-2");
    let (_, line) = remedy.split_once(": ").expect("a line to write");
    let line = line.split("   #").next().expect("one");
    divvy.write_config(&few.replace("interfaces: [client, web-1]", line));
    gone(&divvy, "backend_interface");
    healthy(&divvy);

    divvy.write_config(&all.replace("[client, ", "[cleint, "));
    let remedy = found(&divvy, "interface_missing", "problem", "cleint");
    assert!(
        remedy.starts_with("write client in place of cleint"),
        "{remedy}"
    );
    divvy.write_config(&all);
    balancer.must_run(&["ip", "link", "set", "web-1", "down"]);
    cured(&lab, &divvy, "interface_down", "problem", "web-1");
    lab.replace_link("web-1");
    lab.backend("web-2").unplug();
    found(&divvy, "interface_down", "problem", "web-2");
}

#[test]
fn packets_that_do_not_fit() {
    let lab = Lab::routed("doctor_mtu").backends(2).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    gone(&divvy, "path_mtu");
    (lab.balancer()).must_run(&["ip", "link", "set", "web-1", "mtu", "1400"]);
    cured(
        &lab,
        &divvy,
        "path_mtu",
        "warning",
        "web/web-1 and another backend",
    );
    for (mode, needed) in [("ipip", 1_540), ("gue", 1_552)] {
        divvy.write_config(&lab.config().mode(mode).yaml());
        for backend in ["web-1", "web-2"] {
            (lab.balancer()).must_run(&["ip", "link", "set", backend, "mtu", "1500"]);
        }
        // That of IPv6 is the larger one.
        for backend in ["web-1", "web-2"] {
            let subject = format!("web6/{backend} and another backend");
            let remedy = found(&divvy, "path_mtu", "warning", &subject);
            (lab.balancer()).must_run(&["sh", "-c", &remedy]);
            let link = (lab.balancer()).must_run(&["ip", "link", "show", backend]);
            assert!(link.contains(&format!("mtu {needed} ")), "{link}");
        }
        gone(&divvy, "path_mtu");
    }
    (lab.balancer()).must_run(&["ip", "link", "set", "web-1", "mtu", "1300"]);
    found(
        &divvy,
        "path_mtu",
        "problem",
        "web6/web-1 and another backend",
    );
    // A route may allow less than its link.
    divvy.write_config(&lab.config().yaml());
    (lab.balancer()).must_run(&["ip", "link", "set", "web-1", "mtu", "1500"]);
    let route = "ip route replace 10.0.1.0/24 dev web-1 mtu 1300";
    (lab.balancer()).must_run(&["sh", "-c", route]);
    let remedy = found(&divvy, "path_mtu", "warning", "web/web-1");
    let shown = (lab.balancer()).must_run(&["sh", "-c", &remedy]);
    assert!(shown.contains("mtu 1300"), "{shown}");
}

#[test]
fn programs_of_others_and_modes() {
    let lab = Lab::routed("doctor_xdp").backends(2).start();
    let other = lab.divvy_not_running("interfaces: [web-2]\nservices:\n  - { name: x, listen: [\"192.0.2.1:1\"], backends: [] }\n");
    other.start_again();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    // One that is held by a link, which is ended in its own way.
    let remedy = found(&divvy, "xdp_program", "problem", "web-2");
    let refused = lab.balancer().run(&["sh", "-c", &remedy]);
    assert!(!refused.status.success(), "{refused:?}");
    other.must(&["detach"]);
    other.wait_for_its_end();
    gone(&divvy, "xdp_program");
    // And ones that were put there by hand.
    other.start_again();
    for (interface, mode) in [("web-1", "xdpdrv"), ("client", "xdpgeneric")] {
        let pinned = other.pins().join("prog").display().to_string();
        let words = ["ip", "link", "set", interface, mode, "pinned", &pinned];
        lab.balancer().must_run(&words);
        cured_of(&lab, &divvy, interface);
    }
    other.must(&["detach"]);
    other.wait_for_its_end();

    divvy.write_config(&lab.config().with("xdp: generic").yaml());
    divvy.start_again();
    gone(&divvy, "xdp_mode");
    divvy.write_config(&lab.config().yaml());
    let remedy = found(&divvy, "xdp_mode", "warning", "web-1");
    assert!(remedy.contains("write `xdp: native`"), "{remedy}");
    divvy.write_config(&lab.config().with("xdp: native").yaml());
    divvy.must(&["reload"]);
    gone(&divvy, "xdp_mode");

    // The other end of a veth takes redirected frames only with GRO.
    gone(&divvy, "xdp_redirect");
    let backend = lab.backend("web-1").host();
    backend.must_run(&["ethtool", "-K", "eth0", "gro", "off"]);
    let remedy = found(&divvy, "xdp_redirect", "problem", "web-1");
    let (_, command) = remedy.split_once(": ").expect("where, and what");
    backend.must_run(&["sh", "-c", &command.replace("NAME", "eth0")]);
    gone(&divvy, "xdp_redirect");

    // The daemon dies: what is pinned goes on.
    gone(&divvy, "daemon");
    divvy.kill9();
    found(&divvy, "daemon", "warning", "");
    gone(&divvy, "xdp_program");
}

/// The program is still on `web-2`.
#[track_caller]
fn cured_of(lab: &Lab, divvy: &Divvy, interface: &str) {
    let remedy = found(divvy, "xdp_program", "problem", interface);
    lab.balancer().must_run(&["sh", "-c", &remedy]);
    let (_, report) = doctor(divvy);
    let left = bad(&report, "xdp_program");
    assert!(
        left.iter().all(|[_, subject, ..]| subject == "web-2"),
        "{left:?}"
    );
}

#[test]
fn vips_and_what_listens_there() {
    let lab = Lab::routed("doctor_vips").backends(1).start();
    let with = |vip: &str| lab.config().yaml().replace("203.0.113.10:80", vip);
    let divvy = lab.divvy_not_running(&with("10.0.0.77:80"));
    cured(&lab, &divvy, "vip_address", "problem", "web 10.0.0.77");
    (lab.balancer()).must_run(&["ip", "address", "delete", "10.0.0.77/32", "dev", "client"]);
    divvy.write_config(&format!(
        "announce: {{ addresses: true }}\n{}",
        with("10.0.0.77:80")
    ));
    gone(&divvy, "vip_address");
    divvy.write_config(&with("10.0.0.77:80"));
    (lab.client()).must_run(&["ip", "address", "add", "10.0.0.77/32", "dev", "eth0"]);
    lab.balancer().flush_neighbours();
    found(&divvy, "vip_address", "warning", "web 10.0.0.77");

    divvy.write_config(&with("10.0.0.1:80"));
    gone(&divvy, "vip_local_server");
    let server = (lab.balancer()).inside(|| TcpListener::bind("0.0.0.0:80").expect("bound"));
    let remedy = found(&divvy, "vip_local_server", "warning", "web 10.0.0.1:80");
    let whose = lab.balancer().must_run(&["sh", "-c", &remedy]);
    assert!(whose.contains("0.0.0.0:80"), "{whose}");
    drop(server);
    gone(&divvy, "vip_local_server");
}

#[test]
fn files_rights_and_limits() {
    let lab = Lab::routed("doctor_rest").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let most = "limits: { flows: 16777216, half_open: 16777216 }";
    divvy.write_config(&lab.config().with(most).yaml());
    let remedy = found(&divvy, "memory", "problem", "");
    assert!(
        remedy.contains("{ flows: 8388608, half_open: 8388608 }"),
        "{remedy}"
    );

    divvy.write_config("interfaces: [client]\nservices: []\ncolour: blue\n");
    let remedy = found(&divvy, "config", "problem", "");
    assert!(remedy.starts_with("divvy check "), "{remedy}");
    fs::remove_file(divvy.config_path()).expect("removed");
    found(&divvy, "config", "warning", "");
    let text = divvy.must(&["doctor"]);
    assert!(text.starts_with("this host alone, without "), "{text}");
    (lab.balancer()).set("ipv4/ip_forward", "0");
    cured(&lab, &divvy, "forwarding_ipv4", "warning", "");

    divvy.write_config(&lab.config().yaml());
    let few = divvy.to_its_end("doctor", &["prlimit", "--nofile=100"]);
    let text = String::from_utf8_lossy(&few.stdout);
    assert!(
        text.contains("ulimit -n 258") && few.status.success(),
        "{text}"
    );
    let nobody = divvy.to_its_end("doctor", &WITHOUT_RIGHTS);
    let text = String::from_utf8_lossy(&nobody.stdout);
    for words in [
        "this user lacks CAP_NET_ADMIN",
        "may not mount",
        "divvy prepare",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(nobody.status.code(), Some(1));
}
