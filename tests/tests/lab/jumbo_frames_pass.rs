//! On a path of 9,000 bytes, frames that lie in several buffers pass in native mode, both ways, unchanged.

use lb_tests::lab::{Host, Lab, URL4, URL6, ten_megabytes};

const MTU: &str = "9000";

fn widen(host: &Host, interface: &str) {
    host.must_run(&["ip", "link", "set", interface, "mtu", MTU]);
}

#[test]
fn ten_megabytes_in_large_frames() {
    let lab = Lab::routed("jumbo").backends(1).start();
    let web = lab.backends()[0].host();
    for host in [lab.client(), web] {
        widen(host, "eth0");
        widen(lab.balancer(), host.name());
    }
    let divvy = lab.divvy(&lab.config().with("xdp: native"));
    divvy.wait_for_all_up();
    for (url, service) in [(URL4, "web"), (URL6, "web6")] {
        let response = (lab.client().get(&format!("{url}10mb"))).expect("the file comes");
        assert!(response.body == ten_megabytes(), "{url} came changed");
        let backend = divvy.backend(&format!("{service}/web-1"));
        let of = |key: &str| backend[key].as_u64().expect("a number");
        let (bytes, packets) = (of("bytes_total"), of("packets_total"));
        // Full frames one way and bare acknowledgements the other: with 1,500 bytes it cannot be.
        assert!(
            bytes / packets > 2_000,
            "{bytes} bytes in {packets} packets"
        );
    }
}
