//! Live flows are counted for services that ask for it: as they come and go, and again by the sweeper.

use lb_common::{
    load::Load,
    reason::Reason,
    service::{flag, mode},
};
use lb_tests::packet::flag::*;

use crate::{
    aged::{ESTABLISHED_S, TIMEOUTS, one_in_each_state, sweep},
    scene::Scene,
};

/// A scene in this mode in each family, whose flows are counted.
fn scenes_in(mode: u8) -> [Scene; 2] {
    Scene::in_mode(mode).map(|mut scene| {
        scene.rig.change_service(0, |service| {
            service.flags |= flag::COUNTED;
            service.timeouts = TIMEOUTS;
        });
        scene
    })
}

#[test]
fn a_flow_is_live_until_both_ends_have_closed() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in scenes_in(mode) {
            let connection = scene.open(scene.client);
            assert_eq!(scene.rig.live(0), 1, "half-open flows count");
            let syn = scene.syn(scene.client);
            scene.rig.send(&syn).counts(&[]);
            scene.backend_sends(&connection, scene.syn_ack(&connection));
            scene.client_sends(&connection, scene.by_client(&connection));
            assert_eq!(scene.rig.live(0), 1);
            let fin = scene.by_backend(&connection).flags(FIN | ACK);
            scene.backend_sends(&connection, fin.clone());
            scene.backend_sends(&connection, fin.clone());
            assert_eq!(scene.rig.live(0), 1, "one end has closed");
            scene.client_sends(&connection, scene.by_client(&connection).flags(FIN | ACK));
            assert_eq!(scene.rig.live(0), 0, "both have");
            scene.backend_sends(&connection, fin);
            scene.client_sends(&connection, scene.by_client(&connection).flags(RST));
            assert_eq!(scene.rig.live(0), 0, "and no more than once");
            // A new connection by the same address and port.
            scene.establish(scene.client);
            assert_eq!(scene.rig.live(0), 1);
        }
    }
}

#[test]
fn a_reset_flow_is_not_live_until_data_revives_it() {
    for mut scene in scenes_in(mode::NAT) {
        let connection = scene.establish(scene.client);
        for _ in 0..2 {
            for flags in [RST, RST, RST | ACK] {
                scene.backend_sends(&connection, scene.by_backend(&connection).flags(flags));
                assert_eq!(scene.rig.live(0), 0);
            }
            for _ in 0..2 {
                let data = scene.by_client(&connection).payload(b"data");
                scene.client_sends(&connection, data);
                assert_eq!(scene.rig.live(0), 1);
            }
        }
        // A half-open one whose answer was a reset, and then a SYN-ACK after all.
        let connection = scene.open(scene.other_client(1));
        assert_eq!(scene.rig.live(0), 2);
        scene.backend_sends(&connection, scene.by_backend(&connection).flags(RST | ACK));
        assert_eq!(scene.rig.live(0), 1);
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        assert_eq!(scene.rig.live(0), 2);
    }
}

#[test]
fn a_renewed_flow_counts_once() {
    for mut scene in scenes_in(mode::NAT) {
        for flags in [FIN | ACK, RST] {
            let connection = scene.establish(scene.client);
            scene.client_sends(&connection, scene.by_client(&connection).flags(flags));
            let again = scene.open(scene.client);
            assert_eq!(scene.rig.live(0), 1);
            scene.backend_sends(&again, scene.by_backend(&again).flags(RST | ACK));
            assert_eq!(scene.rig.live(0), 0);
        }
    }
}

#[test]
fn a_flow_of_a_backend_that_is_down_ends() {
    for mut scene in scenes_in(mode::NAT) {
        let established = scene.establish(scene.client);
        let opened = scene.open(scene.other_client(1));
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        scene.rig.change_backend(0, |backend| {
            backend.state = lb_common::backend::state::DOWN;
            backend.flows = lb_common::backend::flows::RESET;
        });
        let data = scene.by_client(&established).payload(b"data");
        for _ in 0..2 {
            scene.rig.send(&data).counts(&[Reason::BackendDown]);
            assert_eq!([0, 1].map(|idx| scene.rig.live(idx)), [1, 0]);
        }
        // A SYN moves on to another one.
        assert_eq!(scene.open(opened.client).backend_idx, 1);
        assert_eq!([0, 1].map(|idx| scene.rig.live(idx)), [0, 1]);
    }
}

