//! FIN and RST: the states that a flow goes through to its end, and what revives it.

use lb_common::{
    flow::{flag as flow_flag, side},
    reason::Reason,
};
use lb_tests::{packet::flag::*, rig::Table};

use crate::scene::{BACKEND_ISN, CLIENT_ISN, Connection, Scene};

fn client_fin(scene: &mut Scene, connection: &Connection) {
    let fin = scene.by_client(connection).flags(FIN | ACK);
    scene.client_sends(connection, fin);
}

fn backend_fin(scene: &mut Scene, connection: &Connection) {
    let fin = scene.by_backend(connection).flags(FIN | ACK);
    scene.backend_sends(connection, fin);
}

#[track_caller]
fn is_in(scene: &Scene, connection: &Connection, state: &'static str) {
    assert_eq!(scene.state(connection), Some((Table::Confirmed, state)));
}

#[test]
fn a_flow_is_closed_when_both_ends_sent_fin() {
    type Fin = fn(&mut Scene, &Connection);
    let orders: [[(Fin, &str); 3]; 4] = [
        [
            (client_fin, "fin"),
            (client_fin, "fin"),
            (backend_fin, "closed"),
        ],
        [
            (backend_fin, "fin"),
            (client_fin, "closed"),
            (client_fin, "closed"),
        ],
        [
            (backend_fin, "fin"),
            (backend_fin, "fin"),
            (client_fin, "closed"),
        ],
        [
            (client_fin, "fin"),
            (backend_fin, "closed"),
            (backend_fin, "closed"),
        ],
    ];
    for mut scene in Scene::both() {
        for (n, order) in (0..).zip(orders) {
            let connection = scene.establish(scene.other_client(n));
            for (fin, state) in order {
                fin(&mut scene, &connection);
                is_in(&scene, &connection, state);
                // The other end's packets keep flowing, and a bare ACK changes nothing.
                let data = scene.by_backend(&connection).payload(b"still");
                scene.backend_sends(&connection, data);
                scene.client_sends(&connection, scene.by_client(&connection));
                is_in(&scene, &connection, state);
            }
        }
    }
}

/// Who closes first keeps TIME-WAIT: the port toward such a backend is not reused early.
#[test]
fn who_closed_first_is_remembered() {
    for mut scene in Scene::both() {
        for (n, backend_first) in [(0, false), (1, true)] {
            let connection = scene.establish(scene.other_client(n));
            if backend_first {
                backend_fin(&mut scene, &connection);
                client_fin(&mut scene, &connection);
            } else {
                client_fin(&mut scene, &connection);
                backend_fin(&mut scene, &connection);
            }
            let vip = scene.vip;
            for (from, to) in [
                (connection.client, vip),
                (connection.backend, connection.local),
            ] {
                let entry = scene.rig.entry(from, to).unwrap();
                assert_eq!(
                    entry.flags & flow_flag::BACKEND_CLOSED_FIRST != 0,
                    backend_first
                );
                assert_eq!(entry.closed_by, side::CLIENT | side::BACKEND);
            }
        }
    }
}

#[test]
fn a_reset_passes_and_only_shortens_the_timer() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let reset = scene.by_client(&connection).flags(RST).ack(0);
        scene.client_sends(&connection, reset);
        is_in(&scene, &connection, "reset");
        // A bare ACK proves nothing; data does.
        scene.client_sends(&connection, scene.by_client(&connection));
        is_in(&scene, &connection, "reset");
        let data = scene.by_client(&connection).payload(b"alive");
        scene.client_sends(&connection, data);
        is_in(&scene, &connection, "established");
    }
}

#[test]
fn a_backends_reset_passes_and_its_data_revives() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let reset = scene.by_backend(&connection).flags(RST | ACK);
        scene.backend_sends(&connection, reset);
        is_in(&scene, &connection, "reset");
        let data = scene.by_backend(&connection).payload(b"alive");
        scene.backend_sends(&connection, data);
        is_in(&scene, &connection, "established");
    }
}

