//! Packets of confirmed flows: rewritten, forwarded, otherwise as they were.

use lb_common::reason::Reason;
use lb_tests::{
    packet::{Extension, Packet, TcpOption, flag::*, mac, oracle},
    rig::{Table, Verdict},
};

use crate::scene::{FRONT, ROUTER, Scene};

/// Every kind of packet that a connection may carry, each way.
#[test]
pub fn packets_pass_both_ways_as_they_are() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 10] = [
        ("bare ack", |p| p),
        ("data", |p| p.flags(PSH | ACK).payload(b"some data")),
        ("odd length", |p| p.flags(PSH | ACK).payload(b"odd")),
        ("full frame", |p| p.payload(&[0x5a; 1_400])),
        ("jumbo frame", |p| p.payload(&[0xa5; 3_000])),
        ("options", |p| {
            p.options(&TcpOption::of_data()).payload(b"timed")
        }),
        ("urgent", |p| p.flags(URG | PSH | ACK).payload(b"!")),
        ("all flags of ECN", |p| p.flags(ACK | 0xc0)),
        ("closed window", |p| p.window(0)),
        ("padded to the least frame", |p| p.padded_by(6)),
    ];
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        for (name, make) in kinds {
            eprintln!("{name}");
            let forth = make(scene.by_client(&connection));
            scene.client_sends(&connection, forth);
            let back = make(scene.by_backend(&connection));
            scene.backend_sends(&connection, back);
        }
        assert_eq!(
            scene.state(&connection),
            Some((Table::Confirmed, "established"))
        );
    }
}

#[test]
pub fn ipv4_options_pass_untouched() {
    let [mut scene, _] = Scene::both();
    let syn = scene.syn(scene.client).ip_options(10);
    let sent = scene.rig.send(&syn).counts(&[Reason::FlowNew]).segment();
    assert_eq!(sent.ip_extra, [1; 40]);
    let connection = scene.open(scene.other_client(0));
    for words in 1..=10 {
        let packet = scene.by_client(&connection).ip_options(words);
        scene.client_sends(&connection, packet.payload(b"x"));
        let packet = scene.by_backend(&connection).ip_options(words);
        scene.backend_sends(&connection, packet.payload(b"x"));
    }
}

#[test]
pub fn ipv6_extension_headers_pass_untouched() {
    let chains: [&[Extension]; 5] = [
        &[Extension::HopByHop { units: 1 }],
        &[Extension::Routing { segments_left: 0 }],
        &[Extension::Destination { units: 5 }],
        &[
            Extension::HopByHop { units: 2 },
            Extension::Destination { units: 1 },
            Extension::Routing { segments_left: 0 },
            Extension::Destination { units: 3 },
        ],
        &[Extension::HopByHop { units: 64 }],
    ];
    let [_, mut scene] = Scene::both();
    for (n, chain) in (0..).zip(chains) {
        let with_chain = |packet: Packet| chain.iter().fold(packet, |p, e| p.extension(*e));
        let syn = with_chain(scene.syn(scene.other_client(n)));
        scene
            .rig
            .send(&syn)
            .counts(&[Reason::FlowNew])
            .transmitted();
        let connection = scene.open(scene.other_client(100 + n));
        let forth = with_chain(scene.by_client(&connection)).payload(b"forth");
        scene.client_sends(&connection, forth);
        let back = with_chain(scene.by_backend(&connection)).payload(b"back");
        scene.backend_sends(&connection, back);
    }
}

/// A checksum that was wrong stays wrong: to mend it would hide the damage from the receiver.
#[test]
fn damage_is_not_mended() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        for error in [1, 0x8000, 0xfffe] {
            let damaged = scene
                .by_client(&connection)
                .payload(b"damaged")
                .tcp_checksum_off_by(error);
            let outcome = scene.rig.send(&damaged);
            let (_, defects) = oracle::read(&outcome.verdict(Verdict::Tx).frame).unwrap();
            assert_eq!(defects.len(), 1, "still wrong\n{outcome}");
        }
    }
}

