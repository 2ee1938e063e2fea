use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType};

use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourState,
};

use super::*;
use crate::net::Mac;
use crate::net::neighbour::HOLD;

const LOCAL: Mac = [2, 0, 0, 0, 0, 1];
const OLD: Mac = [2, 0, 0, 0, 0, 2];
const NEW: Mac = [2, 0, 0, 0, 0, 3];
const ETH0: u32 = 3;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link_message(ifindex: u32, name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Address(LOCAL.to_vec()),
    ];
    message
}

fn neighbour_message(
    address: &str,
    state: NeighbourState,
    mac: impl Into<Option<Mac>>,
) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = ETH0;
    message.header.state = state;
    message
        .attributes
        .push(NeighbourAttribute::Destination(ip(address).into()));
    if let Some(mac) = mac.into() {
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    }
    message
}

fn on_link() -> Result<Route, String> {
    Ok(Route {
        ifindex: ETH0,
        source: ip("10.0.0.1"),
        gateway: None,
    })
}

fn peer_mac(event: Option<&Event>) -> Option<Mac> {
    match event {
        Some(Event::NextHop {
            next_hop: Ok(next_hop),
            ..
        }) => next_hop.peer_mac,
        other => panic!("expected a next hop, got {other:?}"),
    }
}

/// A view with eth0 that tracks 10.0.0.9, whose route has come but whose MAC address has not.
fn tracking() -> View {
    let mut view = View::default();
    view.link(&link_message(ETH0, "eth0"), false);
    assert_eq!(view.track(vec![ip("10.0.0.9")]), [ip("10.0.0.9")]);
    let (event, unknown) = view.routed(ip("10.0.0.9"), on_link());
    assert_eq!(peer_mac(event.as_ref()), None);
    assert_eq!(unknown, Some((ETH0, ip("10.0.0.9"))));
    view
}

/// The same with its MAC address known to be `OLD`.
fn settled(now: Instant) -> View {
    let mut view = tracking();
    view.neighbour(
        &neighbour_message("10.0.0.9", NeighbourState::Reachable, OLD),
        false,
        now,
    );
    view.news_through((ETH0, ip("10.0.0.9")));
    view
}

#[test]
fn states_that_hold_a_mac_address_count_and_the_others_do_not() {
    use NeighbourState::*;
    let now = Instant::now();
    let key = (ETH0, ip("10.0.0.9"));
    for state in [Reachable, Stale, Delay, Probe, Permanent, Noarp] {
        let mut view = tracking();
        let message = neighbour_message("10.0.0.9", state, OLD);
        assert_eq!(
            view.neighbour(&message, false, now),
            Learned::Moved(key),
            "{state}"
        );
        assert_eq!(peer_mac(view.news_through(key).first()), Some(OLD));
        assert_eq!(view.unknown(), []);
    }
    for state in [Failed, Incomplete, None] {
        let mut view = tracking();
        let message = neighbour_message("10.0.0.9", state, OLD);
        assert_eq!(
            view.neighbour(&message, false, now),
            Learned::Nothing,
            "{state}"
        );
        assert_eq!(view.unknown(), [key]);
    }
}

#[test]
fn only_what_differs_is_told() {
    let now = Instant::now();
    let key = (ETH0, ip("10.0.0.9"));
    let mut view = settled(now);
    let stale = neighbour_message("10.0.0.9", NeighbourState::Stale, OLD);
    assert_eq!(view.neighbour(&stale, false, now), Learned::Nothing);
    assert_eq!(view.routed(ip("10.0.0.9"), on_link()), (None, None));

    let moved = neighbour_message("10.0.0.9", NeighbourState::Stale, NEW);
    assert_eq!(view.neighbour(&moved, false, now), Learned::Moved(key));
    assert_eq!(peer_mac(view.news_through(key).first()), Some(NEW));
    let other = neighbour_message("10.0.0.77", NeighbourState::Reachable, NEW);
    assert_eq!(view.neighbour(&other, false, now), Learned::Nothing);
}

#[test]
fn a_lost_mac_address_is_asked_for_at_once_and_given_up_later() {
    let now = Instant::now();
    let key = (ETH0, ip("10.0.0.9"));
    let mut view = settled(now);
    // Deleting an entry makes the kernel tell both.
    let failed = neighbour_message("10.0.0.9", NeighbourState::Failed, None);
    assert_eq!(view.neighbour(&failed, false, now), Learned::Lost(key));
    assert_eq!(view.neighbour(&failed, true, now), Learned::Nothing);
    assert_eq!(view.unknown(), [key]);
    assert_eq!(view.give_up_lost(now), []);
    assert_eq!(peer_mac(view.give_up_lost(now + HOLD).first()), None);
    assert_eq!(view.unknown(), [key]);
}

#[test]
fn a_mac_address_that_comes_back_unchanged_is_no_news() {
    let now = Instant::now();
    let mut view = settled(now);
    let message = neighbour_message("10.0.0.9", NeighbourState::Reachable, OLD);
    view.neighbour(&message, true, now);
    assert_eq!(view.neighbour(&message, false, now), Learned::Nothing);
    assert_eq!(view.give_up_lost(now + HOLD), []);
    assert_eq!(view.unknown(), []);
}

#[test]
fn a_stale_neighbour_is_made_sure_of_every_30_seconds() {
    let now = Instant::now();
    let key = (ETH0, ip("10.0.0.9"));
    let mut view = settled(now);
    assert_eq!(view.take_unconfirmed(now + 2 * STALE_FOR), []);
    let stale = neighbour_message("10.0.0.9", NeighbourState::Stale, OLD);
    view.neighbour(&stale, false, now);
    assert_eq!(view.take_unconfirmed(now), []);
    assert_eq!(view.take_unconfirmed(now + STALE_FOR), [key]);
    assert_eq!(view.take_unconfirmed(now + STALE_FOR), []);
    assert_eq!(view.take_unconfirmed(now + 2 * STALE_FOR), [key]);
}

