//! Networks, and which interfaces are worth using.

use super::*;

fn link(ifindex: u32, name: &str, kind: &str) -> SeenLink {
    SeenLink {
        kind: kind.to_owned(),
        ..SeenLink::plain(ifindex, name)
    }
}

fn own(address: &str, length: u8) -> SeenAddress {
    SeenAddress {
        address: address.parse().unwrap(),
        length,
        ifindex: 2,
        announced: false,
    }
}

#[test]
fn an_address_lies_in_the_smallest_network() {
    let survey = Survey {
        addresses: vec![own("10.0.0.1", 8), own("10.0.1.1", 24), own("10.0.1.9", 32)],
        ..Survey::default()
    };
    let network = |text: &str| {
        survey
            .network_of(text.parse().unwrap())
            .map(|own| own.length)
    };
    assert_eq!(network("10.0.1.200"), Some(24));
    assert_eq!(network("10.0.2.1"), Some(8));
    // A network of one address is none that another could lie in.
    assert_eq!(network("10.0.1.9"), Some(24));
    assert_eq!(network("192.0.2.1"), None);
    assert_eq!(network("fd00::1"), None);
    assert!(own("fd00::1", 64).covers("fd00::ffff".parse().unwrap()));
    assert!(!own("fd00::1", 64).covers("fd00:0:0:1::1".parse().unwrap()));
    assert_eq!(own("10.0.1.9", 24).network().to_string(), "10.0.1.0");
    assert_eq!(own("10.0.1.9", 0).network().to_string(), "0.0.0.0");
    assert_eq!(own("fd00::9", 64).network().to_string(), "fd00::");
    assert!(own("10.0.0.1", 0).covers("192.0.2.1".parse().unwrap()));
}

#[test]
fn the_default_route_comes_first_and_containers_are_left_out() {
    let mut port = link(7, "eth9", "");
    port.controller = Some(6);
    let mut down = link(8, "eth3", "");
    down.link.up = false;
    let survey = Survey {
        links: vec![
            link(1, "lo", ""),
            link(2, "eth1", ""),
            link(3, "eth0", ""),
            link(4, "docker0", "bridge"),
            link(5, "veth1234", "veth"),
            link(6, "lan", "bridge"),
            port,
            down,
        ],
        defaults: vec![3],
        ..Survey::default()
    };
    let told: Vec<(String, String)> = (candidates(&survey).into_iter())
        .map(|one| (one.name, one.left_out.unwrap_or_default()))
        .collect();
    let (names, reasons): (Vec<&str>, Vec<&str>) =
        told.iter().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
    assert_eq!(
        names,
        [
            "eth0", "eth1", "lo", "docker0", "veth1234", "lan", "eth9", "eth3"
        ]
    );
    assert_eq!(reasons[..2], ["", ""]);
    assert_eq!(reasons[2], "loopback");
    assert!(reasons[3].contains("containers") && reasons[4].contains("containers"));
    assert_eq!(reasons[5], "of the kind bridge");
    assert!(reasons[6].starts_with("a port of lan"));
    assert_eq!(reasons[7], "down");
}
