//! Flows whose replies go past us: what opens, confirms and ends them when the client's packets
//! alone are seen. Shown in mode `dsr`; the modes with tunnels keep them alike.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lb_common::{
    Budgeted, NO_BACKEND,
    backend::{flows, state as backend_state},
    flow::side,
    hash,
    reason::Reason,
    service::mode,
};
use lb_tests::{
    packet::{Packet, flag::*},
    rig::{Capacity, Table, key_hash},
};

use crate::{
    aged::{ESTABLISHED_S, FIN_S, HALF_OPEN_S, MARGIN_S, RESET_S, TIMEOUTS},
    resets::is_reset,
    scene::{BACKEND_ISN, CLIENT_ISN, Scene},
};

const HALF_OPEN: Option<(Table, &str)> = Some((Table::HalfOpen, "half_open"));
const ESTABLISHED: Option<(Table, &str)> = Some((Table::Confirmed, "established"));

fn scenes() -> [Scene; 2] {
    Scene::in_mode(mode::DSR)
}

fn open(scene: &mut Scene, client: SocketAddr) {
    scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
}

fn establish(scene: &mut Scene, client: SocketAddr) {
    open(scene, client);
    scene.passes_on(&scene.ack(client), 0, &[Reason::FlowConfirmed]);
}

/// Gives all new flows to a second backend.
fn turn_the_ring(scene: &mut Scene) {
    scene.add_backend(1);
    scene.rig.ring(0, |_| 1);
}

fn entries(scene: &Scene) -> [usize; 2] {
    let family = scene.client.ip();
    [Table::HalfOpen, Table::Confirmed].map(|table| scene.rig.entries(family, table).len())
}

#[test]
fn the_packet_after_the_syn_confirms() {
    type Next = fn(Packet) -> Packet;
    let nexts: [(Next, &str); 4] = [
        (|p| p, "established"),
        (|p| p.payload(b"GET"), "established"),
        (|p| p.flags(FIN | ACK), "fin"),
        // Nothing can be told from what it acknowledges.
        (|p| p.ack(0), "established"),
    ];
    for mut scene in scenes() {
        for (n, (next, state)) in nexts.into_iter().enumerate() {
            let client = scene.other_client(n as u16);
            open(&mut scene, client);
            assert_eq!(scene.one_way_state(client), HALF_OPEN);
            assert_eq!(entries(&scene), [1, n], "no twin");
            // Once more, as after a lost answer.
            scene.passes_on(&scene.syn(client), 0, &[]);
            assert_eq!(scene.one_way_state(client), HALF_OPEN);

            let next = next(scene.ack(client));
            scene.passes_on(&next, 0, &[Reason::FlowConfirmed]);
            let confirmed = Some((Table::Confirmed, state));
            assert_eq!(scene.one_way_state(client), confirmed);
            assert_eq!(entries(&scene), [0, n + 1], "no twin");
            scene.passes_on(&next, 0, &[]);
        }
    }
}

#[test]
fn a_flow_keeps_its_backend_when_the_ring_changes() {
    for mut scene in scenes() {
        let [half_open, client, new] = [0, 1, 2].map(|n| scene.other_client(n));
        open(&mut scene, half_open);
        establish(&mut scene, client);
        turn_the_ring(&mut scene);
        scene.passes_on(&scene.ack(client), 0, &[]);
        scene.passes_on(&scene.syn(half_open), 0, &[]);
        scene.passes_on(&scene.ack(half_open), 0, &[Reason::FlowConfirmed]);
        scene.passes_on(&scene.syn(new), 1, &[Reason::FlowNew]);
    }
}

#[test]
fn a_syn_on_an_established_flow_changes_nothing() {
    for mut scene in scenes() {
        let client = scene.client;
        establish(&mut scene, client);
        turn_the_ring(&mut scene);
        scene.passes_on(&scene.syn(client).seq(77), 0, &[]);
        assert_eq!(scene.one_way_state(client), ESTABLISHED);
    }
}

#[test]
fn a_syn_after_the_end_chooses_anew() {
    for (flags, state) in [(FIN | ACK, "fin"), (RST, "reset")] {
        for mut scene in scenes() {
            let client = scene.client;
            establish(&mut scene, client);
            scene.passes_on(&scene.ack(client).flags(flags), 0, &[]);
            let ended = Some((Table::Confirmed, state));
            assert_eq!(scene.one_way_state(client), ended);
            turn_the_ring(&mut scene);
            scene.passes_on(&scene.syn(client), 1, &[Reason::FlowNew]);
            assert_eq!(scene.one_way_state(client), HALF_OPEN);
            assert_eq!(entries(&scene), [1, 0]);
            scene.passes_on(&scene.ack(client), 1, &[Reason::FlowConfirmed]);
        }
    }
}

