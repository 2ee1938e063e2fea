//! Which vips somebody stands behind.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use lb_common::backend::{flows, state};

use super::{Family, Tables, identity};
use crate::config::Config;

/// The addresses of vips that lead to a backend which takes new flows, or which drains and still has
/// the old ones.
#[must_use]
pub fn served(config: &Config, tables: &Tables) -> BTreeSet<IpAddr> {
    let alive: HashSet<u32> = (tables.backends.values())
        .filter(|entry| {
            entry.flows == flows::FORWARD && matches!(entry.state, state::UP | state::DRAIN)
        })
        .map(|entry| u32::from(entry.service_idx))
        .collect();
    let by_identity: HashMap<u64, u32> = (tables.services.iter())
        .map(|(idx, service)| (service.identity, *idx))
        .collect();
    let mut addresses = BTreeSet::new();
    for service in &config.services {
        for vip in &service.listen {
            let family = Family::serving(service, *vip);
            let idx = by_identity.get(&identity::service(&service.name, family));
            if idx.is_some_and(|idx| alive.contains(idx)) {
                addresses.insert(vip.address);
            }
        }
    }
    addresses
}
