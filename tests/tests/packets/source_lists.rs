//! Lists of sources: who may open flows, and that nobody else is touched by them.

use std::net::SocketAddr;

use lb_common::{
    reason::Reason,
    service::mode,
    sources::access::{ALLOW, DENY},
};
use lb_tests::{
    packet::flag::*,
    rig::{Table, Verdict},
};

use crate::{resets::is_reset, scene::*};

/// Scenes whose service obeys these entries, `(IPv4, IPv6, access)`.
fn scenes(mode: u8, entries: &[(&str, &str, u32)]) -> [Scene; 2] {
    let mut scenes = Scene::in_mode(mode);
    for scene in &mut scenes {
        scene.rig.obey_lists(0);
        for (v4, v6, access) in entries {
            scene.rig.source(0, by_family(scene, v4, v6), *access);
        }
    }
    scenes
}

fn by_family<'t>(scene: &Scene, v4: &'t str, v6: &'t str) -> &'t str {
    if scene.client.is_ipv4() { v4 } else { v6 }
}

/// A client of the scene's family.
fn client(scene: &Scene, v4: &str, v6: &str) -> SocketAddr {
    let address = by_family(scene, v4, v6).parse().expect("an address");
    SocketAddr::new(address, 40_000)
}

#[track_caller]
fn denied(scene: &mut Scene, client: SocketAddr) {
    let syn = scene.syn(client);
    scene.rig.send(&syn).dropped(Reason::SourceDenied);
    assert_eq!(scene.rig.entry(client, scene.vip), None);
}

const REST: (&str, &str, u32) = ("0.0.0.0/0", "::/0", DENY);
const NET: (&str, &str) = ("192.0.2.0/24", "2001:db8:2::/48");

#[test]
fn an_allow_list_lets_in_what_it_names() {
    for mut scene in scenes(mode::NAT, &[REST, (NET.0, NET.1, ALLOW)]) {
        for (v4, v6) in [
            ("192.0.2.0", "2001:db8:2::"),
            ("192.0.2.255", "2001:db8:2:ffff::9"),
        ] {
            let client = client(&scene, v4, v6);
            scene.open(client);
        }
        for (v4, v6) in [
            ("192.0.1.255", "2001:db8:1:ffff::"),
            ("192.0.3.0", "2001:db8:3::"),
            ("198.51.100.7", "2001:db8:c::7"),
        ] {
            let client = client(&scene, v4, v6);
            denied(&mut scene, client);
        }
    }
}

#[test]
fn a_deny_list_keeps_out_what_it_names() {
    let single = ("198.51.100.7/32", "2001:db8:c::7/128", DENY);
    for mut scene in scenes(mode::NAT, &[single, (NET.0, NET.1, DENY)]) {
        for (v4, v6) in [
            ("198.51.100.6", "2001:db8:c::6"),
            ("192.0.3.0", "2001:db8:3::"),
        ] {
            let client = client(&scene, v4, v6);
            scene.open(client);
        }
        for (v4, v6) in [
            ("198.51.100.7", "2001:db8:c::7"),
            ("192.0.2.9", "2001:db8:2::9"),
        ] {
            let client = client(&scene, v4, v6);
            denied(&mut scene, client);
        }
    }
}

#[test]
fn the_longest_prefix_decides() {
    for (outer, inner) in [(ALLOW, DENY), (DENY, ALLOW)] {
        let entries = [
            (NET.0, NET.1, outer),
            ("192.0.2.128/25", "2001:db8:2:8000::/49", inner),
            ("192.0.2.129/32", "2001:db8:2:8000::1/128", outer),
        ];
        for mut scene in scenes(mode::NAT, &entries) {
            for (v4, v6, access) in [
                ("192.0.2.127", "2001:db8:2:7fff::1", outer),
                ("192.0.2.128", "2001:db8:2:8000::", inner),
                ("192.0.2.129", "2001:db8:2:8000::1", outer),
                ("192.0.2.130", "2001:db8:2:8000::2", inner),
            ] {
                let client = client(&scene, v4, v6);
                if access == ALLOW {
                    scene.open(client);
                } else {
                    denied(&mut scene, client);
                }
            }
        }
    }
}

