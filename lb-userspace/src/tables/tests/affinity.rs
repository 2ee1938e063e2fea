//! What a service's entry says of affinity.

use lb_common::service::flag;

use super::*;

#[test]
fn a_service_has_the_affinity_of_its_configuration() {
    let key = "    affinity: { type: client_ip, prefix4: 24, prefix6: 56, timeout: 7d }\n";
    let yaml = TWO_BACKENDS.replace("    backends", &format!("{key}    backends"));
    let mut world = World::new(&yaml);
    world.step();
    let of = |world: &World| {
        let service = &world.applied.services[&0];
        let bits = (service.affinity_bits4, service.affinity_bits6);
        (service.flags, service.affinity_ms, bits)
    };
    assert_eq!(of(&world), (flag::AFFINITY, 604_800_000, (24, 56)));
    world.config = parse(&yaml.replace(key, "    deny: [10.0.0.0/8]\n"));
    world.step();
    assert_eq!(of(&world), (flag::SOURCES, 0, (0, 0)));
    world.config =
        parse(&yaml.replace("timeout: 7d }\n", "timeout: 1s }\n    deny: [10.0.0.0/8]\n"));
    world.step();
    assert_eq!(
        of(&world),
        (flag::AFFINITY | flag::SOURCES, 1_000, (24, 56))
    );
}
