//! Flows whose timers ran out: what the program `sweep` removes and what it leaves alone.

use lb_common::{
    flow::{side, state},
    service::Timeouts,
};
use lb_tests::rig::Table;

use crate::{aged::*, scene::Scene};

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
        scene.rig.change_service(1, |service| {
            service.timeouts = Timeouts {
                established_ms: 30_000,
                ..TIMEOUTS
            };
        });
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
            let flows = quiet_in_one_direction(&mut scene, quiet);
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
