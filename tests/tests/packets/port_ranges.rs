//! Vips that are ranges of ports, and backends that get packets on the port that was asked for.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    reason::Reason,
    service::{mode, setting},
};
use lb_tests::{packet::Packet, packet::flag::*, rig::Table};
use lb_userspace::config::{PortRange, Vip};

use crate::scene::{BACK, Connection, Scene, backend_mac};

/// An address with ports on which the scene has no vip yet.
fn host(scene: &Scene) -> IpAddr {
    scene.stranger()
}

/// Makes a range of ports of this address a vip.
fn add_range(scene: &mut Scene, first: u16, last: u16, service_idx: u32) {
    let address = host(scene);
    let ports = PortRange { first, last };
    scene.rig.vip_range(Vip { address, ports }, service_idx);
}

/// Services 1 and 2 are led to backends 1 and 2.
fn add_services(scene: &mut Scene) {
    for n in [1, 2] {
        scene.rig.service(n, 1);
        scene.add_backend(n);
        scene.rig.ring(n, |_| n);
    }
}

/// Which backend's flow a SYN to this port opens; none where it passes untouched.
#[track_caller]
fn opens(scene: &mut Scene, port: u16) -> Option<u32> {
    scene.vip = SocketAddr::new(host(scene), port);
    let syn = scene.syn(scene.client);
    let outcome = scene.rig.send(&syn);
    if outcome.counted == [(Reason::NotOurs, 1)] {
        outcome.passed_untouched(Reason::NotOurs);
        return None;
    }
    let outcome = outcome.counts(&[Reason::FlowNew]);
    let destination = outcome.transmitted().destination;
    (0..3).find(|idx| scene.backend(*idx) == destination)
}

#[test]
fn a_range_takes_its_ports_and_no_other() {
    for mut scene in Scene::both() {
        add_range(&mut scene, 8_000, 8_100, 0);
        for port in [8_000, 8_001, 8_063, 8_064, 8_099, 8_100] {
            assert_eq!(opens(&mut scene, port), Some(0), "port {port}");
        }
        for port in [0, 1, 22, 7_999, 8_101, 8_127, 16_192, 65_535] {
            assert_eq!(opens(&mut scene, port), None, "port {port}");
        }
        // What else is for such an address passes untouched too.
        for flags in [ACK, RST, SYN | ACK] {
            let packet = scene
                .syn(scene.client)
                .to(SocketAddr::new(host(&scene), 22));
            scene
                .rig
                .send(&packet.flags(flags))
                .passed_untouched(Reason::NotOurs);
        }
    }
}

#[test]
fn all_ports_are_all_but_port_0() {
    for mut scene in Scene::both() {
        add_range(&mut scene, 1, u16::MAX, 0);
        for port in [1, 2, 80, 255, 256, 32_767, 32_768, 65_534, 65_535] {
            assert_eq!(opens(&mut scene, port), Some(0), "port {port}");
        }
        assert_eq!(opens(&mut scene, 0), None);
    }
}

#[test]
fn the_most_special_vip_with_a_port_has_it() {
    for mut scene in Scene::both() {
        add_services(&mut scene);
        add_range(&mut scene, 1, u16::MAX, 0);
        add_range(&mut scene, 8_000, 8_100, 1);
        let exact = SocketAddr::new(host(&scene), 8_050);
        scene.rig.vip(exact, 2);
        for (port, backend_idx) in [
            (7_999, 0),
            (8_000, 1),
            (8_049, 1),
            (8_050, 2),
            (8_051, 1),
            (8_100, 1),
            (8_101, 0),
        ] {
            assert_eq!(opens(&mut scene, port), Some(backend_idx), "port {port}");
        }
    }
}

/// Without the setting nobody looks for ranges.
#[test]
fn ranges_are_looked_for_where_setting_and_filter_say_so() {
    for mut scene in Scene::both() {
        add_range(&mut scene, 8_000, 8_100, 0);
        let mut admitting = None;
        scene.rig.change_settings(|settings| {
            admitting = Some(*settings);
            settings.flags &= !setting::RANGES;
        });
        assert_eq!(opens(&mut scene, 8_000), None);
        scene.rig.admit_everything();
        assert_eq!(opens(&mut scene, 8_000), None);
        let admitting = admitting.expect("it was kept");
        scene.rig.change_settings(|settings| {
            *settings = admitting;
            settings.filter.fill(0);
        });
        assert_eq!(opens(&mut scene, 8_000), None);
        scene.rig.change_settings(|settings| *settings = admitting);
        assert_eq!(opens(&mut scene, 8_000), Some(0));
    }
}

