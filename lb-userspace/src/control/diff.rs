//! What a reload of another file would change, found out without changing anything: the tables are
//! computed from copies of all that they are made of.

mod settings;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use lb_common::RING_SLOTS;
use tokio::sync::oneshot;

use super::{
    Command, CommandError, Control, Handle, start,
    view::diff::{BackendDiff, Change, Diff, RingDiff, ServiceDiff},
};
use crate::{
    config::{self, Backend, Config, Service, backend_text},
    datapath::FlowTables,
    net::{Interface, NextHop},
    tables::{
        self, Family, Health, Inputs, Overrides, RingCache, TableError, Tables, backend_identity,
        forecast::{Fate, fates, moved},
        identity, identity_of,
        ids::Ids,
    },
};

/// What the answer is made of: the loop goes on meanwhile.
struct Copies {
    before: Config,
    after: Config,
    applied: Tables,
    ids: Ids,
    rings: RingCache,
    health: HashMap<u64, Health>,
    overrides: HashMap<u64, Overrides>,
    came_up: HashMap<u64, SystemTime>,
    next_hops: HashMap<IpAddr, NextHop>,
    interfaces: BTreeMap<u32, Interface>,
    on_veth: bool,
}

impl Handle {
    /// What a reload would change if this were the file. `name` only appears in errors.
    ///
    /// # Errors
    /// When the text is not valid or asks for what this host does not have.
    pub async fn diff(&self, text: String, name: String) -> Result<Diff, CommandError> {
        let parsed = tokio::task::spawn_blocking(move || {
            config::parse(&text, &name).map(|config| (config, name))
        });
        let (config, name) = (parsed.await.map_err(|_| CommandError::Stopping)?)
            .map_err(|error| CommandError::InvalidConfig(error.to_string()))?;
        self.ask(|reply| Command::Diff(Box::new(config), name, reply))
            .await
    }
}

impl Control {
    pub(super) async fn answer_diff(
        &self,
        after: Config,
        name: &str,
        reply: oneshot::Sender<Result<Diff, CommandError>>,
    ) {
        let links = match start::links(&after, Path::new(name)).await {
            Ok(links) => links,
            Err(error) => {
                let _ = reply.send(Err(CommandError::InvalidConfig(error.to_string())));
                return;
            }
        };
        let mut arrivals = self.arrivals.clone();
        arrivals.forget_over(&self.config, SystemTime::now());
        let copies = Copies {
            before: self.config.clone(),
            after,
            applied: self.applied.clone(),
            ids: self.ids.clone(),
            rings: self.rings.clone(),
            health: (self.probed.iter())
                .map(|(id, probed)| (*id, probed.health))
                .collect(),
            overrides: self.overrides.all().clone(),
            came_up: arrivals.came_up().clone(),
            next_hops: self.next_hops.clone(),
            interfaces: self.interfaces.clone(),
            on_veth: links.iter().any(|link| link.veth),
        };
        let flow_tables = Arc::clone(&self.flow_tables);
        tokio::task::spawn_blocking(move || {
            // Nobody may be waiting any more.
            let _ = reply.send(copies.diff(&flow_tables));
        });
    }
}

impl Copies {
    fn diff(self, flow_tables: &FlowTables) -> Result<Diff, CommandError> {
        let mut flows = HashMap::new();
        flow_tables.for_each(|flow| {
            if super::status::is_live(flow) {
                *flows.entry(flow.backend_idx).or_default() += 1;
            }
        })?;
        self.forecast(&flows)
            .map_err(|error| CommandError::Reload(error.to_string()))
    }

    /// `flows` are the live ones, by backend index.
    fn forecast(mut self, flows: &HashMap<u32, u64>) -> Result<Diff, TableError> {
        let at_once = self.compute()?;
        for service in &self.after.services {
            for backend in &service.backends {
                let id = backend_identity(service, backend.address);
                self.health.entry(id).or_insert(Health {
                    up: true,
                    since: SystemTime::now(),
                });
            }
        }
        let when_up = self.compute()?;
        let losses = self.losses(&at_once, flows);
        let services = self.services(&at_once, &when_up, &losses);
        Ok(Diff {
            settings: settings::of_config(&self.before, &self.after),
            flows_reset: services.iter().map(|service| service.flows_reset).sum(),
            flows_drained: services.iter().map(|service| service.flows_drained).sum(),
            services,
        })
    }

    fn compute(&mut self) -> Result<Tables, TableError> {
        let inputs = Inputs {
            config: &self.after,
            health: &self.health,
            overrides: &self.overrides,
            came_up: &self.came_up,
            now: SystemTime::now(),
            next_hops: &self.next_hops,
            interfaces: &self.interfaces,
            on_veth: self.on_veth,
        };
        tables::compute(&inputs, &self.applied, &mut self.ids, &mut self.rings)
    }