/// It may be of a flow that another balancer opened.
#[test]
fn a_packet_without_entry_goes_where_the_ring_says() {
    for mut scene in scenes() {
        scene.add_backend(1);
        scene.rig.ring(0, |slot| slot & 1);
        for n in 0..20 {
            let client = scene.other_client(n);
            let backend_idx = hash::slot(key_hash(client, scene.vip)) & 1;
            let data = scene.ack(client).payload(b"data");
            scene.passes_on(&data, backend_idx, &[Reason::FlowNew]);
            assert_eq!(scene.one_way_state(client), HALF_OPEN);
            scene.passes_on(&data, backend_idx, &[Reason::FlowConfirmed]);
        }
        scene.rig.ring(0, |slot| 1 - (slot & 1));
        for n in 0..20 {
            let client = scene.other_client(n);
            let backend_idx = hash::slot(key_hash(client, scene.vip)) & 1;
            scene.passes_on(&scene.ack(client), backend_idx, &[]);
        }
    }
}

#[test]
fn a_reset_without_flow_is_forwarded_and_opens_none() {
    for mut scene in scenes() {
        for flags in [RST, RST | ACK] {
            let reset = scene.ack(scene.client).flags(flags);
            scene.passes_on(&reset, 0, &[]);
            assert_eq!(entries(&scene), [0, 0]);
        }
        let stats = scene.rig.stats(0);
        assert_eq!((stats.flows, stats.packets_in), (0, 2));
    }
}

#[test]
fn fin_and_reset_end_a_flow_and_data_revives_it() {
    for mut scene in scenes() {
        let confirmed = |state| Some((Table::Confirmed, state));
        for (n, fin) in [(0, false), (1, true)] {
            let client = scene.other_client(n);
            establish(&mut scene, client);
            let (ack, mut alive) = (scene.ack(client), "established");
            if fin {
                alive = "fin";
                scene.passes_on(&ack.clone().flags(FIN | ACK), 0, &[]);
                let entry = scene.rig.entry(client, scene.vip).unwrap();
                assert_eq!(entry.closed_by, side::CLIENT);
                scene.passes_on(&ack.clone().payload(b"again"), 0, &[]);
                assert_eq!(scene.one_way_state(client), confirmed("fin"));
            }
            scene.passes_on(&ack.clone().flags(RST), 0, &[]);
            assert_eq!(scene.one_way_state(client), confirmed("reset"));
            scene.passes_on(&ack, 0, &[]);
            assert_eq!(scene.one_way_state(client), confirmed("reset"));
            scene.passes_on(&ack.payload(b"still here"), 0, &[]);
            assert_eq!(scene.one_way_state(client), confirmed(alive));
        }
        // A half-open one does not come back.
        let client = scene.other_client(2);
        open(&mut scene, client);
        let ack = scene.ack(client);
        scene.passes_on(&ack.clone().flags(RST), 0, &[]);
        scene.passes_on(&ack.clone().flags(FIN | ACK), 0, &[]);
        scene.passes_on(&ack.payload(b"late"), 0, &[]);
        let ended = Some((Table::HalfOpen, "reset"));
        assert_eq!(scene.one_way_state(client), ended);
    }
}

#[test]
fn beyond_the_budget_a_flow_stays_half_open_and_works_on() {
    for mut scene in scenes() {
        let client = scene.client;
        open(&mut scene, client);
        scene.rig.budget(Budgeted::UnprovenFlow, 0);
        scene.passes_on(&scene.ack(client), 0, &[]);
        assert_eq!(scene.one_way_state(client), HALF_OPEN);
        turn_the_ring(&mut scene);
        let ack = scene.ack(client);
        scene.rig.budget(Budgeted::UnprovenFlow, 1);
        scene.passes_on(&ack, 0, &[Reason::FlowConfirmed]);
        assert_eq!(scene.one_way_state(client), ESTABLISHED);
    }
}

/// One bucket, of 36 entries for confirmed flows: one for each here.
#[test]
fn a_flow_that_finds_the_table_full_works_on_half_open() {
    for mut scene in Scene::sized_in_mode(mode::DSR, Capacity::of_buckets(1)) {
        for n in 0..36 {
            let client = scene.other_client(n);
            establish(&mut scene, client);
        }
        let client = scene.other_client(36);
        open(&mut scene, client);
        let ack = scene.ack(client);
        scene.passes_on(&ack, 0, &[Reason::FlowTableFull]);
        let refused = Some((Table::HalfOpen, "established"));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1_500) {
            scene.passes_on(&ack, 0, &[]);
            assert_eq!(scene.one_way_state(client), refused);
        }
        scene.rig.delete_entry(scene.other_client(0), scene.vip);
        let start = Instant::now();
        while scene.rig.send(&ack).counted != [(Reason::FlowConfirmed, 1)] {
            assert!(start.elapsed() < Duration::from_secs(10), "never confirmed");
        }
        assert_eq!(scene.one_way_state(client), ESTABLISHED);
        assert_eq!(entries(&scene), [0, 36]);
    }
}

