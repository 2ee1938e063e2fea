use super::*;

const ETH0: u32 = 3;
const NONE: [IpAddr; 0] = [];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(mtu: u32) -> Link {
    Link {
        name: "eth0".into(),
        ifindex: ETH0,
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu,
        up: true,
        resolves: true,
        veth: false,
        xdp: None,
    }
}

fn links(mtu: u32) -> HashMap<u32, Link> {
    [(ETH0, link(mtu))].into()
}

fn message(address: &str, scope: AddressScope, flags: AddressHeaderFlags) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = ETH0;
    message.header.scope = scope;
    message.header.flags = flags;
    message.attributes = vec![AddressAttribute::Address(ip(address))];
    message
}

fn global(address: &str) -> AddressMessage {
    message(address, AddressScope::Universe, AddressHeaderFlags::empty())
}

/// What is told of eth0, which is all that is told.
fn told(interfaces: &mut Interfaces, links: &HashMap<u32, Link>) -> Option<Interface> {
    let news = interfaces.news(links);
    assert!(news.len() <= 1, "{news:?}");
    match news.into_iter().next()? {
        Event::Interface {
            ifindex: ETH0,
            interface,
        } => interface,
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_of_this_host_alone_or_not_yet_ours_are_left_out() {
    use AddressHeaderFlags as Flags;
    let mut interfaces = Interfaces::default();
    for (address, scope, flags) in [
        ("127.0.0.1", AddressScope::Host, Flags::empty()),
        ("fe80::1", AddressScope::Link, Flags::empty()),
        ("2001:db8::1", AddressScope::Universe, Flags::Tentative),
        ("2001:db8::2", AddressScope::Universe, Flags::Dadfailed),
    ] {
        interfaces.address(&message(address, scope, flags), false);
    }
    let interface = told(&mut interfaces, &links(1500)).expect("it is new");
    assert_eq!((interface.mtu, interface.addresses), (1500, vec![]));
}

#[test]
fn the_first_address_of_a_network_comes_before_others() {
    use AddressHeaderFlags as Flags;
    let mut interfaces = Interfaces::default();
    let second = message("10.0.0.6", AddressScope::Universe, Flags::Secondary);
    let old = message("2001:db8::9", AddressScope::Universe, Flags::Deprecated);
    interfaces.all_addresses(&[second, old, global("10.0.0.5"), global("2001:db8::5")]);
    let interface = told(&mut interfaces, &links(1500)).expect("it is new");
    let expected = ["10.0.0.5", "2001:db8::5", "10.0.0.6", "2001:db8::9"].map(ip);
    assert_eq!(interface.addresses, expected);
}

#[test]
fn of_a_point_to_point_link_our_own_end_counts() {
    let mut interfaces = Interfaces::default();
    let mut message = global("10.0.0.1");
    message
        .attributes
        .push(AddressAttribute::Local(ip("10.0.0.2")));
    interfaces.address(&message, false);
    let interface = told(&mut interfaces, &links(1500)).expect("it is new");
    assert_eq!(interface.addresses, [ip("10.0.0.2")]);
}

#[test]
fn each_change_is_told_once() {
    let mut interfaces = Interfaces::default();
    let addresses = |interface: Option<Interface>| interface.expect("news").addresses;
    assert_eq!(addresses(told(&mut interfaces, &links(1500))), NONE);
    assert_eq!(told(&mut interfaces, &links(1500)), None);

    interfaces.address(&global("10.0.0.5"), false);
    assert_eq!(
        addresses(told(&mut interfaces, &links(1500))),
        [ip("10.0.0.5")]
    );
    interfaces.address(&global("10.0.0.5"), false);
    assert_eq!(told(&mut interfaces, &links(1500)), None, "nothing differs");

    let narrow = told(&mut interfaces, &links(1400)).expect("news");
    assert_eq!((narrow.mtu, narrow.addresses), (1400, vec![ip("10.0.0.5")]));

    interfaces.address(&global("10.0.0.5"), true);
    assert_eq!(addresses(told(&mut interfaces, &links(1400))), NONE);

    interfaces.address(&global("10.0.0.5"), false);
    let gone = interfaces.news(&HashMap::new());
    assert_eq!(
        gone,
        [Event::Interface {
            ifindex: ETH0,
            interface: None
        }]
    );
    let again = told(&mut interfaces, &links(1500)).expect("news");
    assert_eq!(
        again.addresses, NONE,
        "another interface, which has taken its index"
    );
}

#[test]
fn what_a_full_answer_leaves_out_is_gone() {
    let mut interfaces = Interfaces::default();
    interfaces.address(&global("10.0.0.5"), false);
    interfaces.all_addresses(&[global("10.0.0.6")]);
    let interface = told(&mut interfaces, &links(1500)).expect("it is new");
    assert_eq!(interface.addresses, [ip("10.0.0.6")]);
}
