//! The walk through a document, from the top: every key is read, every rule checked, every
//! problem reported.

mod affinity;
mod announce;
mod damping;
mod health;
mod lists;
mod options;
mod service;
mod tls;
mod vips;

use std::{collections::HashMap, fmt::Display, hash::Hash};

use lb_common::MAX_SNAT;

use super::{
    address,
    field::{Field, Report},
    node::Node,
    parsed::{Announce, Config, Limits, OnExit, Snat, XdpMode},
    path::Path,
    units,
    vip::PortRange,
};

const LIMIT_MIN: u32 = 64;
const LIMIT_MAX: u32 = 16_777_216;

/// Reads the whole document. `None` where something essential is missing or wrong; then, and
/// perhaps otherwise, `report` is not empty.
pub(super) fn config(document: &Node, report: &Report) -> Option<Config> {
    let mut keys = Field::root(document, report).section()?;
    let interfaces = keys.required("interfaces", |field| {
        let items = field.filled("name one")?;
        unique(items, |item| item.text(units::interface))
    });
    let xdp = keys.optional("xdp", XdpMode::Auto, |field| {
        field.word(XdpMode::ALL, XdpMode::name, &[])
    });
    let snat = keys.optional("snat", Snat::default(), |field| snat(&field));
    let limits = keys.optional("limits", Limits::default(), |field| limits(&field));
    let metrics = keys.optional("metrics", None, |field| {
        field.text(address::socket).map(Some)
    });
    let on_exit = keys.optional("on_exit", OnExit::Keep, |field| {
        field.word(OnExit::ALL, OnExit::name, &[])
    });
    let watch = keys.optional("watch", false, |field| field.switch());
    let announce = keys.optional("announce", Announce::default(), |field| {
        announce::announce(&field)
    });
    let defaults = keys
        .take("defaults")
        .and_then(|field| options::defaults(&field))
        .unwrap_or_default();
    let services = keys.required("services", |field| {
        service::services(&field, &defaults, snat.as_ref())
    });
    keys.finish();
    Some(Config {
        interfaces: interfaces?,
        xdp: xdp?,
        snat: snat?,
        limits: limits?,
        metrics: metrics?,
        on_exit: on_exit?,
        watch: watch?,
        announce: announce?,
        services: services?,
    })
}

fn snat(field: &Field<'_>) -> Option<Snat> {
    let mut keys = field.section()?;
    let addresses = keys.optional("addresses", Vec::new(), |field| {
        let addresses = unique(field.items()?, |item| item.text(address::source))?;
        if addresses.len() > MAX_SNAT as usize {
            return field.refuse(too_many(addresses.len(), "addresses", MAX_SNAT));
        }
        Some(addresses)
    });
    let ports = keys.optional("ports", PortRange::default(), |field| {
        field.quantity(units::ports)
    });
    keys.finish();
    Some(Snat {
        addresses: addresses?,
        ports: ports?,
    })
}

fn limits(field: &Field<'_>) -> Option<Limits> {
    let Limits { flows, half_open } = Limits::default();
    let size = |field: Field<'_>| field.size(LIMIT_MIN..=LIMIT_MAX);
    let mut keys = field.section()?;
    let flows = keys.optional("flows", flows, size);
    let half_open = keys.optional("half_open", half_open, size);
    keys.finish();
    Some(Limits {
        flows: flows?,
        half_open: half_open?,
    })
}

/// The values of a list in which nothing stands twice.
fn unique<'a, T: Clone + Display + Eq + Hash>(
    items: Vec<Field<'a>>,
    reader: impl Fn(&Field<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut seen = Unique::default();
    items
        .into_iter()
        .map(|item| {
            let value = reader(&item)?;
            seen.claim(value.clone(), &item, &value)?;
            Some(value)
        })
        // All of them first: the adapter for Option would stop reading at the first None.
        .collect::<Vec<Option<T>>>()
        .into_iter()
        .collect()
}

/// What may stand only once, and where it stood first.
struct Unique<K>(HashMap<K, Path>);

impl<K> Default for Unique<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Unique<K> {
    /// Notes that `key` stands at `field`, or reports where it stood before.
    fn claim(&mut self, key: K, field: &Field<'_>, value: &impl Display) -> Option<()> {
        if let Some(first) = self.0.get(&key) {
            return field.refuse(format!("`{value}` is also {first}; keep one of the two"));
        }
        self.0.insert(key, field.path.clone());
        Some(())
    }
}

fn too_many(count: usize, what: &str, most: u32) -> String {
    format!("{count} {what} are too many, use at most {most}")
}
