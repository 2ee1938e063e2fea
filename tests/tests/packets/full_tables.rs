//! Tables at their limits: a flow that finds no room stays half-open and works on; a flood of SYNs
//! pushes out nothing but half-open flows.

use std::time::{Duration, Instant};

use lb_common::{flow::side, reason::Reason};
use lb_tests::{
    packet::flag::*,
    rig::{Capacity, Table, Verdict},
};

use crate::scene::{Connection, Scene};

/// Opens a flow, sends the SYN-ACK and the ACK, and returns what the ACK made count.
fn try_to_confirm(scene: &mut Scene, n: u16) -> (Connection, Vec<(Reason, u64)>) {
    let connection = scene.open(scene.other_client(n));
    scene.backend_sends(&connection, scene.syn_ack(&connection));
    let outcome = scene.rig.send(&scene.by_client(&connection));
    outcome.transmitted();
    (connection, outcome.counted)
}

/// One bucket, of 36 entries for confirmed flows and 4 for half-open ones: all flows meet in it.
const ONE_BUCKET: Capacity = Capacity::of_buckets(1);
const FLOWS: u16 = 18;

#[test]
fn a_flow_that_finds_the_table_full_works_on_half_open() {
    // Room for 18 flows of two entries, or for 17 and a half.
    for odd in [false, true] {
        for mut scene in Scene::sized(ONE_BUCKET) {
            let room = FLOWS - u16::from(odd);
            let mut confirmed = Vec::new();
            for n in 0..room {
                let (connection, counted) = try_to_confirm(&mut scene, n);
                assert_eq!(counted, [(Reason::FlowConfirmed, 1)]);
                confirmed.push(connection);
            }
            if odd {
                // One end of some other flow.
                let first = &confirmed[0];
                let entry = scene.rig.entry(first.client, scene.vip).unwrap();
                let stranger = scene.stranger_at(1);
                scene.rig.write_entry(stranger, scene.vip, &entry);
            }
            for n in room..room + 4 {
                let (connection, counted) = try_to_confirm(&mut scene, n);
                assert_eq!(counted, [(Reason::FlowTableFull, 1)], "once per flow");
                assert_eq!(
                    scene.state(&connection),
                    Some((Table::HalfOpen, "established"))
                );
                for _ in 0..20 {
                    let forth = scene.by_client(&connection).payload(b"on");
                    let expected = scene.as_backend_sees(&connection, forth.clone());
                    scene.rig.send(&forth).transmitted_as(&expected).counts(&[]);
                    scene.backend_sends(&connection, scene.by_backend(&connection));
                }
                // It would share the bucket's four half-open entries with the next.
                scene.rig.delete_entry(connection.client, scene.vip);
                scene.rig.delete_entry(connection.backend, connection.local);
            }
            let family = scene.client.ip();
            let entries = usize::from(2 * room) + usize::from(odd);
            assert_eq!(scene.rig.entries(family, Table::Confirmed).len(), entries);
            for connection in &confirmed {
                scene.client_sends(connection, scene.by_client(connection));
            }
        }
    }
}

/// About every second the flow tries again; meanwhile the refusal is not counted twice.
#[test]
fn a_refused_flow_is_confirmed_when_there_is_room() {
    for mut scene in Scene::sized(ONE_BUCKET) {
        let (first, counted) = try_to_confirm(&mut scene, 0);
        assert_eq!(counted, [(Reason::FlowConfirmed, 1)]);
        for n in 1..FLOWS {
            try_to_confirm(&mut scene, n);
        }
        let (second, counted) = try_to_confirm(&mut scene, FLOWS);
        assert_eq!(counted, [(Reason::FlowTableFull, 1)]);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1_500) {
            let outcome = scene.rig.send(&scene.by_client(&second));
            outcome.counts(&[]).transmitted();
        }
        scene.rig.delete_entry(first.client, scene.vip);
        scene.rig.delete_entry(first.backend, first.local);
        let start = Instant::now();
        loop {
            let outcome = scene.rig.send(&scene.by_client(&second));
            outcome.transmitted();
            if outcome.counted == [(Reason::FlowConfirmed, 1)] {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "\n{outcome}");
        }
        assert_eq!(
            scene.state(&second),
            Some((Table::Confirmed, "established"))
        );
    }
}

