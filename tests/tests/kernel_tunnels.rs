//! Backends unwrap with their kernel's own tunnel devices, prepared by the commands of docs/modes.md. Not
//! every kernel has them, so that this is no test of the workspace's usual ones: `cargo xtask test --kernel 6.1`
//! runs it in a kernel that does. Needs root.

use std::collections::BTreeMap;

use lb_tests::lab::{Backend, Config, Divvy, Lab, URL4, URL6, ten_megabytes};

const PAGE: &str = include_str!("../../docs/modes.md");

/// The commands of the block that begins with this one.
fn block(first: &str) -> Vec<&'static str> {
    let start = PAGE
        .find(&format!("\n{first}"))
        .unwrap_or_else(|| panic!("the page has the command `{first}`"));
    let (block, _) = PAGE[start..]
        .split_once("```")
        .expect("a block of the page ends");
    block.trim().lines().collect()
}

/// Runs commands on a backend with its own addresses.
fn run(backend: &Backend, commands: &[&str]) {
    let host = backend.host();
    for command in commands {
        let command = command
            .replace("10.0.0.21", &host.v4().to_string())
            .replace("fd00::21", &host.v6().to_string());
        host.must_run(&command.split_whitespace().collect::<Vec<_>>());
    }
}

/// Packets that came out of each tunnel device of a backend.
fn unwrapped(backend: &Backend) -> BTreeMap<String, u64> {
    let devices = ["ipip4", "sit4", "ip6any"];
    let count = |device: &str| {
        let words = ["ip", "-s", "-o", "link", "show", device];
        let text = backend.host().must_run(&words);
        let (_, received) = text.split_once("RX:").expect("the device has counters");
        let mut words = received.split_whitespace().map(str::parse::<u64>);
        // Bytes, then packets, behind the names of the columns.
        let packets = words.by_ref().flatten().nth(1);
        packets.expect("counters are numbers")
    };
    devices
        .iter()
        .map(|device| (String::from(*device), count(device)))
        .collect()
}

/// Both services answer from both backends, which see the client's own address and send a file unchanged; what
/// each backend unwrapped came out of these devices, the first for the vip of IPv4. Backends are found to be up
/// through the tunnels, whose packets are counted while no probe goes through them.
fn carries(lab: &Lab, divvy: &Divvy, config: &Config, devices: [&str; 2]) {
    divvy.apply(config);
    divvy.wait_for_all_up();
    divvy.apply(&config.clone().probed_directly());
    let addresses = [lab.client().v4().to_string(), lab.client().v6().to_string()];
    for ((url, device), client) in [URL4, URL6].into_iter().zip(devices).zip(addresses) {
        let before: Vec<_> = lab.backends().iter().map(unwrapped).collect();
        let report = lab.client().get_many(20, url);
        assert!(report.failed().is_empty(), "{url}: {:?}", report.failed());
        for (backend, before) in lab.backends().iter().zip(before) {
            assert!(report.answered_by(backend.name()) > 0, "{report}");
            for (name, count) in unwrapped(backend) {
                let came = count > before[&name];
                assert_eq!(came, name == device, "{url} by {name}, {config:?}");
            }
        }
        let response = lab.client().get(&format!("{url}10mb"));
        let response = response.expect("the file comes");
        assert!(response.body == ten_megabytes(), "{url}");
        assert_eq!(response.client, client, "the client is seen");
    }
}

fn prepare(lab: &Lab) {
    for backend in lab.backends() {
        backend.hold_vips();
        run(backend, &block("ip link add ipip4"));
    }
}

#[test]
fn ipip_is_unwrapped() {
    let lab = Lab::routed("kernel_ipip").backends(2).start();
    prepare(&lab);
    let config = lab.config().mode("ipip");
    let divvy = lab.divvy(&config);
    carries(&lab, &divvy, &config, ["ipip4", "ip6any"]);
    carries(&lab, &divvy, &config.crossed(), ["ip6any", "sit4"]);
}

#[test]
fn gue_of_both_variants_is_unwrapped() {
    let lab = Lab::one_arm("kernel_gue").backends(2).start();
    prepare(&lab);
    for backend in lab.backends() {
        run(backend, &block("ip fou add"));
    }
    let config = lab.config().mode("gue");
    let divvy = lab.divvy(&config);
    for variant in ["tunnel: { variant: 0 }", "tunnel: { variant: 1 }"] {
        let config = config.clone().with_default(variant);
        carries(&lab, &divvy, &config, ["ipip4", "ip6any"]);
        carries(&lab, &divvy, &config.crossed(), ["ip6any", "sit4"]);
    }
}
