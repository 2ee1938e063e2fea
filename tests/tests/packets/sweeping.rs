//! Flows whose timers ran out: what the program `sweep` removes, what it leaves alone, and what is
//! over even while nobody sweeps.

use lb_common::{
    backend::Backend,
    flow::{side, state},
    reason::Reason,
    service::Timeouts,
};
use lb_tests::{
    packet::flag::*,
    rig::{Table, Verdict},
};

use crate::scene::{Connection, Scene, backend_at};

/// Far apart, and short: a machine that has just started has no past in which a flow could have
/// been seen.
const TIMEOUTS: Timeouts = Timeouts {
    half_open_ms: 20_000,
    reset_ms: 40_000,
    fin_ms: 60_000,
    established_ms: 80_000,
};
const HALF_OPEN_S: u64 = 20;
const RESET_S: u64 = 40;
const FIN_S: u64 = 60;
const ESTABLISHED_S: u64 = 80;
/// Longer than a test takes.
const MARGIN_S: u64 = 10;

const TABLES: [Table; 2] = [Table::Confirmed, Table::HalfOpen];

/// A flow in some state, and how long that is kept.
struct Kept {
    connection: Connection,
    state: (Table, &'static str),
    seconds: u64,
}

fn scenes() -> [Scene; 2] {
    let mut scenes = Scene::both();
    for scene in &mut scenes {
        scene.rig.timeouts(0, TIMEOUTS);
    }
    scenes
}

/// One flow in each state, of the clients from this number on.
fn one_in_each_state(scene: &mut Scene, first_client: u16) -> Vec<Kept> {
    type Make = fn(&mut Scene, std::net::SocketAddr) -> Connection;
    let states: [(Make, Table, &str, u64); 7] = [
        (Scene::open, Table::HalfOpen, "half_open", HALF_OPEN_S),
        (answered, Table::HalfOpen, "syn_acked", HALF_OPEN_S),
        (refused, Table::HalfOpen, "reset", RESET_S),
        (
            Scene::establish,
            Table::Confirmed,
            "established",
            ESTABLISHED_S,
        ),
        (half_closed, Table::Confirmed, "fin", FIN_S),
        (closed, Table::Confirmed, "closed", FIN_S),
        (broken_off, Table::Confirmed, "reset", RESET_S),
    ];
    let clients = first_client..;
    let made = clients
        .zip(states)
        .map(|(n, (make, table, name, seconds))| {
            let connection = make(scene, scene.other_client(n));
            let state = (table, name);
            assert_eq!(scene.state(&connection), Some(state));
            Kept {
                connection,
                state,
                seconds,
            }
        });
    made.collect()
}

fn answered(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.open(client);
    scene.backend_sends(&connection, scene.syn_ack(&connection));
    connection
}

fn refused(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.open(client);
    let refusal = scene.by_backend(&connection).flags(RST | ACK).seq(0);
    scene.backend_sends(&connection, refusal);
    connection
}

fn half_closed(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.establish(client);
    let fin = scene.by_client(&connection).flags(FIN | ACK);
    scene.client_sends(&connection, fin);
    connection
}

fn closed(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = half_closed(scene, client);
    let fin = scene.by_backend(&connection).flags(FIN | ACK);
    scene.backend_sends(&connection, fin);
    connection
}

fn broken_off(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.establish(client);
    let reset = scene.by_client(&connection).flags(RST);
    scene.client_sends(&connection, reset);
    connection
}

/// Sweeps both tables; returns how many flows are left.
fn sweep(scene: &mut Scene) -> u32 {
    let family = scene.client.ip();
    TABLES
        .map(|table| scene.rig.sweep(family, table).0)
        .iter()
        .sum()
}

/// Sweeps both tables, which must change nothing in them.
#[track_caller]
fn sweep_in_vain(scene: &mut Scene) -> u32 {
    let family = scene.client.ip();
    let before = TABLES.map(|table| scene.rig.image(family, table));
    let mut flows = 0;
    for table in TABLES {
        let (left, removed) = scene.rig.sweep(family, table);
        assert_eq!(removed, 0, "nothing is removed");
        flows += left;
    }
    let after = TABLES.map(|table| scene.rig.image(family, table));
    assert!(before == after, "the tables are as they were");
    flows
}

#[test]
fn a_flow_stays_for_its_states_time_and_then_goes() {
    for mut scene in scenes() {
        let flows = one_in_each_state(&mut scene, 0);
        for flow in &flows {
            scene.age(&flow.connection, flow.seconds - MARGIN_S);
        }
        assert_eq!(sweep_in_vain(&mut scene), 7);
        for (flow, left) in flows.iter().zip((0..7).rev()) {
            assert_eq!(scene.state(&flow.connection), Some(flow.state));
            scene.age(&flow.connection, MARGIN_S + 1);
            assert_eq!(sweep(&mut scene), left, "after {:?}", flow.state);
            assert_eq!(scene.state(&flow.connection), None, "{:?}", flow.state);
        }
        assert_eq!(sweep_in_vain(&mut scene), 0);
    }
}

#[test]
fn a_packet_of_either_direction_keeps_its_flow_for_another_term() {
    for speaks in [side::CLIENT, side::BACKEND] {
        for mut scene in scenes() {
            let flows = one_in_each_state(&mut scene, 0);
            for flow in &flows {
                let connection = &flow.connection;
                scene.age(connection, flow.seconds - MARGIN_S);
                // None of these changes the state.
                if speaks == side::BACKEND {
                    scene.backend_sends(connection, scene.by_backend(connection));
                } else if flow.seconds == HALF_OPEN_S {
                    scene.client_sends(connection, scene.syn(connection.client));
                } else {
                    scene.client_sends(connection, scene.by_client(connection));
                }
                scene.age(connection, MARGIN_S + 1);
            }
            assert_eq!(sweep_in_vain(&mut scene), 7);
            for flow in &flows {
                assert_eq!(scene.state(&flow.connection), Some(flow.state));
            }
        }
    }
}

#[test]
fn the_default_timers_are_those_of_the_design() {
    let timeouts = Timeouts::default();
    for (state, seconds) in [
        (state::HALF_OPEN, 60),
        (state::SYN_ACKED, 60),
        (state::ESTABLISHED, 900),
        (state::FIN, 120),
        (state::CLOSED, 120),
        (state::RESET, 10),
    ] {
        let name = state::name(state);
        assert_eq!(timeouts.of_ns(state), seconds * 1_000_000_000, "{name}");
    }
}

#[test]
fn each_service_has_its_own_timers() {
    for mut scene in scenes() {
        let mut tls = scene.vip;
        tls.set_port(443);
        scene.rig.vip(tls, 1);
        scene.rig.service(1, 1);
        scene.rig.timeouts(
            1,
            Timeouts {
                established_ms: 30_000,
                ..TIMEOUTS
            },
        );
        scene.add_backend(1);
        scene
            .rig
            .change_backend(1, |backend| backend.service_idx = 1);
        scene.rig.ring(1, |_| 1);
        let patient = scene.establish(scene.other_client(0));
        let web = std::mem::replace(&mut scene.vip, tls);
        let hasty = scene.establish(scene.other_client(1));
        scene.age(&hasty, 31);
        scene.vip = web;
        scene.age(&patient, 31);
        assert_eq!(sweep(&mut scene), 1);
        assert!(scene.state(&patient).is_some());
        scene.vip = tls;
        assert_eq!(scene.state(&hasty), None);
    }
}

/// Whichever of its entries the sweep comes by first.
#[test]
fn both_entries_of_a_flow_go_together() {
    for first in [0, 1] {
        for mut scene in scenes() {
            for flow in one_in_each_state(&mut scene, 0) {
                scene.age(&flow.connection, flow.seconds + 1);
                let (source, destination) = scene.ways(&flow.connection)[first];
                scene.rig.sweep_bucket_of(source, destination);
                // Neither, not only not both.
                assert_eq!(scene.state(&flow.connection), None, "{:?}", flow.state);
            }
            assert_eq!(sweep_in_vain(&mut scene), 0);
        }
    }
}

#[test]
fn a_flow_of_which_one_direction_is_quiet_stays_with_both_entries() {
    for quiet in [0, 1] {
        for mut scene in scenes() {
            let flows = one_in_each_state(&mut scene, 0);
            for flow in &flows {
                let way = scene.ways(&flow.connection)[quiet];
                scene.age_way(way, flow.seconds + 1);
            }
            assert_eq!(sweep_in_vain(&mut scene), 7);
            for flow in &flows {
                assert_eq!(scene.state(&flow.connection), Some(flow.state));
            }
        }
    }
}

#[test]
fn a_sweep_leaves_living_flows_as_they_are() {
    for mut scene in scenes() {
        let flows = one_in_each_state(&mut scene, 0);
        assert_eq!(sweep_in_vain(&mut scene), 7);
        // And while it removes others.
        let doomed = one_in_each_state(&mut scene, 100);
        for flow in &doomed {
            scene.age(&flow.connection, flow.seconds + 1);
        }
        let entries = |scene: &Scene| -> Vec<_> {
            let ways = flows.iter().flat_map(|flow| scene.ways(&flow.connection));
            ways.map(|(from, to)| scene.rig.entry(from, to)).collect()
        };
        let before = entries(&scene);
        assert_eq!(sweep(&mut scene), 7);
        assert_eq!(entries(&scene), before);
        for flow in &doomed {
            assert_eq!(scene.state(&flow.connection), None, "{:?}", flow.state);
        }
    }
}

#[test]
fn an_orphan_goes_by_its_own_timer() {
    for kept in [0, 1] {
        for mut scene in scenes() {
            let flows = one_in_each_state(&mut scene, 0);
            for flow in &flows {
                let ways = scene.ways(&flow.connection);
                let (source, destination) = ways[1 - kept];
                scene.rig.delete_entry(source, destination);
                scene.age_way(ways[kept], flow.seconds - MARGIN_S);
            }
            sweep_in_vain(&mut scene);
            for flow in &flows {
                let way = scene.ways(&flow.connection)[kept];
                scene.age_way(way, MARGIN_S + 1);
            }
            assert_eq!(sweep(&mut scene), 0);
            for table in TABLES {
                let left = scene.rig.entries(scene.client.ip(), table);
                assert!(left.is_empty(), "{left:?}");
            }
        }
    }
}

/// Its key's twin may belong to another flow by now: that one lives on.
#[test]
fn a_swept_orphan_does_not_take_another_flows_entry_with_it() {
    for mut scene in scenes() {
        scene.rig.ports(5_000..=5_000);
        let lost = scene.open(scene.other_client(0));
        scene.rig.delete_entry(lost.backend, lost.local);
        let new = scene.open(scene.other_client(1));
        assert_eq!(new.local, lost.local);
        scene.age_way((lost.client, scene.vip), HALF_OPEN_S + 1);
        assert_eq!(sweep(&mut scene), 1);
        assert_eq!(scene.rig.entry(lost.client, scene.vip), None);
        assert_eq!(scene.state(&new), Some((Table::HalfOpen, "half_open")));
    }
}

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

type Free = fn(&mut Scene);
/// What the daemon may do with a backend's index when it has no more use for it.
const FREED: [(&str, Free); 3] = [
    ("zeroed", |scene| {
        let freed = Backend {
            address: [0; 4],
            port_be: 0,
            state: 0,
            flows: 0,
            ifindex: 0,
            peer_mac: [0; 6],
            local_mac: [0; 6],
            service_idx: 0,
            snat_first: 0,
            snat_count: 0,
            identity: 0,
            since_unix: 0,
        };
        scene.rig.backend(0, freed);
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
                let flows = one_in_each_state(&mut scene, 0);
                for flow in &flows {
                    let way = scene.ways(&flow.connection)[quiet];
                    scene.age_way(way, flow.seconds + 1);
                }
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

#[test]
fn a_sweep_counts_flows_and_tells_whose_they_are() {
    for mut scene in scenes() {
        let family = scene.client.ip();
        scene.add_backend(1);
        scene.add_backend(2);
        let flows = one_in_each_state(&mut scene, 0);
        scene.rig.ring(0, |_| 1);
        for n in 100..110 {
            scene.establish(scene.other_client(n));
        }
        scene.open(scene.other_client(110));
        assert_eq!(scene.rig.sweep(family, Table::Confirmed), (14, 0));
        assert_eq!(scene.rig.sweep(family, Table::HalfOpen), (4, 0));
        assert_eq!(
            [0, 1, 2].map(|idx| scene.rig.backend_seen(idx)),
            [true, true, false]
        );
        for flow in &flows {
            scene.age(&flow.connection, flow.seconds + 1);
        }
        assert_eq!(scene.rig.sweep(family, Table::Confirmed), (10, 7));
        assert_eq!(scene.rig.sweep(family, Table::HalfOpen), (1, 0));
        assert_eq!(
            [0, 1, 2].map(|idx| scene.rig.backend_seen(idx)),
            [false, true, false]
        );
    }
}

#[test]
fn a_sweep_counts_each_flow_that_it_removes() {
    for mut scene in scenes() {
        let family = scene.client.ip();
        for n in 0..50 {
            let connection = scene.establish(scene.other_client(n));
            scene.age(&connection, ESTABLISHED_S + 1);
            let connection = scene.open(scene.other_client(100 + n));
            scene.age(&connection, HALF_OPEN_S + 1);
        }
        assert_eq!(scene.rig.sweep(family, Table::Confirmed), (0, 100));
        for table in TABLES {
            assert_eq!(scene.rig.sweep(family, table), (0, 0));
        }
        assert!(!scene.rig.backend_seen(0));
    }
}

/// The kernel's own packets never reach `sweep`, but a request that makes no sense must do no harm.
#[test]
fn a_sweep_beyond_the_tables_end_finds_nothing() {
    for mut scene in scenes() {
        let flows = one_in_each_state(&mut scene, 0);
        let family = scene.client.ip();
        let beyond = scene.rig.sweep_stretch(family, 1 << 20, 100);
        assert_eq!((beyond.flows, beyond.half_open, beyond.removed), (0, 0, 0));
        let last = scene.rig.sweep_stretch(family, u32::MAX, 100);
        assert_eq!(last.removed, 0);
        assert_eq!(sweep_in_vain(&mut scene), flows.len() as u32);
    }
}
