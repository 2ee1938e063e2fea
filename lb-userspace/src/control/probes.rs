//! From the configuration to what the health checker and the neighbour watcher look after, and to
//! the sweeper's timers.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use lb_common::backend::state;

use super::{
    Control, Probed,
    targets::{kind, target, through},
};
use crate::{
    config::Config,
    health::{Damping, Initial, Rules as HealthRules, Wanted},
    tables::{Health, backend_identity, identity_of},
};

impl Probed {
    /// As an earlier daemon left it in the tables.
    pub(super) fn adopted(health: Health) -> Self {
        Self {
            health,
            reason: "as the daemon before left it".to_owned(),
        }
    }
}

impl Control {
    /// Tells the checker and the watcher what to look after, and forgets what is gone. Disabled
    /// backends are not probed.
    pub(super) fn look_after(&mut self) {
        let mut known = HashSet::new();
        let mut tallies = HashMap::new();
        for service in &self.config.services {
            let tally = self.tallies.remove(&service.name).unwrap_or_default();
            tallies.insert(service.name.clone(), tally);
        }
        self.tallies = tallies;
        let wanted: Vec<Wanted> = (self.config.services.iter())
            .flat_map(|service| {
                let kind = kind(service);
                (service.backends.iter()).map(move |backend| (service, kind.clone(), backend))
            })
            .filter_map(|(service, kind, backend)| {
                let id = backend_identity(service, backend.address);
                known.insert(id);
                if self.overrides.of(id).disabled().is_some() {
                    return None;
                }
                Some(Wanted {
                    id,
                    through: through(service, backend),
                    target: kind.and_then(|kind| target(service, kind, backend)),
                    interval: service.health_check.interval,
                    fast_interval: service.health_check.fast_interval,
                    jitter_percent: u8::try_from(service.health_check.jitter_percent)
                        .unwrap_or(u8::MAX),
                    rules: HealthRules {
                        rise: service.health_check.rise,
                        fall: service.health_check.fall,
                        damping: service.health_check.damping.map(|damping| Damping {
                            changes: damping.changes,
                            within: damping.within,
                            hold: damping.hold,
                        }),
                    },
                    initial: match self.probed.get(&id).map(|probed| probed.health) {
                        Some(Health { up: true, since }) => Initial::Up { since },
                        Some(Health { up: false, since }) => Initial::Down { since },
                        None => Initial::Unknown,
                    },
                    tally: self.tallies[&service.name].clone(),
                })
            })
            .collect();
        self.overrides.retain(&known);
        let probed: HashSet<u64> = wanted.iter().map(|wanted| wanted.id).collect();
        self.probed.retain(|id, _| probed.contains(id));
        self.arrivals.retain(&probed);
        self.checker.apply(wanted);
        self.show_ways();

        let addresses: HashSet<_> = backend_addresses(&self.config).map(|a| a.ip()).collect();
        self.next_hops
            .retain(|address, _| addresses.contains(address));
        self.unreachable
            .retain(|address, _| addresses.contains(address));
        self.watcher.track(addresses.into_iter().collect());
    }

    /// Health as an earlier daemon left it in the tables.
    pub(super) fn adopt_health(&mut self) {
        for backend in self.applied.backends.values() {
            let up = match backend.state {
                state::UP => true,
                state::DOWN => false,
                _ => continue,
            };
            self.probed.insert(
                identity_of(backend),
                Probed::adopted(Health {
                    up,
                    since: std::time::UNIX_EPOCH
                        + Duration::from_secs(u64::from(backend.since_unix)),
                }),
            );
        }
    }

    /// The interfaces are known, every backend has a known state, first-hand or adopted, and each that
    /// is up a MAC address to go by, or a reason why not.
    pub(super) fn knows_all(&self) -> bool {
        let knows_interface =
            |name: &String| (self.interfaces.values()).any(|interface| interface.name == *name);
        self.config.interfaces.iter().all(knows_interface)
            && self.config.services.iter().all(|service| {
                service.backends.iter().all(|backend| {
                    let ip = backend.address.ip();
                    let id = backend_identity(service, backend.address);
                    let resolved =
                        (self.next_hops.get(&ip)).is_some_and(|hop| hop.peer_mac.is_some());
                    if self.overrides.of(id).disabled().is_some() {
                        return true;
                    }
                    (self.probed.get(&id)).is_some_and(|probed| {
                        !probed.health.up || resolved || self.unreachable.contains_key(&ip)
                    })
                })
            })
    }
}

pub(super) fn backend_addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    (config.services.iter())
        .flat_map(|service| service.backends.iter().map(|backend| backend.address))
}