/// A reset between the two FINs, then data: the FIN still stands.
#[test]
fn a_revived_flow_remembers_its_fin() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        backend_fin(&mut scene, &connection);
        let reset = scene.by_client(&connection).flags(RST);
        scene.client_sends(&connection, reset);
        is_in(&scene, &connection, "reset");
        let data = scene.by_client(&connection).payload(b"alive");
        scene.client_sends(&connection, data);
        is_in(&scene, &connection, "fin");
        client_fin(&mut scene, &connection);
        is_in(&scene, &connection, "closed");
    }
}

/// Whoever sends FIN did not take the reset for valid, as little as who sends data.
#[test]
fn a_fin_after_a_reset_closes_the_flow() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let reset = scene.by_client(&connection).flags(RST);
        scene.client_sends(&connection, reset);
        backend_fin(&mut scene, &connection);
        is_in(&scene, &connection, "fin");
    }
}

/// What the backend refused was nobody's connection: a straggler's FIN gives it no longer life.
#[test]
fn a_refused_flow_does_not_come_back() {
    type Late = fn(&mut Scene, &Connection);
    let late: [Late; 3] = [client_fin, backend_fin, |scene, connection| {
        let data = scene.by_client(connection).payload(b"late");
        scene.client_sends(connection, data);
    }];
    for mut scene in Scene::both() {
        for (n, late) in (0..).zip(late) {
            let client = scene.other_client(n);
            let connection = crate::aged::refused(&mut scene, client);
            late(&mut scene, &connection);
            let state = scene.state(&connection);
            assert_eq!(state, Some((Table::HalfOpen, "reset")));
        }
    }
}

/// A client that uses its port again at once gets a new flow and a new choice, from the vip's
/// ring as it is now.
#[test]
fn a_syn_on_a_flow_that_ended_opens_a_new_one() {
    type End = fn(&mut Scene, &Connection);
    let ends: [(&str, End); 5] = [
        ("client fin", client_fin),
        ("backend fin", backend_fin),
        ("both", |scene, connection| {
            client_fin(scene, connection);
            backend_fin(scene, connection);
        }),
        ("client reset", |scene, connection| {
            let reset = scene.by_client(connection).flags(RST);
            scene.client_sends(connection, reset);
        }),
        ("backend reset", |scene, connection| {
            let reset = scene.by_backend(connection).flags(RST);
            scene.backend_sends(connection, reset);
        }),
    ];
    for mut scene in Scene::both() {
        scene.add_backend(1);
        for (n, (name, end)) in (0..).zip(ends) {
            let client = scene.other_client(n);
            scene.rig.ring(0, |_| 0);
            let old = scene.establish(client);
            end(&mut scene, &old);
            scene.rig.ring(0, |_| 1);
            let syn = scene.syn(client).seq(CLIENT_ISN + 100_000);
            let outcome = scene.rig.send(&syn);
            outcome.counts(&[Reason::FlowNew]);
            let sent = outcome.transmitted();
            assert_eq!(sent.destination, scene.backend(1), "after {name}");
            let new = Connection {
                local: sent.source,
                backend: sent.destination,
                backend_idx: 1,
                ..old
            };
            assert_eq!(
                scene.state(&new),
                Some((Table::HalfOpen, "half_open")),
                "after {name}"
            );
            assert_eq!(
                scene.rig.entry(old.backend, old.local),
                None,
                "the old flow is gone after {name}"
            );
            // And it is confirmed like any other.
            let syn_ack = scene.syn_ack(&new).seq(BACKEND_ISN + 9);
            scene.backend_sends(&new, syn_ack);
            let ack = scene.by_client(&new).ack(BACKEND_ISN + 10);
            scene.rig.send(&ack).counts(&[Reason::FlowConfirmed]);
            is_in(&scene, &new, "established");
        }
    }
}

/// RFC 9293, section 3.10.7.4: data may follow in the direction that is not closed.
#[test]
fn a_half_closed_flow_carries_data() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        client_fin(&mut scene, &connection);
        for n in 0..5 {
            let data = scene.by_backend(&connection).payload(&[n; 500]);
            scene.backend_sends(&connection, data);
            scene.client_sends(&connection, scene.by_client(&connection));
        }
        is_in(&scene, &connection, "fin");
    }
}
