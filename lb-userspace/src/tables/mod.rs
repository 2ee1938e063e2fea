//! Pure: from configuration, health and next hops to the exact contents of the maps, and from two
//! such contents to their difference. No I/O; `datapath` writes what is decided here.

mod address;
mod affinity;
pub mod diff;
mod entry;
pub mod forecast;
pub mod identity;
pub mod ids;
mod interfaces;
pub mod maglev;
mod modes;
mod overrides;
mod panic;
pub mod ring;
mod served;
mod service;
pub mod slow_start;
pub mod sources;
mod standing;
mod turns;
pub mod vips;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use lb_common::{
    V4, V6,
    backend::{self, Backend, Tunnel},
    interface::Interface,
    service::{PortPrefix, Service, Settings, VipKey, setting},
    unmapped,
};

pub use self::{
    address::{address_of, ip, words},
    modes::{identity_of, obstacle, outer_source},
    overrides::{Decision, Hold, Overrides},
    panic::Panic,
    ring::RingCache,
    served::served,
    sources::Entry,
    standing::{flows_end, next_change, ramp},
};
use self::{
    entry::{backend_entry, removed},
    ids::Ids,
    maglev::Member,
    modes::{admit_backend, entry_identity, number, tunnel},
    overrides::{overrides_of, weighed},
    ring::{Order, Ring},
    service::{counted, protocol_number, scheduler, timeouts},
    standing::{Candidate, members},
    vips::Leading,
};
use crate::{
    config::{Config, Mode, Service as ServiceConfig, Vip},
    net::{self, NextHop},
};

/// Everything the daemon writes into the maps, by index or key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    pub settings: Box<Settings>,
    /// Source addresses of mode `nat`, IPv4 in the form of IPv6.
    pub snat: Vec<V6>,
    /// By index.
    pub interfaces: BTreeMap<u32, Interface>,
    pub backends: BTreeMap<u32, Backend>,
    /// By backend, of those of modes `ipip` and `gue`.
    pub tunnels: BTreeMap<u32, Tunnel>,
    /// By service.
    pub rings: BTreeMap<u32, Ring>,
    pub services: BTreeMap<u32, Service>,
    /// Vips of one port.
    pub vips4: HashMap<VipKey<V4>, u32>,
    pub vips6: HashMap<VipKey<V6>, u32>,
    /// Vips that are ranges of ports, split into prefixes.
    pub vip_ranges4: HashMap<PortPrefix<V4>, u32>,
    pub vip_ranges6: HashMap<PortPrefix<V6>, u32>,
    pub sources4: sources::Lists,
    pub sources6: sources::Lists,
}

impl Tables {
    /// Tables under which nothing is balanced.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            settings: Box::new(Settings::new(1, 1)),
            snat: Vec::new(),
            interfaces: BTreeMap::new(),
            backends: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            rings: BTreeMap::new(),
            services: BTreeMap::new(),
            vips4: HashMap::new(),
            vips6: HashMap::new(),
            vip_ranges4: HashMap::new(),
            vip_ranges6: HashMap::new(),
            sources4: sources::Lists::new(),
            sources6: sources::Lists::new(),
        }
    }
}

/// The two address families. A vip's flows go to the service's backends of its own family; in modes
/// that lead from one to the other, to those of the other where it has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Inet = 4,
    Inet6 = 6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::Inet
        } else {
            Self::Inet6
        }
    }

    /// That of the backends which serve this vip.
    fn serving(service: &ServiceConfig, vip: Vip) -> Self {
        let own = Self::of(vip.address);
        let has = |family| (service.backends.iter()).any(|b| Self::of(b.address.ip()) == family);
        match own {
            _ if has(own) || !service.mode.crosses_families() => own,
            Self::Inet if has(Self::Inet6) => Self::Inet6,
            Self::Inet6 if has(Self::Inet) => Self::Inet,
            _ => own,
        }
    }
}

/// What health checks say of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    pub up: bool,
    pub since: SystemTime,
}

/// What the tables are made of.
pub struct Inputs<'a> {
    pub config: &'a Config,
    /// By backend identity; a backend that is missing is down.
    pub health: &'a HashMap<u64, Health>,
    /// What the operator decides, by backend identity.
    pub overrides: &'a HashMap<u64, Overrides>,
    /// When backends came up that had been down, or that joined a running service, by identity.
    pub came_up: &'a HashMap<u64, SystemTime>,
    pub now: SystemTime,
    /// By backend address; one that is missing is unknown.
    pub next_hops: &'a HashMap<IpAddr, NextHop>,
    /// By index.
    pub interfaces: &'a BTreeMap<u32, net::Interface>,
    /// Some interface of the configuration is one end of a veth pair.
    pub on_veth: bool,
}

/// A table has no room for what the configuration asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(
        "no free entry in the table of {what} ({limit}): entries of removed ones are freed once \
         their flows are gone"
    )]
    Full { what: &'static str, limit: u32 },
}

