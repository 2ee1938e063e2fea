//! Services, their vips and backends, and the rules between them.

use std::{net::IpAddr, num::NonZeroU32, rc::Rc};

use lb_common::{MAX_BACKENDS, MAX_SERVICES, sources::MAX_SOURCES};

use super::{Unique, health::Kind, options::Options, tls::Authorities, too_many, vips::Vips};
use crate::config::{
    address,
    field::Field,
    parsed::{Backend, Mode, Protocol, Service, Snat, only_port},
    units,
    vip::{PortRange, Vip, backend_text},
};

const WEIGHT_MAX: u16 = crate::config::MAX_WEIGHT;

/// What services must not share, and what they have in all.
#[derive(Default)]
struct All<'a> {
    names: Unique<String>,
    vips: Vips<'a>,
    /// Types of the health checks; `None` for one that is not known.
    checks: Vec<Option<Kind>>,
    authorities: Authorities,
    /// Entries of the lists of sources, IPv4 and IPv6.
    sources: [usize; 2],
}

/// The list `services`.
pub(super) fn services<'a>(
    field: &Field<'a>,
    defaults: &Options<'a>,
    snat: Option<&Snat>,
) -> Option<Vec<Service>> {
    let items = field.filled("describe one")?;
    let mut all = All::default();
    let services: Vec<Option<Service>> = items
        .iter()
        .map(|item| service(item, defaults, &mut all))
        .collect();
    defaults.health_check.refuse_idle_keys(&all.checks);
    sizes(field, items.len(), &all);
    all.vips.check(field, snat);
    services.into_iter().collect()
}

fn service<'a>(field: &Field<'a>, defaults: &Options<'a>, all: &mut All<'a>) -> Option<Service> {
    let mut keys = field.section()?;
    let options = Options::onto(defaults, &mut keys);
    let name = keys.required("name", |field| {
        let name = field.text(units::name)?;
        all.names.claim(name.clone(), &field, &name)?;
        Some(name)
    });
    let listen = keys.required("listen", |field| {
        let items = field.filled("list an address and port")?;
        Some(vips(items, options.protocol, all))
    });
    let backends = keys.required("backends", |field| {
        let vips = listen.iter().flatten();
        let ports = vips.filter_map(|(_, vip): &(_, Option<Vip>)| Some(vip.as_ref()?.ports));
        let ports = ports.collect();
        Some(backends(field.items()?, options.protocol, &ports, all))
    });
    keys.finish();
    let kind = options.health_check.kind;
    options.health_check.refuse_idle_keys(&[kind]);
    if !all.checks.contains(&kind) {
        all.checks.push(kind);
    }
    options.affinity.refuse_idle_keys();
    let sources = &options.lists.sources;
    all.sources[0] += sources.v4.len();
    all.sources[1] += sources.v6.len();
    let health_check = options.check(field, &all.authorities);
    let (listen, backends) = (listen?, backends?);
    if options.mode.is_one_way() {
        one_port(options.mode, &listen, &backends);
    }
    if options.mode.crosses_families() {
        no_idle_family(&listen, &backends);
    } else {
        one_family(&listen, &backends);
    }
    if options.health_check.needs_port() {
        a_port_to_probe(&listen, &backends);
    }
    if let Some(field) = &options.own_tunnel {
        tunnel_of_use(field, &options, &backends);
    }
    Some(Service {
        name: name?,
        listen: values(listen)?,
        protocol: options.protocol,
        mode: options.mode,
        tunnel: options.tunnel,
        scheduler: options.scheduler,
        affinity: options.affinity.settled(),
        on_down: options.on_down,
        drain_timeout: options.drain_timeout,
        slow_start: options.slow_start,
        panic_threshold_percent: options.panic_threshold_percent,
        timeouts: options.timeouts,
        health_check: health_check?,
        sources: options.lists.sources,
        backends: values(backends)?,
    })
}

/// Items of a list, each with its place; `None` for one that is wrong.
type Items<'a, T> = Vec<(Field<'a>, Option<T>)>;

fn values<T>(items: Items<'_, T>) -> Option<Vec<T>> {
    items.into_iter().map(|(_, value)| value).collect()
}

fn vips<'a>(items: Vec<Field<'a>>, protocol: Protocol, all: &mut All<'a>) -> Items<'a, Vip> {
    let vip = |field: Field<'a>| {
        let vip = (field.text(address::vip))
            .filter(|vip| all.vips.claim(*vip, protocol, &field).is_some());
        (field, vip)
    };
    items.into_iter().map(vip).collect()
}

fn backends<'a>(
    items: Vec<Field<'a>>,
    protocol: Protocol,
    ports: &Rc<[PortRange]>,
    all: &mut All<'a>,
) -> Items<'a, Backend> {
    let mut names = Unique::default();
    let mut addresses = Unique::default();
    let mut backend = |field: &Field<'a>| {
        let mut keys = field.section()?;
        let name = keys.required("name", |field| {
            let name = field.text(units::name)?;
            names.claim(name.clone(), &field, &name)?;
            Some(name)
        });
        let address = keys.required("address", |field| {
            let address = field.text(address::backend)?;
            addresses.claim(address, &field, &backend_text(address))?;
            all.vips.add_backend(field, address, protocol, ports);
            Some(address)
        });
        let weight = keys.optional("weight", 1, |field| field.number(0..=WEIGHT_MAX));
        let max_flows = keys.optional("max_flows", None, |field| {
            Some(NonZeroU32::new(field.number(1..=u32::MAX)?))
        });
        let backup = keys.optional("backup", false, |field| field.switch());
        keys.finish();
        Some(Backend {
            name: name?,
            address: address?,
            weight: weight?,
            backup: backup?,
            max_flows: max_flows?,
        })
    };
    items
        .into_iter()
        .map(|field| {
            let value = backend(&field);
            (field, value)
        })
        .collect()
}