#[test]
fn a_syn_on_an_established_flow_changes_nothing() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        scene.add_backend(1);
        scene.rig.ring(0, |_| 1);
        let syn = scene.syn(scene.client).seq(77);
        let expected = scene.as_backend_sees(&connection, syn.clone());
        scene.rig.send(&syn).transmitted_as(&expected).counts(&[]);
        assert_eq!(
            scene.state(&connection),
            Some((Table::Confirmed, "established"))
        );
    }
}

#[test]
pub fn each_packet_counts_for_its_backend() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let before = scene.rig.stats(0);
        assert_eq!(
            (before.flows, before.packets_in, before.packets_out),
            (1, 2, 1)
        );
        let forth = scene.by_client(&connection).payload(&[0; 100]);
        let back = scene.by_backend(&connection).payload(&[0; 1_000]);
        let (forth_len, back_len) = (forth.build().len() as u64, back.build().len() as u64);
        scene.client_sends(&connection, forth);
        scene.backend_sends(&connection, back.clone());
        scene.backend_sends(&connection, back);
        let after = scene.rig.stats(0);
        assert_eq!(after.flows, 1);
        assert_eq!(after.packets_in, before.packets_in + 1);
        assert_eq!(after.bytes_in, before.bytes_in + forth_len);
        assert_eq!(after.packets_out, before.packets_out + 2);
        assert_eq!(after.bytes_out, before.bytes_out + 2 * back_len);
    }
}

#[test]
fn the_hop_limit_ends_a_packet_before_it_reaches_zero() {
    for mut scene in Scene::both() {
        let syn = scene.syn(scene.client).ttl(1);
        scene.rig.send(&syn).dropped(Reason::TtlExpired);
        assert_eq!(
            scene.rig.entry(scene.client, scene.vip),
            None,
            "no flow for a packet that goes nowhere"
        );
        let connection = scene.establish(scene.client);
        for packet in [scene.by_client(&connection), scene.by_backend(&connection)] {
            scene.rig.send(&packet.ttl(1)).dropped(Reason::TtlExpired);
        }
        for ttl in [2, 255] {
            scene.client_sends(&connection, scene.by_client(&connection).ttl(ttl));
            scene.backend_sends(&connection, scene.by_backend(&connection).ttl(ttl));
        }
    }
}

#[test]
fn replies_follow_the_client_to_another_router() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let (new_router, new_front) = (mac(51), mac(52));
        let forth = scene.by_client(&connection).macs(new_router, new_front);
        scene.client_sends(&connection, forth);
        let back = scene.by_backend(&connection);
        let expected = scene
            .as_client_sees(&connection, back.clone())
            .macs(new_front, new_router);
        scene.rig.send(&back).transmitted_as(&expected).counts(&[]);
        // And back again.
        scene.client_sends(&connection, scene.by_client(&connection));
        scene.backend_sends(&connection, scene.by_backend(&connection));
    }
}

#[test]
pub fn replies_follow_the_client_to_another_interface() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let (client, vip) = (scene.client, scene.vip);
        for (from, to) in [(client, vip), (connection.backend, connection.local)] {
            scene.rig.change_entry(from, to, |entry| entry.ifindex = 77);
        }
        let back = scene.by_backend(&connection);
        let expected = scene.as_client_sees(&connection, back.clone());
        scene.rig.send(&back).redirected_as(&expected).counts(&[]);
        scene.client_sends(&connection, scene.by_client(&connection));
        scene.backend_sends(&connection, back);
    }
}

/// A packet that only claims to come from the backend must not move the client's next hop.
#[test]
fn replies_do_not_teach_the_clients_next_hop() {
    for mut scene in Scene::both() {
        let connection = scene.establish(scene.client);
        let back = scene.by_backend(&connection).macs(mac(61), mac(62));
        scene.backend_sends(&connection, back);
        let entry = scene
            .rig
            .entry(connection.backend, connection.local)
            .unwrap();
        assert_eq!((entry.peer_mac, entry.local_mac), (ROUTER, FRONT));
    }
}