    /// Live flows that are reset and drained, by backend identity.
    fn losses(&self, after: &Tables, flows: &HashMap<u32, u64>) -> HashMap<u64, (u64, u64)> {
        let mut losses: HashMap<u64, (u64, u64)> = HashMap::new();
        for (idx, fate) in fates(&self.applied, after) {
            let count = flows.get(&idx).copied().unwrap_or_default();
            let (reset, drained) = losses
                .entry(identity_of(&self.applied.backends[&idx]))
                .or_default();
            *match fate {
                Fate::Reset => reset,
                Fate::Drained => drained,
            } += count;
        }
        losses
    }

    fn services(
        &self,
        at_once: &Tables,
        when_up: &Tables,
        losses: &HashMap<u64, (u64, u64)>,
    ) -> Vec<ServiceDiff> {
        let by_name = |config: &Config| -> BTreeMap<String, Service> {
            (config.services.iter())
                .map(|service| (service.name.clone(), service.clone()))
                .collect()
        };
        let (old, new) = (by_name(&self.before), by_name(&self.after));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        (names.into_iter())
            .filter_map(|name| {
                let (was, is) = (old.get(name), new.get(name));
                let backends = self.backends(was, is, losses);
                let rings: Vec<RingDiff> = [Family::Inet, Family::Inet6]
                    .into_iter()
                    .filter_map(|family| self.ring(name, family, at_once, when_up))
                    .collect();
                let settings = settings::of_service(was, is);
                let quiet = rings
                    .iter()
                    .all(|ring| ring.moved + ring.moved_when_up == 0);
                if was.is_some()
                    && is.is_some()
                    && settings.is_empty()
                    && backends.is_empty()
                    && quiet
                {
                    return None;
                }
                Some(ServiceDiff {
                    name: name.clone(),
                    change: change(was.is_some(), is.is_some()),
                    settings,
                    flows_reset: backends.iter().map(|backend| backend.flows_reset).sum(),
                    flows_drained: backends.iter().map(|backend| backend.flows_drained).sum(),
                    backends,
                    rings,
                })
            })
            .collect()
    }

    /// Backends that come, go, have other settings or lose flows.
    fn backends(
        &self,
        was: Option<&Service>,
        is: Option<&Service>,
        losses: &HashMap<u64, (u64, u64)>,
    ) -> Vec<BackendDiff> {
        let of = |service: Option<&Service>| -> BTreeMap<SocketAddr, (u64, Backend)> {
            (service.into_iter())
                .flat_map(|service| service.backends.iter().map(move |b| (service, b)))
                .map(|(service, backend)| {
                    let id = backend_identity(service, backend.address);
                    (backend.address, (id, backend.clone()))
                })
                .collect()
        };
        let (old, new) = (of(was), of(is));
        let addresses: BTreeSet<&SocketAddr> = old.keys().chain(new.keys()).collect();
        (addresses.into_iter())
            .filter_map(|address| {
                let (before, after) = (old.get(address), new.get(address));
                let settings = settings::of_backend(
                    before.map(|(_, backend)| backend),
                    after.map(|(_, backend)| backend),
                );
                let lost = before.and_then(|(id, _)| losses.get(id).copied());
                let (flows_reset, flows_drained) = lost.unwrap_or_default();
                let stays = before.is_some() && after.is_some();
                if stays && settings.is_empty() && flows_reset + flows_drained == 0 {
                    return None;
                }
                let (id, backend) = after.or(before)?;
                Some(BackendDiff {
                    name: backend.name.clone(),
                    address: backend_text(*address),
                    change: change(before.is_some(), after.is_some()),
                    settings,
                    flows_reset,
                    flows_drained,
                    loses_override: after.is_none() && self.overrides.contains_key(id),
                })
            })
            .collect()
    }

    /// `None` where the service has no ring before or after.
    fn ring(
        &self,
        service: &str,
        family: Family,
        at_once: &Tables,
        when_up: &Tables,
    ) -> Option<RingDiff> {
        let idx = self.ids.known_service(identity::service(service, family))?;
        let before = self.applied.rings.get(&idx)?;
        let count = |after: &Tables| {
            let moved = after.rings.get(&idx).map(|after| moved(before, after));
            moved.map(|moved| u64::try_from(moved).expect("a ring's slots are few"))
        };
        Some(RingDiff {
            family: match family {
                Family::Inet => "IPv4",
                Family::Inet6 => "IPv6",
            }
            .to_owned(),
            slots: u64::from(RING_SLOTS),
            moved: count(at_once)?,
            moved_when_up: count(when_up)?,
        })
    }
}

fn change(was: bool, is: bool) -> Change {
    match (was, is) {
        (false, _) => Change::Added,
        (true, false) => Change::Removed,
        (true, true) => Change::Changed,
    }
}

#[cfg(test)]
mod tests;