#[test]
fn flows_of_a_dead_backend_are_reset() {
    for mut scene in scenes() {
        let [half_open, other] = [0, 1].map(|n| scene.other_client(n));
        let client = scene.client;
        open(&mut scene, half_open);
        establish(&mut scene, other);
        establish(&mut scene, client);
        turn_the_ring(&mut scene);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        let data = scene.ack(client).payload(b"hello?");
        for flags in [ACK, FIN | ACK, SYN | ACK] {
            let outcome = scene.rig.send(&data.clone().flags(flags));
            let expected = (BACKEND_ISN + 1, 0, RST);
            is_reset(&outcome, &scene, Reason::BackendDown, expected);
            let reset = Some((Table::Confirmed, "reset"));
            assert_eq!(scene.one_way_state(client), reset);
        }
        // The client's own reset is for the backend, and a SYN for another one.
        scene.passes_on(&scene.ack(client).flags(RST), 0, &[]);
        for client in [half_open, other, client] {
            scene.passes_on(&scene.syn(client), 1, &[Reason::FlowNew]);
            assert_eq!(scene.one_way_state(client), HALF_OPEN);
            scene.passes_on(&scene.ack(client), 1, &[Reason::FlowConfirmed]);
        }
    }
}

#[test]
fn a_half_open_flow_of_a_dead_backend_is_reset_too() {
    for mut scene in scenes() {
        let client = scene.client;
        open(&mut scene, client);
        scene
            .rig
            .change_backend(0, |backend| backend.flows = flows::RESET);
        let outcome = scene.rig.send(&scene.ack(client));
        let expected = (BACKEND_ISN + 1, 0, RST);
        is_reset(&outcome, &scene, Reason::BackendDown, expected);
        let reset = Some((Table::HalfOpen, "reset"));
        assert_eq!(scene.one_way_state(client), reset);
    }
}

#[test]
fn a_service_without_backends_refuses() {
    type Cause = fn(&mut Scene);
    let causes: [Cause; 3] = [
        |scene| scene.rig.change_service(0, |service| service.eligible = 0),
        |scene| scene.rig.ring(0, |_| NO_BACKEND),
        |scene| {
            scene
                .rig
                .change_backend(0, |backend| backend.state = backend_state::DOWN);
        },
    ];
    for cause in causes {
        for mut scene in scenes() {
            let (client, early) = (scene.client, scene.other_client(0));
            establish(&mut scene, early);
            cause(&mut scene);
            let outcome = scene.rig.send(&scene.syn(client));
            let refusal = (0, CLIENT_ISN + 1, RST | ACK);
            is_reset(&outcome, &scene, Reason::NoBackend, refusal);
            let outcome = scene.rig.send(&scene.ack(client));
            let expected = (BACKEND_ISN + 1, 0, RST);
            is_reset(&outcome, &scene, Reason::NoBackend, expected);
            let reset = scene.ack(client).flags(RST);
            scene.rig.send(&reset).dropped(Reason::RstForRst);
            assert_eq!(scene.one_way_state(client), None);
            // Who was there before stays.
            scene.passes_on(&scene.ack(early), 0, &[]);
        }
    }
}

#[test]
fn a_flow_stays_for_its_states_time_and_then_goes() {
    type Make = fn(&mut Scene, SocketAddr);
    let states: [(Make, u64); 4] = [
        (open, HALF_OPEN_S),
        (establish, ESTABLISHED_S),
        (
            |scene, client| {
                establish(scene, client);
                scene.passes_on(&scene.ack(client).flags(FIN | ACK), 0, &[]);
            },
            FIN_S,
        ),
        (
            |scene, client| {
                establish(scene, client);
                scene.passes_on(&scene.ack(client).flags(RST), 0, &[]);
            },
            RESET_S,
        ),
    ];
    for mut scene in scenes() {
        scene
            .rig
            .change_service(0, |service| service.timeouts = TIMEOUTS);
        let family = scene.client.ip();
        for (n, (make, seconds)) in (0..).zip(states) {
            let client = scene.other_client(n);
            make(&mut scene, client);
            let way = (client, scene.vip);
            scene.age_way(way, seconds - MARGIN_S);
            assert_eq!(scene.rig.sweep(family, Table::Confirmed).1, 0);
            scene.age_way(way, MARGIN_S + 1);
            // Counted once.
            assert_eq!(scene.rig.sweep(family, Table::Confirmed), (0, 1));
            assert_eq!(scene.rig.sweep(family, Table::HalfOpen), (0, 0));
            assert_eq!(scene.one_way_state(client), None);
        }
    }
}

#[test]
fn a_half_open_flow_whose_time_is_over_starts_anew() {
    for mut scene in scenes() {
        scene
            .rig
            .change_service(0, |service| service.timeouts = TIMEOUTS);
        let client = scene.client;
        open(&mut scene, client);
        scene.age_way((client, scene.vip), HALF_OPEN_S + 1);
        turn_the_ring(&mut scene);
        scene.passes_on(&scene.ack(client), 1, &[Reason::FlowNew]);
        assert_eq!(entries(&scene), [1, 0]);
    }
}
