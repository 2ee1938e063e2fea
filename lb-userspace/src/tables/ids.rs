//! Indices of services, backends and source addresses. An index stays with its owner for as long
//! as a packet may refer to it, over reloads and restarts alike: the maps themselves remember.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::{MAX_BACKENDS, MAX_SERVICES, MAX_SNAT, V6};

use super::{TableError, Tables, words};

/// Who owns which index.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    services: Indices,
    backends: Indices,
    /// By index. Only ever appended to, because flows live by addresses given out before.
    snat: Vec<V6>,
}

impl Ids {
    /// The indices that these tables already use.
    #[must_use]
    pub fn adopt(applied: &Tables) -> Self {
        Self {
            services: Indices::taken(
                (applied.services.iter()).map(|(idx, service)| (service.identity, *idx)),
            ),
            backends: Indices::taken(
                (applied.backends.iter()).map(|(idx, backend)| (backend.identity, *idx)),
            ),
            snat: applied.snat.clone(),
        }
    }

    /// The index of the service with this identity, a new one if it has none.
    ///
    /// # Errors
    /// When all indices are taken.
    pub fn service(&mut self, identity: u64) -> Result<u32, TableError> {
        self.services.assign(identity, "services", MAX_SERVICES)
    }

    /// The index of the service with this identity, if it has one.
    #[must_use]
    pub fn known_service(&self, identity: u64) -> Option<u32> {
        self.services.owners.get(&identity).copied()
    }

    /// The index of the backend with this identity, a new one if it has none.
    ///
    /// # Errors
    /// When all indices are taken.
    pub fn backend(&mut self, identity: u64) -> Result<u32, TableError> {
        self.backends.assign(identity, "backends", MAX_BACKENDS)
    }

    /// Frees the indices for which this is false.
    pub fn retain(&mut self, backend: impl Fn(u32) -> bool, service: impl Fn(u32) -> bool) {
        self.backends.retain(backend);
        self.services.retain(service);
    }

    /// Source addresses by index.
    #[must_use]
    pub fn snat(&self) -> &[V6] {
        &self.snat
    }

    /// First index and number of these source addresses, which stand side by side in the table.
    ///
    /// # Errors
    /// When the table has no room for them.
    pub fn snat_range(&mut self, sources: &[IpAddr]) -> Result<(u16, u16), TableError> {
        if sources.is_empty() {
            return Ok((0, 0));
        }
        let wanted: Vec<V6> = sources.iter().map(|source| words(*source)).collect();
        let first = (self.snat.windows(wanted.len()))
            .position(|known| known == wanted)
            .unwrap_or(self.snat.len());
        if first + wanted.len() > MAX_SNAT as usize {
            return Err(TableError::Full {
                what: "source addresses",
                limit: MAX_SNAT,
            });
        }
        if first == self.snat.len() {
            self.snat.extend_from_slice(&wanted);
        }
        let narrow = |n: usize| u16::try_from(n).expect("MAX_SNAT fits");
        Ok((narrow(first), narrow(wanted.len())))
    }
}

/// Indices of one table, by identity.
#[derive(Clone, Debug, Default)]
struct Indices {
    owners: BTreeMap<u64, u32>,
    /// Not taken, below `next`.
    free: BTreeSet<u32>,
    next: u32,
}

impl Indices {
    fn taken(owners: impl Iterator<Item = (u64, u32)>) -> Self {
        let owners: BTreeMap<u64, u32> = owners.collect();
        let next = owners.values().max().map_or(0, |idx| idx + 1);
        let taken: BTreeSet<u32> = owners.values().copied().collect();
        Self {
            free: (0..next).filter(|idx| !taken.contains(idx)).collect(),
            owners,
            next,
        }
    }

    fn assign(&mut self, identity: u64, what: &'static str, limit: u32) -> Result<u32, TableError> {
        if let Some(idx) = self.owners.get(&identity) {
            return Ok(*idx);
        }
        let idx = match self.free.pop_first() {
            Some(idx) => idx,
            None if self.next < limit => {
                self.next += 1;
                self.next - 1
            }
            None => return Err(TableError::Full { what, limit }),
        };
        self.owners.insert(identity, idx);
        Ok(idx)
    }

    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let free = &mut self.free;
        self.owners.retain(|_, idx| {
            let kept = keep(*idx);
            if !kept {
                free.insert(*idx);
            }
            kept
        });
    }
}
