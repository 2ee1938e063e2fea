//! Tables at their limits: a flow that finds no room stays half-open and works on; a flood of SYNs
//! pushes out nothing but half-open flows.

use std::time::{Duration, Instant};

use lb_common::{flow::side, reason::Reason};
use lb_tests::rig::{Sizes, Table, Verdict};

use crate::scene::{Connection, Scene};

/// Opens a flow, sends the SYN-ACK and the ACK, and returns what the ACK made count.
fn try_to_confirm(scene: &mut Scene, n: u16) -> (Connection, Vec<(Reason, u64)>) {
    let connection = scene.open(scene.other_client(n));
    scene.backend_sends(&connection, scene.syn_ack(&connection));
    let outcome = scene.rig.send(&scene.by_client(&connection));
    outcome.transmitted();
    (connection, outcome.counted)
}

#[test]
fn a_flow_that_finds_the_table_full_works_on_half_open() {
    // Room for eight flows of two entries, or for eight and a half.
    for flows in [16, 17] {
        let sizes = Sizes {
            flows,
            half_open: 1_024,
        };
        for mut scene in Scene::sized(sizes) {
            let mut confirmed = Vec::new();
            for n in 0..8 {
                let (connection, counted) = try_to_confirm(&mut scene, n);
                assert_eq!(counted, [(Reason::FlowConfirmed, 1)]);
                confirmed.push(connection);
            }
            for n in 8..12 {
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
            }
            let family = scene.client.ip();
            assert_eq!(scene.rig.entries(family, Table::Confirmed).len(), 16);
            for connection in &confirmed {
                scene.client_sends(connection, scene.by_client(connection));
            }
        }
    }
}

/// About every second the flow tries again; meanwhile the refusal is not counted twice.
#[test]
fn a_refused_flow_is_confirmed_when_there_is_room() {
    let sizes = Sizes {
        flows: 2,
        half_open: 1_024,
    };
    for mut scene in Scene::sized(sizes) {
        let (first, counted) = try_to_confirm(&mut scene, 0);
        assert_eq!(counted, [(Reason::FlowConfirmed, 1)]);
        let (second, counted) = try_to_confirm(&mut scene, 1);
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

#[test]
fn confirmed_flows_survive_a_flood_of_syns() {
    let sizes = Sizes {
        flows: 256,
        half_open: 2_048,
    };
    for mut scene in Scene::sized(sizes) {
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

/// The LRU keeps what is looked up. To look at the ports that are in the way of a new flow must
/// not keep them: the flood's dead ports would pile up, and push out the clients' own entries.
#[test]
fn a_flood_takes_as_much_room_for_either_direction() {
    let sizes = Sizes {
        flows: 256,
        half_open: 2_048,
    };
    for mut scene in Scene::sized(sizes) {
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
