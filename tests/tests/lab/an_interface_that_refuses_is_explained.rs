//! Where a driver refuses the program, the daemon says why, though the kernel tells a number only: in mode
//! `native` it ends with that, in mode `auto` it goes on in generic mode.

use lb_tests::lab::Lab;

use crate::refusal::{refused, untouched};

/// A veth that receives by one queue what its peer sends by two.
const NARROW: &[&str] = &[
    "ip",
    "link",
    "add",
    "narrow",
    "numtxqueues",
    "1",
    "numrxqueues",
    "1",
    "type",
    "veth",
    "peer",
    "name",
    "wide",
    "numtxqueues",
    "2",
    "numrxqueues",
    "2",
];

const EXPLANATION: &[&str] = &[
    "cannot attach XDP to narrow in native mode: No space left on device",
    "it receives by 1 queues, and its peer sends by more",
    "`ethtool -L narrow rx N`",
    "`ethtool -L PEER tx 1`",
];

#[test]
fn by_the_queues_of_a_veth() {
    let lab = Lab::routed("narrow").backends(1).start();
    lab.balancer().must_run(NARROW);
    for end in ["narrow", "wide"] {
        (lab.balancer()).must_run(&["ip", "link", "set", end, "up"]);
    }
    let yaml = |xdp: &str| {
        let yaml = lab.config().with(xdp).yaml();
        yaml.replace("interfaces: [client, ", "interfaces: [narrow, client, ")
    };
    let divvy = lab.divvy_not_running(&yaml("xdp: native"));
    refused(&divvy.run_to_its_end(), 1, EXPLANATION);
    untouched(&lab, &divvy);

    divvy.write_config(&yaml("xdp: auto"));
    divvy.start_again();
    let modes: Vec<String> = (divvy.status()["interfaces"]
        .as_array()
        .into_iter()
        .flatten())
    .map(|interface| interface["xdp"].as_str().unwrap_or_default().to_owned())
    .collect();
    assert_eq!(modes, ["generic", "native", "native"]);
    let log = divvy.log();
    let line = (log.lines())
        .find(|line| line.contains("falling back to generic mode"))
        .unwrap_or_else(|| panic!("nothing is said: {log}"));
    for words in EXPLANATION {
        assert!(line.contains(words), "`{words}` is missing in: {line}");
    }

    // The remedy that it names does help.
    (lab.balancer()).must_run(&["ethtool", "-L", "wide", "tx", "1"]);
    divvy.write_config(&yaml("xdp: native"));
    divvy.must(&["reload"]);
    assert_eq!(divvy.status()["interfaces"][0]["xdp"], "native");
}