#[test]
fn lists_of_another_service_or_family_do_not_matter() {
    for mut scene in Scene::both() {
        // Its lists are not obeyed, so that they may be written before.
        scene
            .rig
            .source(0, by_family(&scene, "0.0.0.0/0", "::/0"), DENY);
        scene.open(scene.client);
        // An entry of the other family.
        let other = by_family(&scene, "::/0", "0.0.0.0/0");
        for service_idx in [1, 256] {
            scene.rig.vip(
                SocketAddr::new(scene.vip.ip(), 8_000 + service_idx as u16),
                service_idx,
            );
            scene.rig.service(service_idx, 1);
            scene.rig.ring(service_idx, |_| 0);
            scene.rig.obey_lists(service_idx);
            scene.rig.source(service_idx, other, DENY);
        }
        for port in [8_001, 8_256] {
            let syn = scene
                .syn(scene.client)
                .to(SocketAddr::new(scene.vip.ip(), port));
            scene
                .rig
                .send(&syn)
                .counts(&[Reason::FlowNew])
                .transmitted();
        }
        scene.rig.obey_lists(0);
        let other = scene.other_client(0);
        denied(&mut scene, other);
    }
}

/// Who may come learns that there is no such connection; who may not learns nothing.
#[test]
fn a_denied_segment_that_is_no_syn_is_not_answered() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in scenes(mode, &[("192.0.0.0/16", "2001:db8:c::1:0/112", DENY)]) {
            let outcome = scene.rig.send(&scene.ack(scene.client));
            is_reset(&outcome, &scene, Reason::NoFlow, (BACKEND_ISN + 1, 0, RST));
            let other = scene.other_client(0);
            for flags in [ACK, FIN | ACK, SYN | ACK, RST] {
                let packet = scene.ack(other).flags(flags);
                scene.rig.send(&packet).dropped(Reason::SourceDenied);
            }
        }
    }
}

#[test]
fn where_backends_answer_themselves_any_packet_without_flow_is_judged() {
    let entries = [("192.0.0.0/16", "2001:db8:c::1:0/112", DENY)];
    for mut scene in scenes(mode::DSR, &entries) {
        let other = scene.other_client(0);
        denied(&mut scene, other);
        for flags in [ACK, FIN | ACK, RST] {
            let packet = scene.ack(other).flags(flags);
            scene.rig.send(&packet).dropped(Reason::SourceDenied);
        }
        assert_eq!(scene.rig.entry(other, scene.vip), None);
        let client = scene.client;
        scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
        scene.passes_on(&scene.ack(client), 0, &[Reason::FlowConfirmed]);
        scene
            .rig
            .source(0, by_family(&scene, "0.0.0.0/0", "::/0"), DENY);
        scene.passes_on(&scene.ack(client), 0, &[]);
    }
}

#[test]
fn a_flow_that_is_open_goes_on_until_it_ends() {
    for mut scene in scenes(mode::NAT, &[]) {
        let client = scene.client;
        let half_open = scene.open(scene.other_client(0));
        let connection = scene.establish(client);
        scene
            .rig
            .source(0, by_family(&scene, "0.0.0.0/0", "::/0"), DENY);
        let data = scene.by_client(&connection).payload(b"data");
        scene.client_sends(&connection, data);
        let data = scene.by_backend(&connection).payload(b"data");
        scene.backend_sends(&connection, data);
        let syn = scene.syn(half_open.client);
        scene.rig.send(&syn).verdict(Verdict::Tx);

        let reset = scene.by_client(&connection).flags(RST);
        scene.client_sends(&connection, reset);
        assert_eq!(scene.state(&connection), Some((Table::Confirmed, "reset")));
        let syn = scene.syn(client);
        scene.rig.send(&syn).dropped(Reason::SourceDenied);
    }
}
