//! Resets that the balancer sends itself: to whom, with which numbers (RFC 9293, section
//! 3.10.7.1), and how many.

use std::time::Instant;

use lb_common::{
    Budgeted, NO_BACKEND,
    backend::{flows, state as backend_state},
    reason::Reason,
};
use lb_tests::{
    packet::{Extension, Packet, TcpOption, flag::*},
    rig::{Outcome, Table, Verdict, now_ns},
};

use crate::scene::{FRONT, ROUTER, Scene};

/// The outcome is exactly the reset that answers the packet, with these numbers.
#[track_caller]
pub fn is_reset(outcome: &Outcome, to: &Scene, reason: Reason, expected: (u32, u32, u8)) {
    let (seq, ack, flags) = expected;
    let reset = Packet::tcp(to.vip, to.client)
        .macs(FRONT, ROUTER)
        .seq(seq)
        .ack(ack)
        .flags(flags);
    resets_as(outcome, reason, &reset);
}

/// As the given packet, but for what a reset may choose freely: window, and the IPv4
/// identification that goes with it.
#[track_caller]
fn resets_as(outcome: &Outcome, reason: Reason, reset: &Packet) {
    outcome.verdict(Verdict::Tx).counts(&[reason]);
    let expected = lb_tests::packet::oracle::check(&reset.build()).unwrap();
    let mut got = outcome.segment();
    assert!(got.ttl >= 64, "far enough to reach the client\n{outcome}");
    (got.ttl, got.window) = (expected.ttl, expected.window);
    assert_eq!(got, expected, "\n{outcome}");
    let least = if got.source.is_ipv4() { 54 } else { 74 };
    assert_eq!(outcome.frame.len(), least, "nothing but headers\n{outcome}");
}

#[test]
pub fn a_packet_of_no_flow_is_answered_as_the_rfc_says() {
    type Case = (u8, u32, u32, &'static [u8], (u32, u32, u8));
    // flags, seq, ack, payload → seq, ack, flags
    let cases: [Case; 6] = [
        (ACK, 1_000, 7_000, b"", (7_000, 0, RST)),
        (PSH | ACK, 1_000, 7_000, b"data", (7_000, 0, RST)),
        (FIN | ACK, 1_000, 7_000, b"", (7_000, 0, RST)),
        (SYN | ACK, 1_000, 7_000, b"", (7_000, 0, RST)),
        (ACK, 1_000, 0, b"", (0, 0, RST)),
        (ACK, 1_000, u32::MAX, b"", (u32::MAX, 0, RST)),
    ];
    for mut scene in Scene::both() {
        for (flags, seq, ack, payload, expected) in cases {
            let stray = scene
                .syn(scene.client)
                .flags(flags)
                .seq(seq)
                .ack(ack)
                .payload(payload);
            let outcome = scene.rig.send(&stray);
            is_reset(&outcome, &scene, Reason::NoFlow, expected);
            assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
        }
    }
}

#[test]
pub fn the_reset_has_the_length_of_bare_headers_whatever_it_answers() {
    for mut scene in Scene::both() {
        let stray = |scene: &Scene| scene.syn(scene.client).flags(ACK).ack(5);
        let mut shapes = vec![
            stray(&scene),
            stray(&scene).payload(&[7; 1_400]),
            stray(&scene).options(&TcpOption::of_data()),
            stray(&scene).padded_by(6),
        ];
        if scene.client.is_ipv4() {
            shapes.push(stray(&scene).ip_options(10).payload(b"x"));
        } else {
            let long = Extension::HopByHop { units: 20 };
            shapes.push(stray(&scene).extension(long).payload(b"x"));
        }
        for shape in shapes {
            let outcome = scene.rig.send(&shape);
            is_reset(&outcome, &scene, Reason::NoFlow, (5, 0, RST));
        }
    }
}

/// The payload that an answer acknowledges ends where IP says, not where the frame does.
#[test]
fn padding_is_not_acknowledged() {
    for mut scene in Scene::both() {
        let stray = scene.syn(scene.client).payload(b"ab").padded_by(4);
        scene.rig.service(0, 0);
        let outcome = scene.rig.send(&stray);
        is_reset(&outcome, &scene, Reason::NoBackend, (0, 1_003, RST | ACK));
    }
}

#[test]
fn a_reset_is_never_answered() {
    for mut scene in Scene::both() {
        for flags in [RST, RST | ACK, RST | PSH] {
            let stray = scene.syn(scene.client).flags(flags);
            scene.rig.send(&stray).dropped(Reason::RstForRst);
        }
    }
}

#[test]
fn a_service_without_backends_refuses() {
    type Cause = (&'static str, fn(&mut Scene));
    let causes: [Cause; 3] = [
        ("none eligible", |scene| scene.rig.service(0, 0)),
        ("an empty ring", |scene| scene.rig.ring(0, |_| NO_BACKEND)),
        ("the only one down", |scene| {
            scene
                .rig
                .change_backend(0, |backend| backend.state = backend_state::DOWN);
        }),
    ];
    for (name, cause) in causes {
        for mut scene in Scene::both() {
            cause(&mut scene);
            let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
            let outcome = scene.rig.send(&syn);
            eprintln!("{name}");
            is_reset(&outcome, &scene, Reason::NoBackend, (0, 1_001, RST | ACK));
            assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
        }
    }
}

#[test]
fn flows_outlive_a_service_without_backends_for_new_ones() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.service(0, 0);
        scene.rig.ring(0, |_| NO_BACKEND);
        scene.client_sends(&connection, scene.by_client(&connection));
        scene.backend_sends(&connection, scene.by_backend(&connection));
    }
}

