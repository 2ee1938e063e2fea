//! ICMP errors that reach nobody: about no flow, or a dead backend's; those that contradict themselves; and by
//! where the others leave.

use std::net::SocketAddr;

use lb_common::{
    PROTOCOL_TCP,
    backend::{flows, state as backend_state},
    reason::Reason,
    service::mode,
};
use lb_tests::packet::Packet;

use crate::{
    icmp_errors::{Told, WHOLE, error, header},
    scene::{Connection, FRONT, ROUTER},
};

#[test]
fn errors_about_no_flow_pass_untouched() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let (client, vip) = (told.scene.client, told.scene.vip);
        let Connection { local, backend, .. } = told.connection;
        let other = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
        let stranger = told.scene.stranger_at(80);
        for (source, destination, reason) in [
            (vip, other(client), Reason::IcmpNoFlow),
            (other(vip), client, Reason::NotOurs),
            (other(local), backend, Reason::NotOurs),
            (local, other(backend), Reason::NotOurs),
            (stranger, client, Reason::NotOurs),
        ] {
            let quoted = told.packet(source, destination);
            let packet = error(destination.ip(), &quoted, source.ip(), WHOLE);
            told.scene.rig.send(&packet).passed_untouched(reason);
        }
        // UDP has flows of its own.
        let quoted = Packet::udp(vip, client);
        let packet = error(client.ip(), &quoted, vip.ip(), WHOLE);
        let outcome = told.scene.rig.send(&packet);
        outcome.passed_untouched(Reason::NotOurs);
        // Neither TCP nor UDP.
        let quoted = Packet::ping(vip.ip(), client.ip());
        let packet = error(client.ip(), &quoted, vip.ip(), WHOLE);
        let outcome = told.scene.rig.send(&packet);
        outcome.passed_untouched(Reason::NotOurs);
        assert_eq!(told.scene.rig.entry(other(client), vip), None);
    }
}

#[test]
fn errors_that_contradict_themselves_pass_untouched() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let v4 = told.v4();
        let (client, vip) = (told.scene.client, told.scene.vip);
        let [quoted, _] = told.to_client();
        let least = header(v4) + 8;
        let good = |bytes| error(client.ip(), &quoted, vip.ip(), bytes).macs(ROUTER, FRONT);
        let mut packets: Vec<(String, Vec<u8>)> = Vec::new();
        // Bytes within a frame that quotes a packet.
        let changed = |name: &str, at: usize, bytes: &[u8]| {
            let mut frame = good(WHOLE).build();
            let start = 14 + header(v4) + 8 + at;
            frame[start..start + bytes.len()].copy_from_slice(bytes);
            (name.to_owned(), frame)
        };
        for bytes in 0..least {
            packets.push((format!("{bytes} bytes"), good(bytes).build()));
            let padded = good(bytes).padded_by(60).build();
            packets.push((format!("{bytes} bytes and padding"), padded));
        }
        let to_another = error(client.ip(), &quoted, told.scene.stranger(), WHOLE);
        packets.push(("for another".to_owned(), to_another.build()));
        let length_at = if v4 { 2 } else { 4 };
        let of_headers = if v4 { 40_u16 } else { 20 };
        for less in [1, 12, 20] {
            let claimed = (of_headers - less).to_be_bytes();
            packets.push(changed("too short by its own length", length_at, &claimed));
        }
        if v4 {
            for first in [0x65, 0x44, 0x55, 0x05] {
                packets.push(changed("no IPv4 header", 0, &[first]));
            }
            packets.push(changed("options beyond its length", 0, &[0x4f]));
        } else {
            for first in [0x45, 0x50, 0x70, 0x00] {
                packets.push(changed("no IPv6 header", 0, &[first]));
            }
        }
        for (name, frame) in packets {
            eprintln!("{name}");
            let outcome = told.scene.rig.send_frame(&frame);
            outcome.passed_untouched(Reason::IcmpMalformed);
        }
        // A quoted fragment that is not the first has no ports.
        let later = quoted.clone().fragment(8, true);
        let packet = error(client.ip(), &later, vip.ip(), WHOLE);
        let outcome = told.scene.rig.send(&packet);
        outcome.passed_untouched(Reason::IcmpNoFlow);
        let outcome = told.scene.rig.send(&good(WHOLE).fragment(0, true));
        outcome.passed_untouched(Reason::IcmpFragment);
        // The first one has, and the error itself comes whole.
        for pair in told.both_ways(|packet| packet.fragment(0, true), WHOLE) {
            told.goes_on(&pair);
        }
    }
}

#[test]
fn errors_about_flows_of_a_dead_backend_go_nowhere() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        for state in [backend_state::DOWN, backend_state::REMOVED] {
            told.scene.rig.change_backend(0, |backend| {
                (backend.state, backend.flows) = (state, flows::RESET);
            });
            for [comes, _] in told.both_ways(|packet| packet, WHOLE) {
                told.scene.rig.send(&comes).dropped(Reason::IcmpBackendDown);
            }
        }
        // With `on_down: keep` its flows go on, and so do these.
        told.scene
            .rig
            .change_backend(0, |backend| backend.flows = flows::FORWARD);
        for pair in told.both_ways(|packet| packet, WHOLE) {
            told.goes_on(&pair);
        }
    }
}

#[test]
fn the_hop_limit_ends_an_error_before_it_reaches_zero() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        for ttl in [0, 1] {
            for [comes, _] in told.both_ways(|packet| packet, WHOLE) {
                let outcome = told.scene.rig.send(&comes.ttl(ttl));
                outcome.dropped(Reason::IcmpUndeliverable);
            }
        }
        for [comes, goes] in told.both_ways(|packet| packet, WHOLE) {
            told.goes_on(&[comes.ttl(2), goes.ttl(1)]);
        }
    }
}

#[test]
fn errors_leave_as_the_flows_packets_do() {
    for mut told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let [[comes, goes], _] = told.both_ways(|packet| packet, WHOLE);
        told.scene
            .rig
            .change_backend(0, |backend| backend.ifindex = 7);
        told.scene.rig.send(&comes).redirected_as(&goes);
        told.scene
            .rig
            .change_backend(0, |backend| backend.ifindex = 0);
        let unresolved = goes.macs(ROUTER, FRONT).ttl(64);
        let outcome = told.scene.rig.send(&comes);
        outcome
            .passed_as(&unresolved)
            .counts(&[Reason::IcmpError, Reason::NextHopUnknown]);
        let Connection { local, backend, .. } = told.connection;
        let rig = &mut told.scene.rig;
        rig.change_entry(backend, local, |entry| entry.ifindex = 9);
        let [_, [comes, goes]] = told.both_ways(|packet| packet, WHOLE);
        told.scene.rig.send(&comes).redirected_as(&goes);
    }
}