#[test]
fn a_neighbour_missing_from_the_full_list_is_doubted() {
    let now = Instant::now();
    let mut view = settled(now);
    assert_eq!(view.all_neighbours(&[], now), []);
    assert_eq!(view.take_unconfirmed(now), [(ETH0, ip("10.0.0.9"))]);
    assert_eq!(view.unknown(), []);
}

#[test]
fn a_refresh_spares_fixed_neighbours_and_pauses_for_a_second() {
    let now = Instant::now();
    let key = (ETH0, ip("10.0.0.9"));
    let mut view = settled(now);
    assert_eq!(view.begin_refresh(ip("10.0.0.9"), now), Some(key));
    assert_eq!(view.begin_refresh(ip("10.0.0.9"), now), None);
    assert_eq!(
        view.begin_refresh(ip("10.0.0.9"), now + REFRESH_PAUSE),
        Some(key)
    );
    assert_eq!(view.begin_refresh(ip("10.0.0.77"), now), None);

    let permanent = neighbour_message("10.0.0.9", NeighbourState::Permanent, OLD);
    let mut learned_elsewhere = neighbour_message("10.0.0.9", NeighbourState::Reachable, OLD);
    learned_elsewhere.header.flags = NeighbourFlags::ExtLearned;
    let mut managed = neighbour_message("10.0.0.9", NeighbourState::Reachable, OLD);
    managed
        .attributes
        .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    for fixed in [permanent, learned_elsewhere, managed] {
        view.neighbour(&fixed, false, now);
        assert_eq!(
            view.begin_refresh(ip("10.0.0.9"), now + 2 * REFRESH_PAUSE),
            None,
            "{fixed:?}"
        );
    }
}

#[test]
fn all_backends_behind_a_gateway_move_with_it() {
    let now = Instant::now();
    let gateway = ip("10.0.0.254");
    let mut view = View::default();
    view.link(&link_message(ETH0, "eth0"), false);
    let backends = vec![ip("192.0.2.1"), ip("192.0.2.2")];
    view.track(backends.clone());
    for backend in &backends {
        let route = Route {
            ifindex: ETH0,
            source: ip("10.0.0.1"),
            gateway: Some(gateway),
        };
        view.routed(*backend, Ok(route));
    }
    let message = neighbour_message("10.0.0.254", NeighbourState::Reachable, NEW);
    assert_eq!(
        view.neighbour(&message, false, now),
        Learned::Moved((ETH0, gateway))
    );
    let news = view.news_through((ETH0, gateway));
    assert_eq!(news.len(), 2);
    assert!(news.iter().all(|event| peer_mac(Some(event)) == Some(NEW)));

    // One is dropped, one has another way now: nobody needs the gateway any more.
    view.track(vec![ip("192.0.2.2")]);
    view.routed(ip("192.0.2.2"), Err("no route to 192.0.2.2".into()));
    assert_eq!(view.news_through((ETH0, gateway)), []);
    assert_eq!(view.users.len(), 0);
}

#[test]
fn links_come_go_and_change_their_names() {
    let came = |name: &str| Event::LinkCame {
        name: name.into(),
        ifindex: ETH0,
    };
    let gone = |name: &str| Event::LinkGone {
        name: name.into(),
        ifindex: ETH0,
    };
    let mut view = View::default();
    assert_eq!(
        view.link(&link_message(ETH0, "eth0"), false),
        [came("eth0")]
    );
    assert_eq!(view.link(&link_message(ETH0, "eth0"), false), []);
    assert_eq!(
        view.link(&link_message(ETH0, "lan"), false),
        [gone("eth0"), came("lan")]
    );

    // What a bridge says when a port leaves it.
    let mut port = link_message(ETH0, "lan");
    port.header.interface_family = AddressFamily::Bridge;
    assert_eq!(view.link(&port, true), []);

    assert_eq!(view.link(&link_message(ETH0, "lan"), true), [gone("lan")]);
    let link = Link::from_message(&link_message(ETH0, "wan"));
    assert_eq!(view.all_links(vec![link]), [came("wan")]);
    assert_eq!(view.all_links(vec![]), [gone("wan")]);
}

#[test]
fn what_is_no_ip_neighbour_is_ignored() {
    let now = Instant::now();
    let mut view = tracking();
    let mut proxy = neighbour_message("10.0.0.9", NeighbourState::Reachable, OLD);
    proxy.header.flags = NeighbourFlags::Proxy;
    assert_eq!(view.neighbour(&proxy, false, now), Learned::Nothing);
    assert_eq!(
        view.neighbour(&NeighbourMessage::default(), false, now),
        Learned::Nothing
    );
    let infiniband = {
        let mut message = neighbour_message("10.0.0.9", NeighbourState::Reachable, None);
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(vec![0; 20]));
        message
    };
    assert_eq!(view.neighbour(&infiniband, false, now), Learned::Nothing);
}

#[test]
fn neighbours_of_an_interface_that_is_gone_are_forgotten() {
    let now = Instant::now();
    let mut view = settled(now);
    view.link(&link_message(ETH0, "eth0"), true);
    view.link(&link_message(ETH0, "eth0"), false);
    let (event, unknown) = view.routed(ip("10.0.0.9"), on_link());
    assert_eq!(peer_mac(event.as_ref()), None);
    assert_eq!(unknown, Some((ETH0, ip("10.0.0.9"))));
}
