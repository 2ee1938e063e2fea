//! SYN, SYN-ACK, ACK: when a flow counts as confirmed and moves out of the reach of a SYN flood.

use lb_common::{reason::Reason, table::Place};
use lb_tests::{
    packet::{TcpOption, flag::*, mac},
    rig::{Capacity, Table, key_hash},
};

use crate::scene::{BACKEND_ISN, Scene};

#[test]
fn the_syn_ack_reaches_the_client_from_the_vip() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let syn_ack = scene
            .syn_ack(&connection)
            .options(&TcpOption::of_a_syn())
            .ttl(63);
        let expected = scene.as_client_sees(&connection, syn_ack.clone());
        scene
            .rig
            .send(&syn_ack)
            .transmitted_as(&expected)
            .counts(&[]);
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "syn_acked"))
        );
        // Once more, as after a lost one.
        scene.backend_sends(&connection, syn_ack);
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "syn_acked"))
        );
    }
}

#[test]
pub fn the_clients_ack_of_the_syn_ack_confirms() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        let ack = scene.by_client(&connection);
        let expected = scene.as_backend_sees(&connection, ack.clone());
        scene
            .rig
            .send(&ack)
            .transmitted_as(&expected)
            .counts(&[Reason::FlowConfirmed]);
        assert_eq!(
            scene.state(&connection),
            Some((Table::Confirmed, "established"))
        );
        // The same again is nothing new.
        scene.rig.send(&ack).transmitted_as(&expected).counts(&[]);
        let family = scene.client.ip();
        assert_eq!(scene.rig.entries(family, Table::HalfOpen).len(), 0);
        assert_eq!(scene.rig.entries(family, Table::Confirmed).len(), 2);
    }
}

/// Where the ACK is lost, the client's first data does it; and where the client closes at once,
/// its FIN.
#[test]
fn data_or_fin_with_the_right_acknowledgement_confirms() {
    for mut scene in Scene::both() {
        for (n, flags, payload, state) in [
            (0, PSH | ACK, b"GET".as_slice(), "established"),
            (1, FIN | ACK, b"".as_slice(), "fin"),
        ] {
            let connection = scene.open(scene.other_client(n));
            scene.backend_sends(&connection, scene.syn_ack(&connection));
            let packet = scene.by_client(&connection).flags(flags).payload(payload);
            scene.rig.send(&packet).counts(&[Reason::FlowConfirmed]);
            assert_eq!(scene.state(&connection), Some((Table::Confirmed, state)));
        }
    }
}

#[test]
fn a_wrong_acknowledgement_number_does_not_confirm() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        for guess in [
            0,
            BACKEND_ISN,
            BACKEND_ISN + 1 + 0x10_0000,
            BACKEND_ISN + 1 + 0x8000_0000,
            u32::MAX,
        ] {
            let ack = scene.by_client(&connection).ack(guess);
            let expected = scene.as_backend_sees(&connection, ack.clone());
            scene.rig.send(&ack).transmitted_as(&expected).counts(&[]);
            assert_eq!(
                scene.state(&connection),
                Some((Table::HalfOpen, "syn_acked")),
                "acknowledging {guess}"
            );
        }
        scene
            .rig
            .send(&scene.by_client(&connection))
            .counts(&[Reason::FlowConfirmed]);
    }
}

/// RFC 7413: the backend may send data right behind its SYN-ACK, which the client acknowledges
/// along with it.
#[test]
fn an_acknowledgement_within_64_kib_of_the_syn_ack_confirms() {
    for mut scene in Scene::both() {
        for (n, beyond) in (0..).zip([1, 1_460, 0xffff]) {
            let connection = scene.open(scene.other_client(n));
            scene.backend_sends(&connection, scene.syn_ack(&connection));
            let too_far = scene.by_client(&connection).ack(BACKEND_ISN + 0x1_0001);
            scene.rig.send(&too_far).counts(&[]);
            let ack = scene.by_client(&connection).ack(BACKEND_ISN + 1 + beyond);
            scene.rig.send(&ack).counts(&[Reason::FlowConfirmed]);
        }
    }
}

