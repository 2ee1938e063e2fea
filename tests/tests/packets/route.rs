//! Mode `route`: the destination alone is rewritten, so that the backend sees the client's address,
//! and replies come back by way of us.

use std::net::SocketAddr;

use lb_common::{
    reason::Reason,
    service::{mode, setting},
};
use lb_tests::{
    packet::{Packet, TcpOption},
    rig::Table,
};

use crate::scene::{BACK, BACKEND_ISN, Connection, ROUTER, Scene, backend_mac};

fn scenes() -> [Scene; 2] {
    Scene::in_mode(mode::ROUTE)
}

/// The scene has a second vip, of the same service.
fn second_vip(scene: &mut Scene) -> SocketAddr {
    let vip = SocketAddr::new(scene.vip.ip(), 443);
    scene.rig.vip(vip, 0);
    vip
}

#[test]
pub fn packets_pass_both_ways_with_the_clients_address() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 6] = [
        ("bare ack", |p| p),
        ("data of odd length", |p| p.payload(b"odd")),
        ("full frame", |p| p.payload(&[0x5a; 1_400])),
        ("options", |p| p.options(&TcpOption::of_data())),
        ("traffic class and label", |p| p.tos(0xb9).flow_label(7)),
        ("padded to the least frame", |p| p.padded_by(6)),
    ];
    for mut scene in scenes() {
        let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
        let expected = syn
            .clone()
            .to(scene.backend(0))
            .macs(BACK, backend_mac(0))
            .one_hop_less();
        let outcome = scene.rig.send(&syn);
        outcome
            .transmitted_as(&expected)
            .counts(&[Reason::FlowNew])
            .transmitted();
        let connection = scene.establish(scene.other_client(1));
        assert_eq!(connection.local, connection.client);
        for (name, make) in kinds {
            eprintln!("{name}");
            let forth = make(scene.by_client(&connection));
            scene.client_sends(&connection, forth);
            let back = make(scene.by_backend(&connection));
            scene.backend_sends(&connection, back);
        }
    }
}

#[test]
fn the_handshake_confirms_as_in_mode_nat() {
    for mut scene in scenes() {
        let connection = scene.open(scene.client);
        let ack = scene.by_client(&connection);
        scene.client_sends(&connection, ack.clone());
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "half_open"))
        );
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        scene.client_sends(&connection, ack.clone().ack(BACKEND_ISN));
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "syn_acked"))
        );
        scene.rig.send(&ack).counts(&[Reason::FlowConfirmed]);
        assert_eq!(
            scene.state(&connection),
            Some((Table::Confirmed, "established"))
        );
        let family = scene.client.ip();
        assert_eq!(scene.rig.entries(family, Table::HalfOpen).len(), 0);
        assert_eq!(scene.rig.entries(family, Table::Confirmed).len(), 2);
    }
}

#[test]
fn replies_are_looked_for_where_setting_and_filter_say_so() {
    for mut scene in scenes() {
        let connection = scene.establish(scene.client);
        let back = scene.by_backend(&connection).payload(b"data");
        let mut admitting = None;
        scene.rig.change_settings(|settings| {
            admitting = Some(*settings);
            settings.flags &= !setting::ROUTE;
        });
        scene.rig.send(&back).passed_untouched(Reason::NotOurs);

        let vip = scene.vip;
        scene.rig.change_settings(|settings| {
            settings.filter.fill(0);
            settings.flags |= setting::ROUTE;
        });
        scene.rig.vip(vip, 0);
        scene.rig.send(&back).passed_untouched(Reason::NotOurs);
        // A bit for its other port does not do.
        let mut beside = connection.backend;
        beside.set_port(beside.port() + 1);
        scene.rig.route(beside);
        scene.rig.send(&back).passed_untouched(Reason::NotOurs);

        let admitting = admitting.expect("it was kept");
        scene.rig.change_settings(|settings| *settings = admitting);
        scene.backend_sends(&connection, back);
    }
}

/// What else such a backend sends is not ours.
#[test]
fn a_backends_own_connections_pass_untouched() {
    for mut scene in scenes() {
        let connection = scene.establish(scene.client);
        for port in [connection.backend.port(), 50_000] {
            let own = Packet::tcp(
                SocketAddr::new(connection.backend.ip(), port),
                scene.stranger_at(40_000),
            );
            scene.rig.send(&own).passed_untouched(Reason::NotOurs);
        }
    }
}

#[test]
fn the_hop_limit_ends_a_packet_before_it_reaches_zero() {
    for mut scene in scenes() {
        let syn = scene.syn(scene.client).ttl(1);
        scene.rig.send(&syn).dropped(Reason::TtlExpired);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            scene.rig.send(&packet.ttl(1)).dropped(Reason::TtlExpired);
        }
    }
}

