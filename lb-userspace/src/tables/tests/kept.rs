//! What stays for flows that began under an earlier configuration.

use super::*;

const SOURCE: &str = "10.0.0.5";

impl World {
    /// A new daemon knows only what the maps hold.
    fn restart(&mut self) {
        self.ids = Ids::adopt(&self.applied);
        self.rings = RingCache::default();
    }

    fn set_source(&mut self, source: &str) {
        for hop in self.next_hops.values_mut() {
            hop.source = source.parse().expect("an address");
        }
    }

    fn admits_source(&self, source: &str) -> bool {
        let source = words(source.parse().expect("an address"));
        self.admits(hash::snat_bit(unmapped(&source)))
    }
}

#[test]
fn a_source_address_used_before_is_still_admitted_after_a_restart() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    world.set_source("10.0.0.6");
    world.step();
    world.restart();
    assert_eq!(world.step(), 0);
    for source in [SOURCE, "10.0.0.6"] {
        assert!(world.admits_source(source), "{source}");
    }
}

#[test]
fn a_backend_without_a_route_keeps_its_source_address() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    world.next_hops.clear();
    world.step();
    for entry in world.applied.backends.values() {
        assert_eq!((entry.snat_first, entry.snat_count), (0, 1));
        assert_eq!(entry.ifindex, 0);
    }
}

#[test]
fn a_vip_that_is_gone_is_still_admitted_while_backends_are_left() {
    let vip = |address: &str| {
        let vip: SocketAddr = address.parse().expect("an address");
        hash::vip_bit(unmapped(&words(vip.ip())), vip.port().to_be(), 6)
    };
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    world.config = parse(&TWO_BACKENDS.replace("203.0.113.10:80", "203.0.113.20:80"));
    world.step();
    for address in ["203.0.113.10:80", "203.0.113.20:80"] {
        assert!(world.admits(vip(address)), "{address}");
    }
    assert_eq!(world.applied.vips4.len(), 2, "the vip and its address");
}

#[test]
fn another_range_of_ports_still_admits_replies_to_the_old_one() {
    for (before, after) in [("2000-2999", "5000-5999"), ("5000-5999", "2000-2999")] {
        let with_ports = |ports: &str| {
            parse(&TWO_BACKENDS.replace(
                "services:",
                &format!("snat: {{ ports: {ports} }}\nservices:"),
            ))
        };
        let mut world = World::new(TWO_BACKENDS);
        world.config = with_ports(before);
        world.step();
        world.config = with_ports(after);
        world.step();
        let settings = &world.applied.settings;
        let first: u16 = after[..4].parse().expect("a port");
        assert_eq!((settings.port_min, settings.port_count), (first, 1000));
        assert_eq!(
            (settings.reply_port_min, settings.reply_port_max),
            (2000, 5999)
        );
    }
}

/// `on_down` of its service decides over the flows of a removed backend, when it is removed.
#[test]
fn flows_of_removed_backends_get_what_their_service_said() {
    let keep = TWO_BACKENDS.replace("    backends:", "    on_down: keep\n    backends:");
    let mut world = World::new(&keep);
    world.step();
    let (a, b) = (world.identity("a"), world.identity("b"));
    let flows = |world: &World, id| world.entry(id).expect("an entry").1.flows;

    world.config = parse(&keep.replace("10.0.0.11", "10.0.0.13"));
    world.all_up();
    world.step();
    assert_eq!(flows(&world, a), backend::flows::FORWARD);

    // With the service gone there is nobody to ask for those that go with it.
    world.config = parse(&TWO_BACKENDS.replace("name: web", "name: other"));
    world.all_up();
    world.step();
    assert_eq!(flows(&world, a), backend::flows::FORWARD);
    assert_eq!(flows(&world, b), backend::flows::RESET);
    assert_eq!(world.applied.services.len(), 1);
    assert_eq!(world.applied.rings.len(), 1);
}

#[test]
fn an_index_is_given_away_once_it_is_freed() {
    let mut ids = Ids::default();
    let indices: Vec<_> = (1..=3).map(|id| ids.backend(id)).collect();
    assert_eq!(indices, [Ok(0), Ok(1), Ok(2)]);
    ids.retain(|idx| idx != 1, |_| true);
    assert_eq!(ids.backend(3), Ok(2), "an owner keeps its own");
    assert_eq!(ids.backend(4), Ok(1));
    assert_eq!(ids.backend(5), Ok(3));
}

#[test]
fn a_new_daemon_gives_away_what_the_one_before_had_freed() {
    let mut world = World::new(TWO_BACKENDS);
    world.step();
    world.applied.backends.remove(&0);
    let mut ids = Ids::adopt(&world.applied);
    assert_eq!(ids.backend(1), Ok(0));
    assert_eq!(ids.backend(2), Ok(2));
}