/// The scenes in this mode, their backend without a port and their vip a range.
fn without_port(mode: u8) -> [Scene; 2] {
    Scene::in_mode(mode).map(|mut scene| {
        add_range(&mut scene, 1, u16::MAX, 0);
        scene.rig.change_backend(0, |backend| backend.port_be = 0);
        if mode == mode::ROUTE {
            let any_port = SocketAddr::new(scene.backend(0).ip(), 0);
            scene.rig.change_settings(|settings| {
                settings.filter.fill(0);
                settings.flags = 0;
            });
            add_range(&mut scene, 1, u16::MAX, 0);
            scene.rig.route(any_port);
        }
        scene
    })
}

/// A whole connection: the backend gets its packets on the port that the client asked for, and what
/// it answers finds back.
#[test]
fn a_backend_without_a_port_gets_each_flow_on_the_port_asked_for() {
    for mode in [mode::NAT, mode::ROUTE] {
        for mut scene in without_port(mode) {
            for port in [1, 80, 443, 40_000, 65_535] {
                scene.vip = SocketAddr::new(host(&scene), port);
                let backend = SocketAddr::new(scene.backend(0).ip(), port);
                let client = SocketAddr::new(scene.client.ip(), 20_000 + port / 10);
                let syn = scene.syn(client);
                let outcome = scene.rig.send(&syn);
                let sent = outcome.counts(&[Reason::FlowNew]).transmitted();
                assert_eq!(sent.destination, backend);
                let local = sent.source;
                assert_eq!(local == client, mode == mode::ROUTE);

                let connection = Connection {
                    client,
                    local,
                    backend,
                    backend_idx: 0,
                };
                scene.backend_sends(&connection, scene.syn_ack(&connection));
                scene.client_sends(&connection, scene.by_client(&connection));
                assert_eq!(
                    scene.state(&connection),
                    Some((Table::Confirmed, "established"))
                );
                let data = scene.by_backend(&connection).payload(b"data");
                scene.backend_sends(&connection, data);
            }
        }
    }
}

/// Nobody knows from which port such a backend answers; without the setting only its own is looked for.
#[test]
fn replies_from_any_port_are_looked_for_where_the_setting_says_so() {
    for mut scene in without_port(mode::ROUTE) {
        scene.vip = SocketAddr::new(host(&scene), 443);
        let syn = scene.syn(scene.client);
        scene.rig.send(&syn).counts(&[Reason::FlowNew]);
        let backend = SocketAddr::new(scene.backend(0).ip(), 443);
        let syn_ack = Packet::tcp(backend, scene.client)
            .macs(backend_mac(0), BACK)
            .flags(SYN | ACK);
        scene
            .rig
            .change_settings(|settings| settings.flags &= !setting::ROUTE_ANY_PORT);
        scene.rig.send(&syn_ack).passed_untouched(Reason::NotOurs);
        scene
            .rig
            .change_settings(|settings| settings.flags |= setting::ROUTE_ANY_PORT);
        scene.rig.send(&syn_ack).transmitted();
        // Its own connections are not ours.
        let own = Packet::tcp(backend, scene.stranger_at(40_000));
        let other = Packet::tcp(SocketAddr::new(backend.ip(), 50_000), scene.client);
        for packet in [own.from(SocketAddr::new(backend.ip(), 22)), other] {
            let to_client = packet.to(SocketAddr::new(scene.client.ip(), 9));
            scene.rig.send(&to_client).passed_untouched(Reason::NotOurs);
        }
    }
}

/// A half-open flow is checked against its backend's entry, which has no port to compare.
#[test]
fn a_half_open_flow_of_a_backend_without_a_port_goes_on() {
    for mode in [mode::NAT, mode::ROUTE, mode::DSR] {
        for mut scene in without_port(mode) {
            scene.vip = SocketAddr::new(host(&scene), 8_443);
            let syn = scene.syn(scene.client);
            scene.rig.send(&syn).counts(&[Reason::FlowNew]);
            let entry = scene.rig.entry(scene.client, scene.vip).expect("a flow");
            assert_eq!(entry.destination.port(), 8_443);
            // The same SYN again belongs to it.
            let outcome = scene.rig.send(&syn);
            assert!(outcome.counted.is_empty(), "{outcome}");
            outcome.transmitted();
        }
    }
}
