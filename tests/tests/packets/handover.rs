//! What the program does while it takes over from a version with another layout: flows are put into its
//! tables, and what it does not know is kept from harm until all are there.

use std::net::SocketAddr;

use lb_common::{
    carry::outcome, flow::state, reason::Reason, service::HANDOVER_REST_NS, table::HALF_OPEN_WAYS,
};
use lb_tests::{
    packet::flag::*,
    rig::{Capacity, Entry, SIZES, Table, now_ns},
};

use crate::scene::{Connection, Scene};

const SECOND_NS: u64 = 1_000_000_000;

/// In each family, the old tables and the new ones, which have so much room.
fn old_and_new(room: Capacity) -> impl Iterator<Item = (Scene, Scene)> {
    Scene::both().into_iter().zip(Scene::sized(room))
}

/// An entry, with whose packets it is for.
type Carried = (SocketAddr, SocketAddr, Entry);

fn entries(scene: &Scene, connection: &Connection) -> [Carried; 2] {
    (scene.ways(connection)).map(|(source, destination)| {
        let entry = scene.rig.entry(source, destination);
        (source, destination, entry.expect("it is there"))
    })
}

fn carry(scene: &mut Scene, (source, destination, entry): &Carried) -> u32 {
    scene.rig.carry(*source, *destination, entry)
}

#[test]
fn a_flow_that_is_carried_over_goes_on() {
    for (mut old, mut new) in old_and_new(SIZES) {
        let established = old.establish(old.client);
        let half_open = old.open(old.other_client(1));
        for connection in [&established, &half_open] {
            let carried = entries(&old, connection);
            for entry in &carried {
                assert_eq!(carry(&mut new, entry), outcome::DONE);
                assert_eq!(carry(&mut new, entry), outcome::THERE, "once more");
            }
            assert_eq!(entries(&new, connection), carried);
        }
        let packet = new.by_client(&established);
        new.client_sends(&established, packet);
        let packet = new.by_backend(&established);
        new.backend_sends(&established, packet);
        let packet = new.syn_ack(&half_open);
        new.backend_sends(&half_open, packet);
    }
}

#[test]
fn what_is_newer_stays() {
    for (mut old, mut new) in old_and_new(SIZES) {
        let connection = old.establish(old.client);
        let [(source, destination, early), _] = entries(&old, &connection);
        let later = |entry: &Entry, state| Entry {
            last_seen_ns: entry.last_seen_ns + SECOND_NS,
            state,
            ..entry.clone()
        };
        let held = |scene: &Scene| scene.rig.entry(source, destination).expect("it is there");
        assert_eq!(new.rig.carry(source, destination, &early), outcome::DONE);
        // What changed since it was carried first.
        let fin = later(&early, state::FIN);
        assert_eq!(new.rig.carry(source, destination, &fin), outcome::THERE);
        assert_eq!(held(&new), fin);
        // What the new program has seen since.
        assert_eq!(new.rig.carry(source, destination, &early), outcome::THERE);
        assert_eq!(held(&new), fin);
        // The state of an entry changes also by packets of its twin.
        let closed = Entry {
            state: state::CLOSED,
            ..fin.clone()
        };
        assert_eq!(new.rig.carry(source, destination, &closed), outcome::THERE);
        assert_eq!(new.rig.carry(source, destination, &fin), outcome::THERE);
        assert_eq!(held(&new), closed);
    }
}

#[test]
fn a_flow_is_confirmed_as_it_is_carried_again() {
    for (mut old, mut new) in old_and_new(SIZES) {
        let connection = old.open(old.client);
        for entry in &entries(&old, &connection) {
            assert_eq!(carry(&mut new, entry), outcome::DONE);
        }
        let packet = old.syn_ack(&connection);
        old.backend_sends(&connection, packet);
        let packet = old.by_client(&connection);
        old.rig.send(&packet).counts(&[Reason::FlowConfirmed]);
        for (source, destination, mut entry) in entries(&old, &connection) {
            entry.last_seen_ns += SECOND_NS;
            assert_eq!(new.rig.carry(source, destination, &entry), outcome::THERE);
        }
        let both = new.state(&connection);
        assert_eq!(both, Some((Table::Confirmed, "established")));
    }
}