/// It is half-open for want of room alone, and ends as every half-open flow does.
#[test]
fn a_flow_without_room_closes_and_does_not_come_back_from_a_reset() {
    for mut scene in Scene::sized(ONE_BUCKET) {
        for n in 0..FLOWS {
            try_to_confirm(&mut scene, n);
        }
        let (connection, _) = try_to_confirm(&mut scene, FLOWS);
        let is_in = |scene: &Scene, state| {
            assert_eq!(scene.state(&connection), Some((Table::HalfOpen, state)));
        };
        let fin = scene.by_client(&connection).flags(FIN | ACK);
        scene.client_sends(&connection, fin.clone());
        is_in(&scene, "fin");
        // The one that the backend repeats because the client's acknowledgement was lost.
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        is_in(&scene, "fin");
        let reset = scene.by_backend(&connection).flags(RST | ACK);
        scene.backend_sends(&connection, reset);
        is_in(&scene, "reset");
        scene.client_sends(&connection, fin);
        is_in(&scene, "reset");
    }
}

/// 2,048 half-open entries.
const FLOODED: Capacity = Capacity::of_buckets(512);

#[test]
fn confirmed_flows_survive_a_flood_of_syns() {
    for mut scene in Scene::sized(FLOODED) {
        let alive: Vec<Connection> = (0..100)
            .map(|n| scene.establish(scene.other_client(n)))
            .collect();
        for n in 100..20_580 {
            let syn = scene.syn(scene.other_client(n)).build();
            assert_eq!(scene.rig.fire(&syn), Verdict::Tx);
        }
        assert_eq!(
            scene.rig.newly_counted(),
            [(Reason::FlowNew, 20_480)],
            "each SYN is served, ten times the limit"
        );
        let family = scene.client.ip();
        assert!(scene.rig.entries(family, Table::HalfOpen).len() <= 2_048);
        for connection in &alive {
            assert_eq!(
                scene.state(connection),
                Some((Table::Confirmed, "established"))
            );
            scene.client_sends(connection, scene.by_client(connection));
            scene.backend_sends(connection, scene.by_backend(connection));
        }
        // And whoever comes during the flood gets through.
        let (_, counted) = try_to_confirm(&mut scene, 30_000);
        assert_eq!(counted, [(Reason::FlowConfirmed, 1)]);
    }
}

/// What is looked up is kept. To look at the ports that are in the way of a new flow must not keep
/// them: the flood's dead ports would pile up, and push out the clients' own entries.
#[test]
fn a_flood_takes_as_much_room_for_either_direction() {
    for mut scene in Scene::sized(FLOODED) {
        // Half the ports are taken at any time.
        scene.rig.ports(5_000..=6_999);
        for n in 0..20_480 {
            let syn = scene.syn(scene.other_client(n)).build();
            assert_eq!(scene.rig.fire(&syn), Verdict::Tx);
        }
        let half_open = scene.rig.entries(scene.client.ip(), Table::HalfOpen);
        let replies = half_open.iter().filter(|e| e.side == side::BACKEND).count();
        let share = replies * 100 / half_open.len();
        assert!(
            (45..=55).contains(&share),
            "{replies} of {} entries are for replies",
            half_open.len()
        );
    }
}

/// Who answered lately is no part of a flood, however long ago it began; nor is a client that sends its SYN
/// again and again, though the backend is silent.
#[test]
fn the_half_open_flow_that_was_quiet_for_longest_gives_way() {
    for (spoke, ends) in [
        (None, [true, true]),
        (Some(0), [true, true]),
        (Some(0), [true, false]),
        (Some(0), [false, true]),
    ] {
        for mut scene in Scene::sized(ONE_BUCKET) {
            let flows: Vec<Connection> =
                (0..2).map(|n| scene.open(scene.other_client(n))).collect();
            for (connection, seconds) in flows.iter().zip([40, 30]) {
                scene.age(connection, seconds);
            }
            if let Some(spoke) = spoke {
                let connection = &flows[spoke];
                if ends[0] {
                    scene.backend_sends(connection, scene.syn_ack(connection));
                }
                if ends[1] {
                    scene.client_sends(connection, scene.syn(connection.client));
                }
            }
            let new = scene.open(scene.other_client(2));
            let gives_way = spoke.map_or(0, |spoke| spoke + 1);
            for (n, connection) in flows.iter().enumerate() {
                let held = scene.state(connection).is_some();
                assert_eq!(held, n != gives_way, "flow {n}");
            }
            assert!(scene.state(&new).is_some());
        }
    }
}

/// A flood from one source port of each client, repeated: retransmissions open nothing.
#[test]
fn repeated_syns_take_no_further_room() {
    for mut scene in Scene::both() {
        for n in 0..100 {
            scene.open(scene.other_client(n));
        }
        for _ in 0..5 {
            for n in 0..100 {
                let outcome = scene.rig.send(&scene.syn(scene.other_client(n)));
                outcome.counts(&[]).transmitted();
            }
        }
        let family = scene.client.ip();
        assert_eq!(scene.rig.entries(family, Table::HalfOpen).len(), 200);
    }
}