#[test]
fn with_the_next_hop_unknown_the_rewritten_packet_goes_to_the_kernel() {
    for mut scene in scenes() {
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        let syn = scene.syn(scene.client);
        let expected = syn.clone().to(scene.backend(0));
        scene
            .rig
            .send(&syn)
            .passed_as(&expected)
            .counts(&[Reason::NextHopUnknown, Reason::FlowNew])
            .segment();
    }
}

/// The backend could not tell the two apart.
#[test]
fn a_client_does_not_reach_one_backend_by_two_vips_from_one_port() {
    type Make = fn(&mut Scene, SocketAddr) -> Connection;
    let first: [Make; 4] = [
        Scene::open,
        crate::aged::answered,
        Scene::establish,
        crate::aged::half_closed,
    ];
    for mut scene in scenes() {
        let second = second_vip(&mut scene);
        for (n, make) in (0..).zip(first) {
            let client = scene.other_client(n);
            let connection = make(&mut scene, client);
            let state = scene.state(&connection);
            let syn = scene.syn(connection.client).to(second);
            for _ in 0..3 {
                scene.rig.send(&syn).dropped(Reason::FlowConflict);
            }
            assert_eq!(scene.rig.entry(connection.client, second), None);
            assert_eq!(scene.state(&connection), state);
            scene.client_sends(&connection, scene.syn(connection.client));
            scene.backend_sends(&connection, scene.by_backend(&connection));

            // From another port it does.
            let mut elsewhere = client;
            elsewhere.set_port(client.port() + 30_000);
            let syn = scene.syn(elsewhere).to(second);
            scene.rig.send(&syn).counts(&[Reason::FlowNew]);
        }
    }
}

#[test]
fn once_the_first_is_over_the_second_may_take_its_place() {
    type Make = fn(&mut Scene, SocketAddr) -> Connection;
    let over: [Make; 3] = [
        crate::aged::refused,
        crate::aged::closed,
        crate::aged::broken_off,
    ];
    for mut scene in scenes() {
        let (first, second) = (scene.vip, second_vip(&mut scene));
        for (n, make) in (0..).zip(over) {
            scene.vip = first;
            let client = scene.other_client(n);
            let old = make(&mut scene, client);
            scene.vip = second;
            let syn = scene.syn(old.client);
            let expected = scene.as_backend_sees(&old, syn.clone());
            scene
                .rig
                .send(&syn)
                .transmitted_as(&expected)
                .counts(&[Reason::FlowNew, Reason::PortReused]);
            assert_eq!(scene.rig.entry(old.client, first), None);
            assert_eq!(scene.state(&old), Some((Table::HalfOpen, "half_open")));
            // Replies come from the second vip now.
            scene.backend_sends(&old, scene.syn_ack(&old));
            scene
                .rig
                .send(&scene.by_client(&old))
                .counts(&[Reason::FlowConfirmed]);
        }
    }
}

#[test]
fn two_backends_may_have_the_same_client() {
    for mut scene in scenes() {
        let second = second_vip(&mut scene);
        let old = scene.establish(scene.client);
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        let syn = scene.syn(scene.client).to(second);
        let outcome = scene.rig.send(&syn);
        let sent = outcome.counts(&[Reason::FlowNew]).transmitted();
        assert_eq!(sent.destination, scene.backend(1));
        assert_eq!((sent.source, old.local), (scene.client, scene.client));
        scene.client_sends(&old, scene.by_client(&old));
        scene.backend_sends(&old, scene.by_backend(&old));
    }
}

#[test]
fn a_syn_after_the_end_chooses_anew() {
    for mut scene in scenes() {
        let client = scene.client;
        let old = crate::aged::closed(&mut scene, client);
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        let new = scene.open(scene.client);
        assert_eq!((old.backend_idx, new.backend_idx), (0, 1));
        assert_eq!(scene.rig.entry(old.backend, old.local), None);
        let entry = scene.rig.entry(new.backend, new.local).unwrap();
        assert_eq!((entry.source, entry.peer_mac), (scene.vip, ROUTER));
    }
}

/// Of the two entries of a half-open flow one may be displaced: what is left of it is no conflict.
#[test]
fn a_client_whose_entry_was_displaced_opens_its_flow_again() {
    for mut scene in scenes() {
        let client = scene.client;
        let connection = scene.open(client);
        scene.rig.delete_entry(client, scene.vip);
        assert_eq!(scene.open(client), connection);
        let flow = Some((Table::HalfOpen, "half_open"));
        assert_eq!(scene.state(&connection), flow);
    }
}

/// The sweeper comes by once a second: a flow whose time is over holds nobody up until then.
#[test]
fn a_flow_whose_time_is_over_is_no_conflict() {
    for mut scene in scenes() {
        let second = second_vip(&mut scene);
        let client = scene.client;
        let connection = scene.establish(client);
        scene.age(&connection, 901);
        let syn = scene.syn(client).to(second);
        let expected = scene.as_backend_sees(&connection, syn.clone());
        (scene.rig.send(&syn))
            .transmitted_as(&expected)
            .counts(&[Reason::FlowNew, Reason::PortReused]);
    }
}