#[test]
fn a_source_port_keeps_one_owner() {
    for (mut old, mut new) in old_and_new(SIZES) {
        let connection = old.establish(old.client);
        let [_, (source, destination, owner)] = entries(&old, &connection);
        let other = |seconds: i64| Entry {
            destination: old.other_client(7),
            last_seen_ns: owner
                .last_seen_ns
                .saturating_add_signed(seconds * 1_000_000_000),
            ..owner.clone()
        };
        // What was removed while the tables were read, and is read all the same.
        let (before, after) = (other(-1), other(1));
        assert_eq!(new.rig.carry(source, destination, &before), outcome::DONE);
        assert_eq!(new.rig.carry(source, destination, &owner), outcome::DONE);
        assert_eq!(new.rig.carry(source, destination, &before), outcome::TAKEN);
        let held = new.rig.entry(source, destination);
        assert_eq!(held, Some(owner.clone()));
        assert_eq!(new.rig.carry(source, destination, &after), outcome::DONE);
    }
}

#[test]
fn confirmed_flows_without_a_place_lie_among_the_half_open() {
    for (mut old, mut new) in old_and_new(Capacity::of_buckets(1)) {
        // Two entries a flow: 18 flows fill the 36 places of the only bucket.
        let connections: Vec<Connection> = (0..19)
            .map(|n| {
                let connection = old.open(old.other_client(n));
                let [forth, back] = entries(&old, &connection);
                for (source, destination, entry) in [forth, back] {
                    let entry = Entry {
                        table: Table::Confirmed,
                        state: state::ESTABLISHED,
                        ..entry
                    };
                    let done = new.rig.carry(source, destination, &entry);
                    let expected = if n < 18 { outcome::DONE } else { outcome::FULL };
                    assert_eq!(done, expected, "flow {n}");
                }
                connection
            })
            .collect();
        const { assert!(HALF_OPEN_WAYS >= 2) };
        let state = |n: usize| new.state(&connections[n]);
        assert_eq!(state(17), Some((Table::Confirmed, "established")));
        assert_eq!(state(18), Some((Table::HalfOpen, "established")));
    }
}

#[test]
fn what_is_of_no_known_flow_waits() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene
            .rig
            .change_settings(|settings| settings.handover_until_ns = now_ns() + 60 * SECOND_NS);
        let packet = scene.by_client(&connection);
        scene.client_sends(&connection, packet);
        let packet = scene.by_backend(&connection);
        scene.backend_sends(&connection, packet);
        // A flow that may be on its way: no reset, and no other backend.
        let stranger = scene.other_client(3);
        for packet in [scene.ack(stranger), scene.syn(stranger)] {
            scene.rig.send(&packet).dropped(Reason::Handover);
        }
        // The kernel would answer the backend with a reset.
        let unknown = Connection {
            local: SocketAddr::new(connection.local.ip(), connection.local.port() ^ 1),
            ..connection
        };
        let packet = scene.by_backend(&unknown).flags(SYN | ACK);
        scene.rig.send(&packet).dropped(Reason::Handover);
        // The host's own packets pass, whatever is going on.
        let own = scene.syn(stranger).to(scene.stranger_at(80));
        scene.rig.send(&own).passed_untouched(Reason::NotOurs);
        // Should the daemon die meanwhile, it is over by itself: for new flows before a SYN is repeated.
        scene.rig.change_settings(|settings| {
            settings.handover_until_ns = now_ns() + HANDOVER_REST_NS - SECOND_NS / 20;
        });
        let ack = scene.ack(stranger);
        scene.rig.send(&ack).dropped(Reason::Handover);
        let other = scene.other_client(4);
        let syn = scene.syn(other);
        scene.rig.send(&syn).counts(&[Reason::FlowNew]);
        scene
            .rig
            .change_settings(|settings| settings.handover_until_ns = now_ns() - SECOND_NS);
        let syn = scene.syn(stranger);
        scene.rig.send(&syn).counts(&[Reason::FlowNew]);
    }
}
