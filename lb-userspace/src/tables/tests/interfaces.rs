//! What the tables hold of the interfaces that packets come and go by.

use lb_common::interface::Interface;

use super::*;
use crate::net;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn interface(name: &str, mtu: u32, addresses: &[&str]) -> net::Interface {
    net::Interface {
        name: name.to_owned(),
        mtu,
        addresses: addresses.iter().map(|address| ip(address)).collect(),
    }
}

/// Frames come by eth0, and go to backends by 7.
fn world() -> World {
    let mut world = World::new(TWO_BACKENDS);
    let addresses = ["198.51.100.1", "2001:db8:c::1"];
    world.interfaces = BTreeMap::from([
        (3, interface("eth0", 1500, &addresses)),
        (7, interface("eth1", 9000, &["10.0.0.5"])),
        (8, interface("eth2", 576, &["10.8.0.5"])),
    ]);
    world
}

#[test]
fn those_that_packets_use_are_there_and_no_others() {
    let mut world = world();
    world.step();
    let expected = [
        (
            3,
            Interface {
                address4: unmapped(&words(ip("198.51.100.1"))),
                mtu: 1500,
                address6: words(ip("2001:db8:c::1")),
                pad: 0,
            },
        ),
        (
            7,
            Interface {
                address4: unmapped(&words(ip("10.0.0.5"))),
                mtu: 9000,
                ..Interface::default()
            },
        ),
    ];
    assert_eq!(world.applied.interfaces, BTreeMap::from(expected));
}

#[test]
fn the_narrowest_of_them_says_which_frames_are_looked_at() {
    let mut world = world();
    world.step();
    assert_eq!(world.applied.settings.frame_max, 1514);
    world.interfaces.insert(7, interface("eth1", 1400, &[]));
    world.step();
    assert_eq!(world.applied.settings.frame_max, 1414);
    // Backends behind it are no more.
    world.next_hops.clear();
    world.step();
    assert_eq!(world.applied.settings.frame_max, 1514);
    world.interfaces.clear();
    world.step();
    assert_eq!(world.applied.settings.frame_max, u32::MAX);
    assert_eq!(world.applied.interfaces, BTreeMap::new());
}

#[test]
fn a_vip_is_our_address_only_where_there_is_no_other() {
    let mut world = world();
    let both = interface("eth0", 1500, &["203.0.113.10", "198.51.100.1"]);
    world.interfaces.insert(3, both);
    world.step();
    let of = |world: &World| world.applied.interfaces[&3].address4;
    assert_eq!(of(&world), unmapped(&words(ip("198.51.100.1"))));
    let alone = interface("eth0", 1500, &["203.0.113.10"]);
    world.interfaces.insert(3, alone);
    assert_ne!(world.step(), 0);
    assert_eq!(of(&world), unmapped(&words(ip("203.0.113.10"))));
    assert_eq!(world.applied.interfaces[&3].address6, [0; 4]);
}