/// The tables that these inputs call for. `applied` are those in force: an entry that is no longer
/// wanted stays as a removed one, because flows may refer to it.
///
/// # Errors
/// When a table is full; nothing is changed then but the indices set aside in `ids`.
pub fn compute(
    inputs: &Inputs<'_>,
    applied: &Tables,
    ids: &mut Ids,
    rings: &mut RingCache,
) -> Result<Tables, TableError> {
    let config = inputs.config;
    let mut desired = Tables::empty();
    desired.settings = Box::new(settings(inputs, applied));
    desired.interfaces = interfaces::interfaces(inputs);
    desired.settings.frame_max = interfaces::frame_max(&desired.interfaces);

    let mut vips = Vec::new();
    for service in &config.services {
        for family in [Family::Inet, Family::Inet6] {
            vips.extend(add_service(
                service,
                family,
                inputs,
                applied,
                ids,
                rings,
                &mut desired,
            )?);
        }
    }
    vips::admit(&mut desired, vips);
    for (idx, before) in &applied.backends {
        if !desired.backends.contains_key(idx) {
            desired.backends.insert(*idx, removed(before, config, ids));
            if let Some(tunnel) = applied.tunnels.get(idx) {
                desired.tunnels.insert(*idx, *tunnel);
            }
        }
    }
    for backend in desired.backends.values() {
        admit_backend(&mut desired.settings, backend);
    }
    desired.snat = ids.snat().to_vec();
    for words in &desired.snat {
        desired.settings.admit_snat(*words);
        desired.settings.admit_snat(unmapped(words));
    }
    Ok(desired)
}

/// Adds a service's backends of one address family and their ring. Returns the vips that they serve.
fn add_service(
    service: &ServiceConfig,
    family: Family,
    inputs: &Inputs<'_>,
    applied: &Tables,
    ids: &mut Ids,
    rings: &mut RingCache,
    desired: &mut Tables,
) -> Result<Vec<Leading>, TableError> {
    let vips: Vec<Vip> = (service.listen.iter().copied())
        .filter(|vip| Family::serving(service, *vip) == family)
        .collect();
    if vips.is_empty() {
        return Ok(Vec::new());
    }
    let service_identity = identity::service(&service.name, family);
    let service_idx = ids.service(service_identity)?;
    let panic = Panic::of(service, family, inputs);
    let (mut candidates, mut own) = (Vec::new(), Vec::new());
    let backends = (service.backends.iter()).filter(|b| Family::of(b.address.ip()) == family);
    for backend in backends {
        let backend = &weighed(backend, &overrides_of(inputs.overrides, service, backend));
        let identity = backend_identity(service, backend.address);
        let backend_idx = ids.backend(entry_identity(identity, service.mode))?;
        let mut entry = backend_entry(service, service_idx, backend, panic, inputs, ids)?;
        if entry.state == backend::state::UP && backend.weight > 0 {
            let member = Member {
                backend_idx,
                identity,
                weight: u32::from(backend.weight),
            };
            candidates.push(Candidate::new(service, backend, member, inputs));
        }
        if entry.snat_count == 0
            && let Some(before) = applied.backends.get(&backend_idx)
        {
            // Without a route there is no source address; the one before may serve again.
            (entry.snat_first, entry.snat_count) = (before.snat_first, before.snat_count);
        }
        if service.mode.has_tunnel() {
            let before = applied.tunnels.get(&backend_idx);
            let tunnel = tunnel(service, backend.address, inputs, before);
            desired.tunnels.insert(backend_idx, tunnel);
        }
        desired.backends.insert(backend_idx, entry);
        own.push(backend_idx);
    }
    let members = members(candidates);
    let in_ring: HashSet<u32> = members.iter().map(|member| member.backend_idx).collect();
    for idx in own.iter().filter(|idx| !in_ring.contains(idx)) {
        // A backup that stands by takes nobody, not even a client that it served before.
        desired
            .backends
            .entry(*idx)
            .and_modify(|entry| entry.weight = 0);
    }
    let eligible = u32::try_from(members.len()).expect("backends are limited");
    let order = Order::of(service.scheduler);
    let slots = rings.slots(service_idx, order, members);
    let ring = Ring::after(applied.rings.get(&service_idx), slots);
    let affinity = affinity::of(service);
    let sources = sources::add(service, service_idx, &vips, desired);
    desired.services.insert(
        service_idx,
        Service {
            eligible,
            mode: number(service.mode),
            ring_half: ring.half,
            scheduler: scheduler(service.scheduler),
            version: family as u8,
            flags: affinity.flags | sources | counted(service),
            identity: service_identity,
            timeouts: timeouts(service),
            ..affinity
        },
    );
    desired.rings.insert(service_idx, ring);
    if service.mode == Mode::Nat && vips.iter().any(|vip| Family::of(vip.address) != family) {
        desired.settings.flags |= setting::CROSSED;
    }
    let protocol = protocol_number(service.protocol);
    Ok((vips.into_iter())
        .map(|vip| (vip, protocol, service_idx))
        .collect())
}

/// Whether flows of this vip of the service go to backends of this address's family.
#[must_use]
pub fn leads_to(service: &ServiceConfig, vip: Vip, backend: IpAddr) -> bool {
    Family::serving(service, vip) == Family::of(backend)
}

/// The identity of a backend of this service.
#[must_use]
pub fn backend_identity(service: &ServiceConfig, address: SocketAddr) -> u64 {
    identity::backend(&service.name, protocol_number(service.protocol), address)
}

fn settings(inputs: &Inputs<'_>, applied: &Tables) -> Settings {
    let ports = inputs.config.snat.ports;
    let mut settings = Settings::new(ports.first, ports.count());
    if inputs.on_veth {
        settings.flags |= setting::REDIRECT_BACK;
    }
    // Flows of removed backends, vips and port ranges still have packets coming.
    if !applied.backends.is_empty() {
        let before = &applied.settings;
        settings.reply_port_min = settings.reply_port_min.min(before.reply_port_min);
        settings.reply_port_max = settings.reply_port_max.max(before.reply_port_max);
        settings.filter = before.filter;
        settings.flags |= before.flags & (setting::RANGES | setting::CROSSED);
    }
    settings
}

/// Until the year 2106.
fn unix_seconds(time: SystemTime) -> u32 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    })
}
