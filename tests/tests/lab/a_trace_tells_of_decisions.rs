//! `divvy trace`: what becomes of a service's packets, told as it happens, while connections go on; and
//! afterwards the plain program is back, however the trace ended.

use std::{fs, path::Path, thread, time::Duration};

use lb_tests::lab::{Backend, Divvy, IdleConnections, Lab, URL4, URL6, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

const SOME_TIME: Duration = Duration::from_secs(30);

/// Names of the programs on the balancer's interfaces.
fn programs(lab: &Lab) -> Vec<String> {
    let links = lab.balancer().must_run(&["ip", "-j", "-d", "link", "show"]);
    let links: Value = serde_json::from_str(&links).expect("it is JSON");
    let links = links.as_array().expect("a list").iter();
    let mut names: Vec<String> = links
        .filter_map(|link| link["xdp"]["prog"]["name"].as_str())
        .map(ToOwned::to_owned)
        .collect();
    names.dedup();
    names
}

fn is_plain(lab: &Lab) -> bool {
    programs(lab)
        .iter()
        .all(|name| !name.ends_with("_traced") && !name.ends_with("_tr"))
}

/// Runs `work` while a trace is on, and returns what the trace printed.
fn during(lab: &Lab, divvy: &Divvy, words: &[&str], work: impl FnOnce()) -> String {
    let before = divvy.log().matches("tracing:").count();
    thread::scope(|scope| {
        let trace = scope.spawn(|| {
            let output = divvy.cli(&[&["trace"], words].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            String::from_utf8(output.stdout).expect("it is text")
        });
        wait_until("the trace is on", SOME_TIME, || {
            divvy.log().matches("tracing:").count() > before
        });
        assert!(!is_plain(lab), "{:?}", programs(lab));
        work();
        let told = trace.join().expect("the trace ends");
        wait_until("the plain program is back", SOME_TIME, || is_plain(lab));
        told
    })
}

fn decisions(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn of_every_packet_in_both_directions() {
    let lab = Lab::routed("trace").backends(2).start();
    let config = lab
        .config()
        .probed_directly()
        .with_default("deny: [203.0.113.200/32]");
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 50);
    for (url, service) in [(URL4, "web"), (URL6, "web6")] {
        let words = [service, "--sample", "all", "--for", "3s", "-o", "json"];
        let mut served = String::new();
        let told = during(&lab, &divvy, &words, || {
            served = lab.client().get(url).expect("it is served").backend;
        });
        let told = decisions(&told);
        assert!(
            told.len() >= 8,
            "a connection takes more packets: {told:#?}"
        );
        for decision in &told {
            assert_eq!(decision["service"], service);
            assert_eq!(decision["verdict"], "forward", "{decision:#}");
            assert_eq!(decision["backend"], served.as_str(), "{decision:#}");
        }
        let flags: Vec<&str> = (told.iter())
            .filter_map(|decision| decision["arrived"]["flags"].as_str())
            .collect();
        assert_eq!(&flags[..3], ["S", "S.", "."], "{flags:?}");
        let [syn, syn_ack, ..] = told.as_slice() else {
            panic!("{told:#?}")
        };
        // What is sent to the backend is what it answers.
        for (one, other) in [("source", "destination"), ("destination", "source")] {
            assert_eq!(syn["left"][one], syn_ack["arrived"][other]);
            assert_eq!(syn["arrived"][one], syn_ack["left"][other]);
        }
        assert_eq!(syn["interface"], "client");
        assert!(told[0]["time"].as_str() < told[told.len() - 1]["time"].as_str());
    }
    assert_eq!(idle.broken(), Vec::<String>::new());
}

#[test]
fn in_mode_dsr_and_of_what_is_dropped() {
    let lab = Lab::routed("trace_dsr").backends(2).start();
    lab.backends().iter().for_each(Backend::hold_vips);
    let config = lab.config().mode("dsr").probed_directly();
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let words = ["web", "--sample", "all", "--for", "3s", "-o", "json"];
    let mut served = String::new();
    let told = during(&lab, &divvy, &words, || {
        served = lab.client().get(URL4).expect("it is served").backend;
    });
    let told = decisions(&told);
    assert!(told.len() >= 4, "{told:#?}");
    for decision in &told {
        assert_eq!(decision["backend"], served.as_str(), "{decision:#}");
        assert_eq!(
            decision["left"]["destination"],
            decision["arrived"]["destination"]
        );
    }
    divvy.apply(&config.with_default("deny: [0.0.0.0/0]"));
    let text = during(
        &lab,
        &divvy,
        &["web", "--sample", "all", "--for", "3s"],
        || {
            drop(lab.client().run(&["curl", "-sS", "--max-time", "1", URL4]));
        },
    );
    let first = text.lines().next().expect("something is told");
    assert!(
        first.contains("drop") && first.contains("source_denied: "),
        "{text}"
    );
}

/// Wireshark's own reader finds both frames of each decision, with what became of it as their comment.
#[test]
fn for_wireshark() {
    let lab = Lab::routed("trace_pcap").backends(1).start();
    let divvy = lab.divvy(&lab.config().probed_directly());
    divvy.wait_for_all_up();
    let file = lab.folder().join("web.pcapng");
    let path = file.to_str().expect("it is text");
    let words = [
        "web", "--sample", "all", "--for", "3s", "-o", "pcapng", "--write", path,
    ];
    during(&lab, &divvy, &words, || {
        lab.client().get(URL4).expect("it is served");
    });
    let told = lab.balancer().must_run(&[
        "tshark",
        "-r",
        path,
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "tcp.flags.str",
        "-e",
        "tcp.dstport",
        "-e",
        "frame.comment",
    ]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() >= 16, "{told}");
    assert!(
        lines[0].starts_with("client\t") && lines[1].starts_with("divvy\t"),
        "{told}"
    );
    for pair in lines.chunks(2) {
        let comments: Vec<_> = pair
            .iter()
            .filter_map(|line| line.rsplit('\t').next())
            .collect();
        assert!(
            comments[0].contains("forward") && comments[0].contains("web-1"),
            "{told}"
        );
        assert_eq!(comments[0], comments[1]);
    }
    assert!(Path::new(path).metadata().is_ok_and(|data| data.len() > 0));
    let _ = fs::remove_file(file);
}

/// Killed, stopped, overtaken by a reload: the traced program does not stay.
#[test]
fn and_leaves_nothing_however_it_ends() {
    let lab = Lab::routed("trace_end").backends(2).start();
    let config = lab.config().probed_directly();
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 50);
    let begin = || {
        let before = divvy.log().matches("tracing:").count();
        let process = divvy.spawn(&["trace", "web", "--sample", "all"]);
        wait_until("the trace is on", SOME_TIME, || {
            divvy.log().matches("tracing:").count() > before
        });
        process
    };

    let mut killed = begin();
    let second = divvy.cli(&["trace", "web"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success() && said.contains("somebody else is tracing"),
        "{said}"
    );
    killed.kill();
    wait_until("the plain program is back", SOME_TIME, || is_plain(&lab));

    let mut interrupted = begin();
    divvy.apply(&config.clone().weight("web-1", 3));
    interrupted.signal(Signal::SIGINT);
    assert!(
        interrupted
            .wait(SOME_TIME)
            .is_ok_and(|status| status.success())
    );
    wait_until("the plain program is back", SOME_TIME, || is_plain(&lab));

    let mut left = begin();
    assert!(divvy.terminate().success());
    assert!(is_plain(&lab), "a daemon that stops ends the trace");
    assert!(left.wait(SOME_TIME).is_ok_and(|status| !status.success()));
    divvy.start_again();

    let mut left = begin();
    divvy.kill9();
    assert!(!is_plain(&lab), "nobody could end it");
    assert!(left.wait(SOME_TIME).is_ok());
    divvy.start_again();
    assert!(is_plain(&lab), "the next daemon does");
    assert_eq!(idle.broken(), Vec::<String>::new());

    let nobody = divvy.cli(&["trace", "nobody"]);
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(
        said.contains("there is no service nobody; there are web, web6"),
        "{said}"
    );
}