#[test]
fn flows_that_are_not_opened_do_not_count() {
    for mut scene in scenes_in(mode::NAT) {
        scene.rig.ports(5_000..=5_000);
        scene.establish(scene.client);
        let syn = scene.syn(scene.other_client(1));
        scene.rig.send(&syn).dropped(Reason::PortsExhausted);
        let last_hop = scene.syn(scene.other_client(1)).ttl(1);
        scene.rig.send(&last_hop).dropped(Reason::TtlExpired);
        assert_eq!(scene.rig.live(0), 1);
    }
    for mut scene in scenes_in(mode::DSR) {
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        let syn = scene.syn(scene.client);
        scene.rig.send(&syn).dropped(Reason::BackendUnresolved);
        let ack = scene.ack(scene.client);
        scene.rig.send(&ack).dropped(Reason::BackendUnresolved);
        assert_eq!(scene.rig.live(0), 0);
    }
}

#[test]
fn one_way_flows_count_until_a_reset_or_their_timer() {
    for mut scene in scenes_in(mode::DSR) {
        let (client, other) = (scene.client, scene.other_client(1));
        let rst = scene.ack(other).flags(RST);
        scene.passes_on(&rst, 0, &[]);
        assert_eq!(scene.rig.live(0), 0, "a reset opens no flow");
        scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
        scene.passes_on(&scene.ack(client), 0, &[Reason::FlowConfirmed]);
        assert_eq!(scene.rig.live(0), 1);
        // One of another balancer.
        scene.passes_on(&scene.ack(other), 0, &[Reason::FlowNew]);
        scene.passes_on(&scene.ack(other), 0, &[Reason::FlowConfirmed]);
        assert_eq!(scene.rig.live(0), 2);
        scene.passes_on(&scene.ack(client).flags(FIN | ACK), 0, &[]);
        assert_eq!(scene.rig.live(0), 2, "the backend's end is not seen");
        scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
        assert_eq!(scene.rig.live(0), 2, "the client's next one");
        scene.passes_on(&scene.ack(other).flags(RST), 0, &[]);
        scene.passes_on(&scene.ack(other), 0, &[]);
        assert_eq!(scene.rig.live(0), 1);
        scene.passes_on(&scene.ack(other).payload(b"data"), 0, &[]);
        assert_eq!(scene.rig.live(0), 2);
        for client in [client, other] {
            scene.age_way((client, scene.vip), ESTABLISHED_S + 1);
        }
        sweep(&mut scene);
        assert_eq!(scene.rig.live(0), 0);
    }
}

#[test]
fn a_swept_flow_is_no_longer_live() {
    for mut scene in scenes_in(mode::NAT) {
        let flows = one_in_each_state(&mut scene, 0);
        // half_open, syn_acked, established, fin.
        assert_eq!(scene.rig.live(0), 4);
        let mut live = 4;
        for flow in &flows {
            scene.age(&flow.connection, flow.seconds + 1);
            sweep(&mut scene);
            live -= u32::from(!["reset", "closed"].contains(&flow.state.1));
            assert_eq!(scene.rig.live(0), live, "after {:?}", flow.state);
        }
        assert_eq!((live, scene.rig.live(0)), (0, 0));
    }
}

#[test]
fn where_nobody_asks_nothing_is_counted() {
    for mut scene in Scene::both() {
        one_in_each_state(&mut scene, 0);
        assert_eq!(scene.rig.begin_meeting(), 0, "no service counts flows");
        scene.rig.meet_flows();
        assert_eq!(scene.rig.end_meeting(), 0);
        assert_eq!(scene.rig.live(0), 0);
    }
}

#[test]
fn a_sweep_puts_a_wrong_count_right() {
    for mut scene in scenes_in(mode::NAT) {
        scene.add_backend(1);
        let flows = one_in_each_state(&mut scene, 0);
        for (wrong, by_other) in [(0, 5), (1, 0), (1_000_000, 3), (u32::MAX, u32::MAX), (4, 1)] {
            scene.rig.set_live(0, wrong);
            scene.rig.set_live(1, by_other);
            scene.rig.sweep_loads();
            assert_eq!(
                [0, 1].map(|idx| scene.rig.live(idx)),
                [4, 0],
                "from {wrong}"
            );
        }
        // Flows that were pushed out by newer ones.
        for flow in &flows[..2] {
            for (source, destination) in scene.ways(&flow.connection) {
                scene.rig.delete_entry(source, destination);
            }
        }
        assert_eq!(scene.rig.live(0), 4);
        scene.rig.sweep_loads();
        assert_eq!(scene.rig.live(0), 2);
        // A flow that ends with nothing left to take off.
        scene.rig.set_live(0, 0);
        let data = scene.by_client(&flows[3].connection).flags(RST);
        scene.client_sends(&flows[3].connection, data);
        assert_eq!(scene.rig.live(0), 0);
        scene.rig.sweep_loads();
        assert_eq!(scene.rig.live(0), 1);
    }
}

