//! Flows that are over although nobody swept them away: half-open ones whose time has run out, and
//! those of a backend whose entry was freed.

use lb_common::{backend::Backend, flow::side, reason::Reason};
use lb_tests::{
    packet::flag::*,
    rig::{Table, Verdict},
};

use crate::{
    aged::*,
    scene::{Connection, Scene, backend_at},
};

const ANSWERED: Option<(Table, &str)> = Some((Table::HalfOpen, "syn_acked"));

/// Flows that nobody confirmed and whose time is over, by the clients from 0 on.
fn overdue(scene: &mut Scene) -> Vec<Connection> {
    let flows = one_in_each_state(scene, 0);
    let half_open = flows
        .into_iter()
        .filter(|flow| flow.state.0 == Table::HalfOpen);
    half_open
        .map(|flow| {
            scene.age(&flow.connection, flow.seconds + 1);
            flow.connection
        })
        .collect()
}

#[test]
fn packets_of_an_overdue_half_open_flow_belong_to_none() {
    for mut scene in scenes() {
        for connection in overdue(&mut scene) {
            let ack = scene.by_client(&connection);
            let outcome = scene.rig.send(&ack);
            outcome.verdict(Verdict::Tx).counts(&[Reason::NoFlow]);
            assert_eq!(outcome.segment().flags, RST, "\n{outcome}");
            let late = scene.syn_ack(&connection);
            scene.rig.send(&late).passed_untouched(Reason::NotOurs);
        }
    }
}

#[test]
fn a_syn_on_an_overdue_half_open_flow_opens_a_new_one() {
    for mut scene in scenes() {
        scene.add_backend(1);
        let old = overdue(&mut scene);
        scene.rig.ring(0, |_| 1);
        for connection in &old {
            let new = scene.open(connection.client);
            assert_eq!(new.backend_idx, 1, "a new choice");
            assert_eq!(scene.state(&new), Some((Table::HalfOpen, "half_open")));
        }
        // What is left of the old ones is swept without harm to the new.
        assert_eq!(sweep(&mut scene), 7);
        for connection in &old {
            let left = scene.rig.entry(connection.backend, connection.local);
            assert_eq!(left, None);
        }
    }
}

#[test]
fn the_port_of_an_overdue_half_open_flow_is_free() {
    for mut scene in scenes() {
        scene.rig.ports(5_000..=5_000);
        let old = scene.open(scene.other_client(0));
        let syn = scene.syn(scene.other_client(1));
        scene.rig.send(&syn).dropped(Reason::PortsExhausted);
        scene.age(&old, HALF_OPEN_S + 1);
        let outcome = scene.rig.send(&syn);
        // Free, and not taken from a flow that still lives.
        outcome.counts(&[Reason::FlowNew]);
        assert_eq!(outcome.transmitted().source, old.local);
        let straggler = scene.by_client(&old);
        scene.rig.send(&straggler).counts(&[Reason::NoFlow]);
    }
}

#[test]
fn a_half_open_flow_lives_while_either_direction_does() {
    for quiet in [0, 1] {
        for mut scene in scenes() {
            let client = scene.client;
            let connection = answered(&mut scene, client);
            let way = scene.ways(&connection)[quiet];
            scene.age_way(way, HALF_OPEN_S + 1);
            let ack = scene.by_client(&connection);
            scene.rig.send(&ack).counts(&[Reason::FlowConfirmed]);
        }
    }
}

/// The client goes on to send its SYN, or the backend its SYN-ACK, and the other end is silent: nobody gets the
/// flow's port, with which it would lose its replies.
#[test]
fn a_half_open_flow_keeps_its_port_while_either_direction_lives() {
    for speaks in [side::CLIENT, side::BACKEND] {
        for mut scene in scenes() {
            scene.rig.ports(5_000..=5_000);
            let connection = scene.open(scene.other_client(0));
            for _ in 0..2 {
                scene.age(&connection, HALF_OPEN_S - MARGIN_S / 2);
                if speaks == side::CLIENT {
                    scene.client_sends(&connection, scene.syn(connection.client));
                } else {
                    scene.backend_sends(&connection, scene.by_backend(&connection));
                }
            }
            let syn = scene.syn(scene.other_client(1));
            scene.rig.send(&syn).dropped(Reason::PortsExhausted);
            scene.backend_sends(&connection, scene.syn_ack(&connection));
            assert_eq!(scene.state(&connection), ANSWERED);
        }
    }
}

type Free = fn(&mut Scene);
/// What the daemon may do with a backend's index when it has no more use for it.
const FREED: [(&str, Free); 3] = [
    ("zeroed", |scene| {
        scene.rig.backend(0, Backend::FREE);
    }),
    ("another address", |scene| {
        scene.rig.backend(0, backend_at(scene.backend(9), 9));
    }),
    ("another port", |scene| {
        scene
            .rig
            .change_backend(0, |backend| backend.port_be = 9_090_u16.to_be());
    }),
];

#[test]
fn a_half_open_flow_of_a_freed_backend_is_over() {
    for (name, free) in FREED {
        for mut scene in scenes() {
            let client = scene.client;
            let connection = answered(&mut scene, client);
            free(&mut scene);
            let ack = scene.by_client(&connection);
            let outcome = scene.rig.send(&ack);
            eprintln!("{name}");
            outcome.verdict(Verdict::Tx).counts(&[Reason::NoFlow]);
            let late = scene.syn_ack(&connection);
            scene.rig.send(&late).passed_untouched(Reason::NotOurs);
        }
    }
}

/// Even if the other direction is not quiet.
#[test]
fn a_quiet_entry_of_a_freed_backend_takes_its_flow_with_it() {
    for (name, free) in FREED {
        for quiet in [0, 1] {
            for mut scene in scenes() {
                let flows = quiet_in_one_direction(&mut scene, quiet);
                free(&mut scene);
                sweep(&mut scene);
                for flow in &flows {
                    let state = scene.state(&flow.connection);
                    assert_eq!(state, None, "{name}: {:?}", flow.state);
                }
            }
        }
    }
}
