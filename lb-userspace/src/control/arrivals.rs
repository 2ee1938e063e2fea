//! Which backends came up beside others that were serving, and when: their slow start counts from
//! then. Those that a starting daemon finds up have no such time, nor have those it adopts.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use crate::{
    config::{Config, Service},
    health::{State, Transition},
    tables::{backend_identity, ramp},
};

/// By backend identity.
#[derive(Clone, Default)]
pub(super) struct Arrivals {
    came_up: HashMap<u64, SystemTime>,
    /// Added to a running service, and not up yet.
    newcomers: HashSet<u64>,
}

impl Arrivals {
    pub(super) fn came_up(&self) -> &HashMap<u64, SystemTime> {
        &self.came_up
    }

    /// The health checker has decided over a backend.
    pub(super) fn decided(&mut self, id: u64, transition: &Transition) {
        if transition.to != State::Up {
            self.came_up.remove(&id);
        } else if transition.from == State::Down || self.newcomers.contains(&id) {
            self.came_up.insert(id, transition.at);
        }
        // One that is found down at first comes up from there.
        self.newcomers.remove(&id);
    }

    /// A backend that is up takes new flows from now on, as one that came up would.
    pub(super) fn take_part(&mut self, id: u64, now: SystemTime) {
        self.came_up.insert(id, now);
    }

    /// A backend that was not probed is probed anew: its slow start counts from when it is found up.
    pub(super) fn join(&mut self, id: u64) {
        self.came_up.remove(&id);
        self.newcomers.insert(id);
    }

    /// A configuration took the place of another: backends joined services that were there before.
    pub(super) fn reloaded(&mut self, before: &Config, after: &Config) {
        let known: HashSet<u64> = identities(before).map(|(_, id)| id).collect();
        let ran = |service: &Service| (before.services.iter()).any(|s| s.name == service.name);
        self.newcomers.extend(
            identities(after)
                .filter(|(service, id)| !known.contains(id) && ran(service))
                .map(|(_, id)| id),
        );
    }

    /// Forgets those whose slow start is over, so that another `slow_start` does not begin it anew.
    pub(super) fn forget_over(&mut self, config: &Config, now: SystemTime) {
        let under_way: HashSet<u64> = identities(config)
            .filter(|(service, id)| {
                ramp(service, self.came_up.get(id)).is_some_and(|ramp| ramp.percent(now) < 100)
            })
            .map(|(_, id)| id)
            .collect();
        self.came_up.retain(|id, _| under_way.contains(id));
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, known: &HashSet<u64>) {
        self.came_up.retain(|id, _| known.contains(id));
        self.newcomers.retain(|id| known.contains(id));
    }
}

fn identities(config: &Config) -> impl Iterator<Item = (&Service, u64)> {
    (config.services.iter()).flat_map(|service| {
        (service.backends.iter())
            .map(move |backend| (service, backend_identity(service, backend.address)))
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::config;

    const YAML: &str = r#"
interfaces: [eth0]
services:
  - name: web
    listen: ["203.0.113.10:80"]
    slow_start: 30s
    backends: [{ name: a, address: "10.0.0.11:80" }]
"#;

    fn parse(yaml: &str) -> Config {
        config::parse(yaml, "test.yaml").expect("a valid configuration")
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn change(from: State, to: State) -> Transition {
        Transition {
            from,
            to,
            reason: String::new(),
            at: at(1000),
        }
    }

    #[test]
    fn a_backend_arrives_when_it_was_down_before() {
        let mut arrivals = Arrivals::default();
        arrivals.decided(1, &change(State::Unknown, State::Up));
        assert!(arrivals.came_up().is_empty(), "found up at the start");
        arrivals.decided(1, &change(State::Up, State::Down));
        assert!(arrivals.came_up().is_empty());
        arrivals.decided(1, &change(State::Down, State::Up));
        assert_eq!(arrivals.came_up()[&1], at(1000));
        arrivals.decided(1, &change(State::Up, State::Down));
        assert!(arrivals.came_up().is_empty());
    }

    #[test]
    fn a_backend_that_joins_a_running_service_arrives_when_it_is_found_up() {
        let before = parse(YAML);
        let mut after = before.clone();
        after.services[0].backends[0].address = "10.0.0.12:80".parse().expect("an address");
        let mut new_service = after.services[0].clone();
        new_service.name = "mail".to_owned();
        after.services.push(new_service);
        let ids: Vec<u64> = identities(&after).map(|(_, id)| id).collect();
        let mut arrivals = Arrivals::default();
        arrivals.reloaded(&before, &after);
        for id in &ids {
            arrivals.decided(*id, &change(State::Unknown, State::Up));
        }
        assert_eq!(
            arrivals.came_up().keys().copied().collect::<Vec<_>>(),
            ids[..1],
            "those of a new service come together"
        );
        // Only the first time.
        arrivals.retain(&HashSet::new());
        arrivals.decided(ids[0], &change(State::Unknown, State::Up));
        assert!(arrivals.came_up().is_empty());
    }

    #[test]
    fn a_longer_slow_start_does_not_begin_one_that_is_over() {
        let config = parse(YAML);
        let (_, id) = identities(&config).next().expect("a backend");
        let mut arrivals = Arrivals::default();
        arrivals.take_part(id, at(1000));
        arrivals.forget_over(&config, at(1029));
        assert_eq!(arrivals.came_up().len(), 1);
        arrivals.forget_over(&config, at(1030));
        assert!(arrivals.came_up().is_empty());
    }
}