#[test]
pub fn flows_of_a_dead_backend_are_reset_from_either_side() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        let data = scene.by_client(&connection).ack(6_000).payload(b"hello?");
        let outcome = scene.rig.send(&data);
        is_reset(&outcome, &scene, Reason::BackendDown, (6_000, 0, RST));
        assert_eq!(scene.state(&connection), Some((Table::Confirmed, "reset")));

        // The backend was only cut off, and now sends on: it learns too.
        let late = scene.by_backend(&connection).ack(2_000).payload(b"late");
        let reset = Packet::tcp(connection.local, connection.backend)
            .macs(crate::scene::BACK, crate::scene::backend_mac(0))
            .seq(2_000)
            .flags(RST);
        resets_as(&scene.rig.send(&late), Reason::BackendDown, &reset);

        // The client's own reset is not answered.
        let farewell = scene.by_client(&connection).flags(RST);
        let outcome = scene.rig.send(&farewell);
        assert_ne!(outcome.counted, [(Reason::BackendDown, 1)], "{outcome}");
    }
}

#[test]
fn flows_of_other_backends_do_not_notice_a_death() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        let doomed = scene.establish(scene.other_client(0));
        scene.rig.ring(0, |_| 1);
        let lucky = scene.establish(scene.other_client(1));
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        for _ in 0..3 {
            let data = scene.by_client(&doomed).payload(b"data");
            scene.rig.send(&data).counts(&[Reason::BackendDown]);
            scene.client_sends(&lucky, scene.by_client(&lucky));
            scene.backend_sends(&lucky, scene.by_backend(&lucky));
        }
        assert_eq!(scene.state(&lucky), Some((Table::Confirmed, "established")));
    }
}

#[test]
fn half_open_flows_of_a_dead_backend_are_reset_too() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        scene
            .rig
            .change_backend(0, |backend| backend.flows = flows::RESET);
        let ack = scene.by_client(&connection);
        let outcome = scene.rig.send(&ack);
        let acknowledged = crate::scene::BACKEND_ISN + 1;
        is_reset(
            &outcome,
            &scene,
            Reason::BackendDown,
            (acknowledged, 0, RST),
        );
    }
}

#[test]
fn a_syn_on_a_dead_backends_flow_gets_another_backend() {
    for mut scene in Scene::both() {
        let old = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        let new = scene.open(scene.client);
        assert_eq!(new.backend_idx, 1);
        assert_eq!(scene.rig.entry(old.backend, old.local), None);
    }
}

#[test]
fn flows_of_a_dead_backend_run_on_where_they_shall() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::FORWARD;
        });
        scene.client_sends(&connection, scene.by_client(&connection));
        scene.backend_sends(&connection, scene.by_backend(&connection));
    }
}

#[test]
fn resets_are_limited_per_second() {
    for mut scene in Scene::both() {
        let burst = Budgeted::Reset.per_second();
        scene.rig.budget_since(Budgeted::Reset, burst, now_ns());
        let stray = scene.syn(scene.client).flags(ACK).build();
        let start = Instant::now();
        let (mut answered, mut limited) = (0, 0);
        while limited < 100 {
            match scene.rig.fire(&stray) {
                Verdict::Tx => answered += 1,
                Verdict::Drop => limited += 1,
                other => panic!("{other:?} is neither answered nor limited"),
            }
            assert!(start.elapsed().as_secs() < 60, "the limit is never reached");
        }
        assert_eq!(
            scene.rig.newly_counted(),
            [(Reason::RstLimited, limited), (Reason::NoFlow, answered)]
        );
        // The clock that the budget goes by may lag behind by a tick.
        let earned = Budgeted::Reset.per_second() as f64 * (start.elapsed().as_secs_f64() + 0.1);
        assert!(
            (Budgeted::Reset.per_second()..=Budgeted::Reset.per_second() + earned as u64)
                .contains(&answered),
            "{answered} answers in {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn the_budget_refills() {
    for mut scene in Scene::both() {
        let stray = scene.syn(scene.client).flags(ACK);
        scene.rig.budget(Budgeted::Reset, 0);
        scene.rig.send(&stray).dropped(Reason::RstLimited);
        scene.rig.budget_since(Budgeted::Reset, 0, now_ns());
        let start = Instant::now();
        while scene.rig.send(&stray).counted != [(Reason::NoFlow, 1)] {
            assert!(start.elapsed().as_secs() < 10, "it never refills");
        }
    }
}