/// A reload may give a service its first limit while it has flows.
#[test]
fn flows_that_were_there_before_are_found_by_the_next_sweep() {
    for mut scene in Scene::both() {
        scene
            .rig
            .change_service(0, |service| service.timeouts = TIMEOUTS);
        let flows = one_in_each_state(&mut scene, 0);
        scene
            .rig
            .change_service(0, |service| service.flags |= flag::COUNTED);
        scene.open(scene.other_client(100));
        assert_eq!(scene.rig.live(0), 1);
        scene.rig.sweep_loads();
        assert_eq!(scene.rig.live(0), 5);
        // They leave unnoticed, until the next sweep.
        for flow in &flows {
            scene.age(&flow.connection, flow.seconds + 1);
        }
        sweep(&mut scene);
        scene.rig.sweep_loads();
        assert_eq!(scene.rig.live(0), 1);
    }
}

#[test]
fn flows_that_come_and_go_during_a_sweep_are_no_drift() {
    for mut scene in scenes_in(mode::NAT) {
        let old: Vec<_> = (0..10)
            .map(|n| scene.establish(scene.other_client(n)))
            .collect();
        for meets_first in [true, false] {
            scene.rig.begin_meeting();
            if meets_first {
                scene.rig.meet_flows();
            }
            let new: Vec<_> = (10..20)
                .map(|n| scene.open(scene.other_client(n)))
                .collect();
            for connection in new {
                scene.backend_sends(&connection, scene.by_backend(&connection).flags(RST | ACK));
            }
            scene.open(scene.client);
            if !meets_first {
                scene.rig.meet_flows();
            }
            scene.rig.end_meeting();
            assert_eq!(scene.rig.live(0), 11);
            let client = scene.client;
            scene.rig.send(&scene.syn(client)).counts(&[]);
            let local = scene.rig.entry(client, scene.vip).expect("a flow").source;
            let rst = scene
                .by_backend(&crate::scene::Connection {
                    client,
                    local,
                    ..old[0]
                })
                .flags(RST | ACK);
            scene.rig.send(&rst).transmitted();
            assert_eq!(scene.rig.live(0), 10);
        }
    }
}

/// An end without a beginning, as when another daemon's pass came in between, changes nothing.
#[test]
fn an_end_belongs_to_its_own_beginning() {
    for mut scene in scenes_in(mode::NAT) {
        scene.establish(scene.client);
        scene.rig.begin_meeting();
        scene.rig.set_live(0, 7);
        scene.rig.skip_pass();
        scene.rig.end_meeting();
        assert_eq!(scene.rig.live(0), 7);
    }
}

#[test]
fn a_count_is_corrected_by_what_nothing_explains() {
    let correction = |live_before: u32, live: u32, changes: u32, met: u32| {
        Load {
            live,
            live_before,
            met,
            changes,
            ..Load::default()
        }
        .correction()
    };
    // Nothing came or went: what was met is true.
    assert_eq!(correction(10, 10, 0, 10), 0);
    assert_eq!(correction(10, 10, 0, 9), -1);
    assert_eq!(correction(10, 10, 0, 25), 15);
    assert_eq!(correction(u32::MAX, u32::MAX, 0, 0), -i64::from(u32::MAX));
    // Ten came, none went: between 100 and 110 may be met.
    for met in 100..=110 {
        assert_eq!(correction(100, 110, 10, met), 0, "{met} met");
    }
    assert_eq!(correction(100, 110, 10, 111), 6);
    assert_eq!(correction(100, 110, 10, 99), -6);
    // 50 came and 50 went: 50 more or less are possible, but an eighth is made good.
    assert_eq!(correction(100, 100, 100, 107), 0);
    assert_eq!(correction(100, 100, 100, 140), 5);
    assert_eq!(correction(100, 100, 100, 60), -5);
    assert_eq!(correction(100, 100, 100, 151), 51);
    // A flood pushed out most of what it opened.
    assert_eq!(correction(0, 1_000, 1_000, 200), 0);
    assert_eq!(correction(10_000, 11_000, 1_000, 200), -10_300);
    // Counters wrap.
    let load = Load {
        live: 10,
        live_before: 10,
        met: 11,
        changes: 1,
        changes_before: u32::MAX,
        ..Load::default()
    };
    assert_eq!(load.correction(), 0);
}
