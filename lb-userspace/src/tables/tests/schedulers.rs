//! What schedulers and limits ask of the tables.

use lb_common::service::{flag, scheduler};

use super::*;

fn web(more: &str, backend: &str) -> String {
    TWO_BACKENDS
        .replace("    backends:", &format!("    {more}\n    backends:"))
        .replace("10.0.0.12:8080\"", &format!("10.0.0.12:8080\"{backend}"))
}

fn world(more: &str, backend: &str) -> World {
    let mut world = World::new(&web(more, backend));
    world.step();
    world
}

#[test]
fn flows_are_counted_where_a_scheduler_or_a_limit_asks_for_it() {
    for (word, number, flags) in [
        ("maglev", scheduler::MAGLEV, 0),
        ("round_robin", scheduler::ROUND_ROBIN, 0),
        ("random", scheduler::RANDOM, 0),
        ("least_conn", scheduler::LEAST_CONN, flag::COUNTED),
    ] {
        let key = format!("scheduler: {word}");
        let service = world(&key, "").applied.services[&0];
        assert_eq!((service.scheduler, service.flags), (number, flags));
        let limited = world(&key, ", max_flows: 7");
        let service = limited.applied.services[&0];
        assert_eq!((service.scheduler, service.flags), (number, flag::COUNTED));
        let limits = (limited.applied.backends.values()).map(|backend| backend.max_flows);
        assert_eq!(limits.collect::<Vec<_>>(), [0, 7]);
    }
}

#[test]
fn the_ring_of_round_robin_is_another() {
    let alternates = |world: &World| {
        let slots = &world.applied.rings[&0].slots;
        slots.windows(2).all(|two| two[0] != two[1])
    };
    let mut world = world("scheduler: round_robin", "");
    assert!(alternates(&world));
    for (word, turns) in [
        ("random", false),
        ("round_robin", true),
        ("least_conn", false),
        ("maglev", false),
        ("round_robin", true),
    ] {
        // The same members: a ring kept from before must not do for another scheduler.
        world.config = parse(&web(&format!("scheduler: {word}"), ""));
        world.step();
        assert_eq!(alternates(&world), turns, "{word}");
    }
}