/// The right ones of a list.
fn known<'i, 'a, T>(items: &'i Items<'a, T>) -> Vec<(&'i Field<'a>, &'i T)> {
    items
        .iter()
        .filter_map(|(field, value)| Some((field, value.as_ref()?)))
        .collect()
}

/// In one-way modes the backend gets what the client sent: its port, if it has one, is a vip's.
fn one_port(mode: Mode, listen: &Items<'_, Vip>, backends: &Items<'_, Backend>) {
    let vips = known(listen);
    if vips.is_empty() {
        return;
    }
    for (field, backend) in known(backends) {
        let port = backend.address.port();
        let of_a_vip = |(_, vip): &(_, &Vip)| vip.ports.contains(PortRange::one(port));
        if port != 0 && !vips.iter().any(of_a_vip) {
            field.refuse::<()>(format!(
                "backend {} has port {port}, which no vip of the service has, and mode {} leaves \
                 ports as they are; give a vip's port or none (`health_check.port` sets the port to \
                 probe)",
                backend.name,
                mode.name(),
            ));
        }
    }
}

/// What has no port of its own, and vips of several, must be told where to probe.
fn a_port_to_probe(listen: &Items<'_, Vip>, backends: &Items<'_, Backend>) {
    let vips = known(listen);
    if vips.is_empty() || only_port(vips.iter().map(|(_, vip)| vip.ports)).is_some() {
        return;
    }
    for (field, backend) in known(backends) {
        if backend.address.port() == 0 {
            field.refuse::<()>(format!(
                "backend {} has no port, and the vips have more than one: nothing says on which port \
                 it is probed; set `health_check.port`, give it a port, or use health checks of type \
                 none",
                backend.name,
            ));
        }
    }
}

/// A vip whose family has backends leads to those alone: backends of the other need a vip of theirs.
fn no_idle_family(listen: &Items<'_, Vip>, backends: &Items<'_, Backend>) {
    let (vips, backends) = (known(listen), known(backends));
    let has_backend = |v4: bool| (backends.iter()).any(|(_, b)| b.address.is_ipv4() == v4);
    for (field, backend) in &backends {
        let v4 = backend.address.is_ipv4();
        let leads_here = |vip: &Vip| vip.is_ipv4() == v4 || !has_backend(!v4);
        if !vips.is_empty() && !vips.iter().any(|(_, vip)| leads_here(vip)) {
            let (own, other) = if v4 {
                ("IPv4", "IPv6")
            } else {
                ("IPv6", "IPv4")
            };
            field.refuse::<()>(format!(
                "backend {} ({}) is {own}, but every vip is {other} and leads to the {other} backends: \
                 add an {own} vip or remove the backend",
                backend.name, backend_text(backend.address),
            ));
        }
    }
}

/// A service's own `tunnel` must have an effect.
fn tunnel_of_use(field: &Field<'_>, options: &Options<'_>, backends: &Items<'_, Backend>) {
    if !options.mode.has_tunnel() {
        field.refuse::<()>(format!(
            "has no effect in mode {}; remove it or use mode ipip or gue",
            options.mode.name()
        ));
        return;
    }
    let backends = known(backends);
    if backends.is_empty() {
        return;
    }
    for source in &options.tunnel.sources {
        let v4 = source.address.is_ipv4();
        if (backends.iter()).all(|(_, backend)| backend.address.is_ipv4() != v4) {
            field.refuse::<()>(format!(
                "source {source} is {}, but no backend of the service is: outer packets go from a \
                 source to a backend of the same family; give a source of the backends' family",
                family(source.address),
            ));
        }
    }
}

/// Mode `route` leaves the client's address in place: a vip needs a backend of its own family, and a
/// backend a vip.
fn one_family(listen: &Items<'_, Vip>, backends: &Items<'_, Backend>) {
    let (vips, backends) = (known(listen), known(backends));
    let remedy = "mode route cannot lead from one family to the other";
    if vips.is_empty() || backends.is_empty() {
        return;
    }
    for (field, backend) in &backends {
        let address = backend.address;
        if vips
            .iter()
            .all(|(_, vip)| vip.is_ipv4() != address.is_ipv4())
        {
            field.refuse::<()>(format!(
                "backend {} ({}) is {}, but no vip of the service is; {remedy}: add a vip or remove \
                 the backend",
                backend.name,
                backend_text(address),
                family(address.ip()),
            ));
        }
    }
    for (field, vip) in &vips {
        if (backends.iter()).all(|(_, backend)| backend.address.is_ipv4() != vip.is_ipv4()) {
            field.refuse::<()>(format!(
                "vip {vip} is {}, but no backend of the service is; {remedy}: add a backend or \
                 remove the vip",
                family(vip.address),
            ));
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// What the tables can hold.
fn sizes(field: &Field<'_>, services: usize, all: &All<'_>) {
    let most = |count: usize, what: &str, most: u32| {
        if count > most as usize {
            field.refuse::<()>(too_many(count, what, most));
        }
    };
    most(services, "services", MAX_SERVICES);
    most(all.vips.backends(), "backends in all", MAX_BACKENDS);
    most(all.sources[0], "IPv4 sources in all", MAX_SOURCES);
    most(all.sources[1], "IPv6 sources in all", MAX_SOURCES);
}
