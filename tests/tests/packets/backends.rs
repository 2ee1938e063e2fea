//! Backends and rings change under traffic: new flows follow, old ones do not notice.

use lb_common::{
    NO_BACKEND,
    backend::{Backend, flows, state as backend_state},
    reason::Reason,
};
use lb_tests::{
    packet::{flag::*, mac},
    rig::{Rig, Verdict},
};

use crate::scene::{BACK, Scene};

#[test]
pub fn a_backend_behind_another_interface_gets_its_packets_redirected() {
    for mut scene in Scene::both() {
        scene.rig.change_backend(0, |backend| backend.ifindex = 7);
        let syn = scene.syn(scene.client);
        let outcome = scene.rig.send(&syn);
        let local = outcome.counts(&[Reason::FlowNew]).segment().source;
        let expected = syn
            .from(local)
            .to(scene.backend(0))
            .macs(BACK, crate::scene::backend_mac(0))
            .one_hop_less();
        outcome.redirected_as(&expected);
    }
}

/// On a veth pair `XDP_TX` may not wake the receiver: there everything is redirected.
#[test]
fn packets_are_redirected_back_where_they_shall() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.redirect_back();
        let forth = scene.by_client(&connection).payload(b"data");
        let expected = scene.as_backend_sees(&connection, forth.clone());
        scene.rig.send(&forth).redirected_as(&expected);
        let back = scene.by_backend(&connection).payload(b"data");
        let expected = scene.as_client_sees(&connection, back.clone());
        scene.rig.send(&back).redirected_as(&expected);
        let stray = scene.syn(scene.other_client(1)).flags(ACK);
        let outcome = scene.rig.send(&stray);
        outcome.verdict(Verdict::Redirect).counts(&[Reason::NoFlow]);
        assert_eq!(outcome.segment().flags, RST, "\n{outcome}");
    }
}

/// The kernel resolves the next hop and forwards; it takes the hop off then, so that the program
/// must not.
#[test]
pub fn with_the_next_hop_unknown_the_rewritten_packet_goes_to_the_kernel() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        let data = scene.by_client(&connection).payload(b"data").ttl(2);
        let expected = data.clone().from(connection.local).to(connection.backend);
        let outcome = scene.rig.send(&data);
        outcome
            .passed_as(&expected)
            .counts(&[Reason::NextHopUnknown])
            .segment();

        // A new flow, too, is kept: what the backend answers must find it.
        let syn = scene.syn(scene.other_client(1));
        let outcome = scene.rig.send(&syn);
        let sent = outcome
            .verdict(Verdict::Pass)
            .counts(&[Reason::NextHopUnknown, Reason::FlowNew])
            .segment();
        assert_eq!(
            (sent.ttl, sent.destination),
            (64, scene.backend(0)),
            "\n{outcome}"
        );
        // Replies do not need the backend's next hop.
        scene.backend_sends(&connection, scene.by_backend(&connection));
    }
}

#[test]
fn a_new_next_hop_holds_from_the_next_packet_on() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| {
            (backend.local_mac, backend.peer_mac) = (mac(71), mac(72));
        });
        let data = scene.by_client(&connection).payload(b"data");
        let expected = scene
            .as_backend_sees(&connection, data.clone())
            .macs(mac(71), mac(72));
        scene.rig.send(&data).transmitted_as(&expected);
    }
}

#[test]
fn a_replaced_ring_moves_new_flows_only() {
    for mut scene in Scene::both() {
        scene.add_backend(1);
        let old: Vec<_> = (0..20)
            .map(|n| scene.establish(scene.other_client(n)))
            .collect();
        let half_open: Vec<_> = (20..40)
            .map(|n| scene.open(scene.other_client(n)))
            .collect();
        scene.rig.ring(0, |_| 1);
        for n in 40..60 {
            assert_eq!(scene.open(scene.other_client(n)).backend_idx, 1);
        }
        for connection in &old {
            scene.client_sends(connection, scene.by_client(connection));
            scene.backend_sends(connection, scene.by_backend(connection));
        }
        for connection in &half_open {
            scene.backend_sends(connection, scene.syn_ack(connection));
            scene
                .rig
                .send(&scene.by_client(connection))
                .counts(&[Reason::FlowConfirmed]);
        }
    }
}

#[test]
fn a_drained_backend_keeps_its_flows_and_gets_no_new_ones() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.add_backend(1);
        scene
            .rig
            .change_backend(0, |backend| backend.state = backend_state::DRAIN);
        scene.rig.ring(0, |_| 1);
        for n in 0..20 {
            assert_eq!(scene.open(scene.other_client(n)).backend_idx, 1);
            scene.client_sends(&connection, scene.by_client(&connection));
            scene.backend_sends(&connection, scene.by_backend(&connection));
        }
    }
}

#[test]
fn a_backend_that_comes_back_takes_flows_again() {
    for mut scene in Scene::both() {
        let before = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::DOWN;
            backend.flows = flows::RESET;
        });
        scene.rig.service(0, 0);
        scene.rig.ring(0, |_| NO_BACKEND);
        let syn = scene.syn(scene.other_client(1));
        scene.rig.send(&syn).counts(&[Reason::NoBackend]);
        scene.add_backend(0);
        scene.rig.ring(0, |_| 0);
        scene.rig.service(0, 1);
        scene.open(scene.other_client(1));
        // A flow that nobody spoke on meanwhile goes on.
        scene.client_sends(&before, scene.by_client(&before));
    }
}

/// Removed from the configuration: its entry stays, marked, for as long as flows refer to it.
#[test]
fn flows_of_a_removed_backend_are_reset() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.rig.change_backend(0, |backend| {
            backend.state = backend_state::REMOVED;
            backend.flows = flows::RESET;
        });
        let data = scene.by_client(&connection).payload(b"data");
        scene
            .rig
            .send(&data)
            .verdict(Verdict::Tx)
            .counts(&[Reason::BackendDown]);
    }
}

/// An index beyond the map can only come from a broken entry; the packet has nowhere to go.
#[test]
fn a_flow_of_an_impossible_backend_is_dropped() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let (client, vip) = (scene.client, scene.vip);
        scene
            .rig
            .change_entry(client, vip, |entry| entry.backend_idx = u32::MAX);
        let data = scene.by_client(&connection).payload(b"data");
        scene.rig.send(&data).dropped(Reason::TableError);
    }
}

/// A vip whose service has no ring yet: nothing to choose from.
#[test]
fn a_service_without_a_ring_forwards_nothing() {
    for mut scene in Scene::both() {
        let mut other = scene.vip;
        other.set_port(443);
        scene.rig.vip(other, 9);
        scene.rig.service(9, 1);
        let syn = scene.syn(scene.client).to(other);
        let outcome = scene.rig.send(&syn);
        assert!(
            matches!(outcome.counted.as_slice(), [(reason, 1)]
                if [Reason::NoBackend, Reason::TableError].contains(reason)),
            "\n{outcome}"
        );
    }
}

/// The daemon writes a zeroed entry where a backend was: the flow must not reach address 0.
#[test]
fn a_backend_entry_that_was_freed_sends_nothing_to_nowhere() {
    for mut scene in Scene::both() {
        scene.rig.backend(
            0,
            Backend {
                address: Rig::address_words(scene.backend(0).ip()),
                ..Backend::FREE
            },
        );
        let syn = scene.syn(scene.client);
        scene.rig.send(&syn).counts(&[Reason::NoBackend]);
    }
}
