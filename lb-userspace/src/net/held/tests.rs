use super::*;

const ETH0: u32 = 2;
const ETH1: u32 = 3;
const ELSEWHERE: u32 = 9;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(ifindex: u32) -> Link {
    Link {
        name: format!("eth{ifindex}"),
        ifindex,
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        resolves: true,
        veth: false,
        xdp: None,
    }
}

fn of_others(address: &str, length: u8, ifindex: u32) -> SeenAddress {
    SeenAddress {
        address: ip(address),
        ifindex,
        length,
        announced: false,
    }
}

fn ours(address: &str, ifindex: u32) -> SeenAddress {
    let length = if ip(address).is_ipv4() { 32 } else { 128 };
    SeenAddress {
        announced: true,
        ..of_others(address, length, ifindex)
    }
}

fn planned(there: &[SeenAddress], wanted: &[&str]) -> Plan {
    let wanted = wanted.iter().map(|text| ip(text)).collect();
    plan(there, &wanted, &[link(ETH0), link(ETH1)])
}

#[test]
fn an_address_goes_where_its_network_is_or_on_the_first_link() {
    let there = [
        of_others("10.0.0.1", 24, ETH0),
        of_others("10.0.0.2", 8, ETH1),
        of_others("192.0.2.1", 24, ETH1),
        of_others("198.51.100.1", 24, ELSEWHERE),
        of_others("2001:db8:1::1", 64, ETH1),
    ];
    let wanted = [
        "10.0.0.9",
        "10.9.0.9",
        "192.0.2.9",
        "198.51.100.9",
        "203.0.113.9",
        "2001:db8:1::9",
        "2001:db8:2::9",
    ];
    let plan = planned(&there, &wanted);
    let places: Vec<u32> = plan.add.iter().map(|(_, ifindex)| *ifindex).collect();
    assert_eq!(places, [ETH0, ETH1, ETH1, ETH0, ETH0, ETH1, ETH0]);
    assert_eq!(plan.add.len(), wanted.len());
}

#[test]
fn what_is_there_already_stays_and_what_is_not_wanted_goes() {
    let there = [
        ours("203.0.113.1", ETH1),
        ours("203.0.113.2", ETH0),
        ours("203.0.113.3", ELSEWHERE),
    ];
    let plan = planned(&there, &["203.0.113.1", "203.0.113.3"]);
    assert_eq!(plan.kept, [(ip("203.0.113.1"), ETH1)]);
    assert_eq!(
        plan.remove,
        [(ip("203.0.113.2"), ETH0), (ip("203.0.113.3"), ELSEWHERE),]
    );
    assert_eq!(plan.add, [(ip("203.0.113.3"), ETH0)]);
}

#[test]
fn what_others_put_there_is_left_alone() {
    // The host's only address is a vip; and one that was ours is somebody else's now as well.
    let there = [
        of_others("10.0.0.1", 24, ETH0),
        ours("203.0.113.1", ETH0),
        of_others("203.0.113.1", 24, ETH1),
    ];
    let plan = planned(&there, &["10.0.0.1", "203.0.113.1"]);
    assert_eq!(plan.others, [ip("10.0.0.1"), ip("203.0.113.1")]);
    assert_eq!(plan.remove, [(ip("203.0.113.1"), ETH0)]);
    assert!(plan.add.is_empty() && plan.kept.is_empty(), "{plan:?}");
}

#[test]
fn an_address_is_held_once() {
    let there = [ours("203.0.113.1", ETH0), ours("203.0.113.1", ETH1)];
    let plan = planned(&there, &["203.0.113.1"]);
    assert_eq!(plan.kept, [(ip("203.0.113.1"), ETH0)]);
    assert_eq!(plan.remove, [(ip("203.0.113.1"), ETH1)]);
}

#[test]
fn the_kernel_s_record_says_whose_it_is() {
    for address in [ip("203.0.113.1"), ip("2001:db8::1")] {
        let mut message = message(address, ETH0);
        let present = SeenAddress::from_message(&message).unwrap();
        assert!(
            present.announced && present.address == address,
            "{present:?}"
        );
        let theirs =
            |attribute: &AddressAttribute| !matches!(attribute, AddressAttribute::Protocol(_));
        message.attributes.retain(theirs);
        assert!(!SeenAddress::from_message(&message).unwrap().announced);
        message
            .attributes
            .push(AddressAttribute::Protocol(AddressProtocol::LinkLocal));
        assert!(!SeenAddress::from_message(&message).unwrap().announced);
    }
}