#[test]
fn acknowledgement_numbers_wrap() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let syn_ack = scene.syn_ack(&connection).seq(u32::MAX);
        scene.backend_sends(&connection, syn_ack);
        let ack = scene.by_client(&connection).ack(0);
        scene.rig.send(&ack).counts(&[Reason::FlowConfirmed]);
    }
}

#[test]
fn nothing_confirms_before_the_syn_ack() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        for ack in [0, 1, BACKEND_ISN + 1] {
            let packet = scene.by_client(&connection).ack(ack).payload(b"early");
            scene.client_sends(&connection, packet);
        }
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "half_open"))
        );
    }
}

#[test]
fn a_syn_without_ack_flag_does_not_confirm() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        let syn = scene.syn(scene.client).ack(BACKEND_ISN + 1);
        scene.client_sends(&connection, syn);
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "syn_acked"))
        );
    }
}

#[test]
fn a_backend_that_refuses_is_heard_and_the_client_may_try_again() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let refusal = scene.by_backend(&connection).flags(RST | ACK).seq(0);
        scene.backend_sends(&connection, refusal);
        assert_eq!(scene.state(&connection), Some((Table::HalfOpen, "reset")));
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        let again = scene.open(scene.client);
        assert_eq!(again.backend_idx, 1, "a new flow, a new choice");
        assert_eq!(scene.state(&again), Some((Table::HalfOpen, "half_open")));
    }
}

/// A twin may be evicted by a flood. Its source port may then be another flow's.
#[test]
fn a_half_open_flow_that_lost_its_twin_starts_anew() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        scene.rig.delete_entry(connection.backend, connection.local);
        let again = scene.open(scene.client);
        assert_eq!(scene.state(&again), Some((Table::HalfOpen, "half_open")));
    }
}

/// The reset may have answered a straggler of the connection before.
#[test]
fn a_syn_ack_after_a_reset_still_counts() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let refusal = scene.by_backend(&connection).flags(RST | ACK).seq(0);
        scene.backend_sends(&connection, refusal);
        scene.backend_sends(&connection, scene.syn_ack(&connection));
        assert_eq!(
            scene.state(&connection),
            Some((Table::HalfOpen, "syn_acked"))
        );
        scene
            .rig
            .send(&scene.by_client(&connection))
            .counts(&[Reason::FlowConfirmed]);
    }
}

/// The head of a bucket knows entries by a tag of one byte.
#[test]
fn half_open_flows_with_the_same_tag_are_told_apart() {
    for mut scene in Scene::sized(Capacity::of_buckets(1)) {
        let vip = scene.vip;
        let tag = |client| Place::of(key_hash(client, vip), 1).tag;
        let first = scene.other_client(0);
        let second = (1..)
            .map(|n| scene.other_client(n))
            .find(|client| tag(*client) == tag(first))
            .expect("one client in 255 has the tag");
        let connections = [first, second].map(|client| scene.open(client));
        for connection in &connections {
            scene.client_sends(connection, scene.syn(connection.client));
            scene.backend_sends(connection, scene.syn_ack(connection));
        }
        for connection in &connections {
            let ack = scene.by_client(connection);
            scene.client_sends(connection, ack);
            assert_eq!(
                scene.state(connection),
                Some((Table::Confirmed, "established"))
            );
        }
    }
}

#[test]
fn the_syn_ack_follows_the_client_to_another_router() {
    for mut scene in Scene::both() {
        let connection = scene.open(scene.client);
        let (new_router, new_front) = (mac(51), mac(52));
        let syn = scene.syn(scene.client).macs(new_router, new_front);
        scene.client_sends(&connection, syn);
        let syn_ack = scene.syn_ack(&connection);
        let expected = scene
            .as_client_sees(&connection, syn_ack.clone())
            .macs(new_front, new_router);
        scene.rig.send(&syn_ack).transmitted_as(&expected);
    }
}
