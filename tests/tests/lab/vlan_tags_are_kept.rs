//! Client and backend in VLANs, with real TCP between them: the balancer keeps the tags of what it
//! forwards and of what it answers, native and generic.

use std::{io::ErrorKind, time::Duration};

use lb_tests::{
    lab::{Lab, URL4, URL6, ten_megabytes, wait_until},
    packet::{Tag, ethertype},
};

const ONE: &[Tag] = &[(ethertype::VLAN, 5 << 13 | 7)];
const TWO: &[Tag] = &[(ethertype::SERVICE_VLAN, 100), (ethertype::VLAN, 4_094)];

fn carries(lab: &Lab, tags: &[Tag], xdp: &str) {
    let config = lab.config().with(xdp).health_check("{ type: none }");
    let (client, backend) = (lab.client(), &lab.backends()[0]);
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    wait_until(
        "the backend's MAC addresses are known",
        Duration::from_secs(5),
        || {
            ["web/web-1", "web6/web-1"].iter().all(|place| {
                let hop = divvy.backend(place)["next_hop"].clone();
                hop.as_str().is_some_and(|hop| hop.contains("by interface"))
            })
        },
    );
    let ends = [client.in_vlans(tags), backend.host().in_vlans(tags)];
    for url in [URL4, URL6] {
        let response = (client.get(&format!("{url}10mb"))).expect("the file comes");
        assert!(response.body == ten_megabytes(), "{url} came changed");
    }
    for end in &ends {
        let (right, wrong) = end.came();
        assert!(right > 100, "{right} segments came");
        assert_eq!(wrong, 0, "segments without their tags");
    }

    // And what the balancer says itself: nobody is there any more.
    divvy.apply(&config.backend_key("web-1", "weight: 0"));
    let (before, _) = ends[0].came();
    for url in [URL4, URL6] {
        let error = client.get(url).expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
    assert_eq!(ends[0].came(), (before + 2, 0), "a reset for each SYN");
}

#[test]
fn one_tag() {
    let lab = Lab::routed("vlan").backends(1).start();
    carries(&lab, ONE, "xdp: native");
}

#[test]
fn two_tags() {
    let lab = Lab::routed("vlan_two").backends(1).start();
    carries(&lab, TWO, "xdp: native");
}

#[test]
fn in_generic_mode() {
    let lab = Lab::routed("vlan_generic").backends(1).start();
    carries(&lab, TWO, "xdp: generic");
}
