//! What the mode of a service means for the tables.

use lb_common::service::{VipKey, mode, setting};

use super::{
    super::{address_of, identity_of},
    *,
};

/// One service in this mode, with vips and backends as given, ports all 80.
fn service(mode: &str, vips: &[&str], backends: &[&str]) -> String {
    let listen: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    let mut yaml = format!(
        "interfaces: [eth0]\nservices:\n  - name: web\n    listen: [{}]\n    mode: {mode}\n    backends:\n",
        listen.join(", ")
    );
    for (number, backend) in backends.iter().enumerate() {
        yaml.push_str(&format!(
            "      - {{ name: b{number}, address: \"{backend}\" }}\n"
        ));
    }
    yaml
}

const VIP4: &str = "203.0.113.10:80";
const VIP6: &str = "[2001:db8::10]:80";
const BACKEND4: &str = "10.0.0.11:80";
const BACKEND6: &str = "[fd00::11]:80";

/// The backends that a vip's ring leads to, by address.
fn served_by(world: &World, vip: &str) -> Vec<SocketAddr> {
    let vip: SocketAddr = vip.parse().expect("a vip");
    let (address, port_be) = (words(vip.ip()), vip.port().to_be());
    let (protocol, pad) = (6, 0);
    let service_idx = if vip.is_ipv4() {
        let address = unmapped(&address);
        let key = VipKey {
            address,
            port_be,
            protocol,
            pad,
        };
        world.applied.vips4[&key]
    } else {
        let key = VipKey {
            address,
            port_be,
            protocol,
            pad,
        };
        world.applied.vips6[&key]
    };
    let mut backends = world.applied.rings[&service_idx].slots.to_vec();
    backends.sort_unstable();
    backends.dedup();
    (backends.iter())
        .map(|idx| address_of(&world.applied.backends[idx]))
        .collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn a_vip_is_served_by_its_own_family_and_by_the_other_where_it_has_none() {
    for mode in ["dsr", "ipip", "gue"] {
        let mut world = World::new(&service(mode, &[VIP4, VIP6], &[BACKEND4, BACKEND6]));
        world.step();
        assert_eq!(served_by(&world, VIP4), [address(BACKEND4)], "{mode}");
        assert_eq!(served_by(&world, VIP6), [address(BACKEND6)], "{mode}");
        for backend in [BACKEND4, BACKEND6] {
            let mut world = World::new(&service(mode, &[VIP4, VIP6], &[backend]));
            world.step();
            for vip in [VIP4, VIP6] {
                assert_eq!(served_by(&world, vip), [address(backend)], "{mode}");
            }
            assert_eq!(world.applied.backends.len(), 1);
        }
    }
}

#[test]
fn a_dsr_backend_behind_a_router_is_not_in_the_ring() {
    for (mode, used) in [("dsr", false), ("ipip", true)] {
        let mut world = World::new(&service(mode, &[VIP4], &[BACKEND4, "10.0.0.12:80"]));
        let far = address(BACKEND4);
        let hop = world
            .next_hops
            .get_mut(&"10.0.0.11".parse().expect("an address"));
        hop.expect("it has one").gateway = Some("10.0.0.1".parse().expect("an address"));
        world.step();
        assert_eq!(served_by(&world, VIP4).contains(&far), used, "{mode}");
    }
}

#[test]
fn outer_packets_come_from_the_prefix_or_else_from_this_host() {
    let yaml = service("gue", &[VIP4, VIP6], &[BACKEND4]);
    let mut world = World::new(&yaml);
    world.step();
    let tunnel = world.applied.tunnels[&0];
    assert_eq!(
        tunnel.source,
        words("10.0.0.5".parse().expect("an address"))
    );
    assert_eq!(tunnel.spread, [0; 4]);
    assert_eq!((tunnel.version, tunnel.variant, tunnel.mtu), (4, 0, 1500));
    assert_eq!(tunnel.port_be, 6080_u16.to_be());

    let of = "    tunnel: { sources: [10.9.0.0/16, \"fd00:9::/64\"], port: 5555, variant: 1 }\n";
    world.config = parse(
        &yaml
            .replace("    backends:", &format!("{of}    backends:"))
            .replace(
                BACKEND4,
                &format!("{BACKEND4}\" }}\n      - {{ name: six, address: \"{BACKEND6}"),
            ),
    );
    world.all_up();
    world.step();
    let tunnel = world.applied.tunnels[&0];
    assert_eq!(
        tunnel.source,
        words("10.9.0.0".parse().expect("an address"))
    );
    assert_eq!(tunnel.spread, [0, 0, 0, 0xffff_u32.to_be()]);
    assert_eq!((tunnel.port_be, tunnel.variant), (5555_u16.to_be(), 1));
    let tunnel = world.applied.tunnels[&1];
    assert_eq!(
        tunnel.source,
        words("fd00:9::".parse().expect("an address"))
    );
    assert_eq!(
        tunnel.spread,
        words("::ffff:ffff:ffff:ffff".parse().expect("a mask"))
    );
    assert_eq!(tunnel.version, 6);

    // Where there never was a route, nothing is too big: the packet goes to the kernel.
    let mut lost = World::new(&yaml);
    lost.next_hops.clear();
    lost.step();
    assert_eq!(lost.applied.tunnels[&0].mtu, 65_535);

    // Without a route it stays as it was.
    world.next_hops.clear();
    world.step();
    assert_eq!(world.applied.tunnels[&1], tunnel);
    assert_eq!(world.step(), 0);
}

#[test]
fn routers_may_speak_of_the_ends_of_tunnels_alone() {
    for (mode, heard) in [
        ("ipip", true),
        ("gue", true),
        ("dsr", false),
        ("nat", false),
    ] {
        for backend in [BACKEND4, BACKEND6] {
            let mut world = World::new(&service(mode, &[VIP4, VIP6], &[backend]));
            world.step();
            let end = hash::tunnel_bit(&words(address(backend).ip()));
            assert_eq!(world.admits(end), heard, "{mode} to {backend}");
        }
    }
}

#[test]
fn replies_of_route_backends_are_ours_even_when_they_are_removed() {
    let reply = hash::reply_bit(unmapped(&words(address(BACKEND4).ip())), 80_u16.to_be(), 6);
    let mut world = World::new(&service("nat", &[VIP4], &[BACKEND4]));
    world.step();
    assert!(!world.admits(reply));
    assert_eq!(world.applied.settings.flags & setting::ROUTE, 0);

    let mut world = World::new(&service("route", &[VIP4], &[BACKEND4]));
    for backends in [&[BACKEND4][..], &["10.0.0.12:80"][..]] {
        world.config = parse(&service("route", &[VIP4], backends));
        world.all_up();
        world.step();
        assert!(world.admits(reply));
        assert_eq!(
            world.applied.settings.flags & setting::ROUTE,
            setting::ROUTE
        );
    }
    let entry = world.applied.backends.values().next().expect("one");
    assert_eq!(entry.snat_count, 0, "it needs no source address");
}

#[test]
fn in_another_mode_a_backend_has_another_entry_and_the_same_place_in_the_ring() {
    let both = ["10.0.0.11:80", "10.0.0.12:80"];
    let mut world = World::new(&service("nat", &[VIP4], &both));
    world.step();
    let before = world.applied.clone();
    world.config = parse(&service("ipip", &[VIP4], &both));
    world.step();
    for (idx, entry) in &before.backends {
        let now = world.applied.backends[idx];
        assert_eq!((now.state, now.mode), (backend::state::REMOVED, mode::NAT));
        let heir = (world.applied.backends.values())
            .find(|other| other.mode == mode::IPIP && identity_of(other) == identity_of(entry))
            .expect("it has an entry of the new mode");
        assert_eq!(heir.address, entry.address);
        assert_eq!(heir.state, backend::state::UP, "its health is known");
    }
    let addresses = |tables: &Tables| -> Vec<[u32; 4]> {
        (tables.rings[&0].slots.iter())
            .map(|idx| tables.backends[idx].address)
            .collect()
    };
    assert_eq!(addresses(&before), addresses(&world.applied));
}

#[test]
fn mode_nat_leads_to_the_other_family_and_says_so_in_the_settings() {
    for (vip, backend, version) in [(VIP4, BACKEND6, 6), (VIP6, BACKEND4, 4)] {
        let mut world = World::new(&service("nat", &[vip], &[backend]));
        world.step();
        assert_eq!(served_by(&world, vip), [address(backend)]);
        let entry = world.applied.services.values().next().expect("one");
        assert_eq!(entry.version, version);
        let crossed = |world: &World| world.applied.settings.flags & setting::CROSSED != 0;
        assert!(crossed(&world));
        // Its flows live on when the service is another's.
        world.config = parse(&service("nat", &[VIP4], &["10.0.0.12:80"]));
        world.all_up();
        world.step();
        assert!(crossed(&world));
    }
    let mut world = World::new(&service("nat", &[VIP4, VIP6], &[BACKEND4, BACKEND6]));
    world.step();
    assert_eq!(world.applied.settings.flags & setting::CROSSED, 0);
}
