//! The pieces' contents, as `page/parts.js` reads them.

use lb_common::reason;
use serde::Serialize;

use super::{super::rates::Rates, hash};
use crate::control::{
    rfc3339,
    view::{
        BackendStatus, ConfigStatus, InterfaceStatus, OverrideStatus, ServiceStatus,
        observed::{self, Observed},
    },
};

/// Vips of a service that are shown; of more, how many there are.
const VIPS: usize = 8;

/// What the page is about.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    host: &'a str,
    version: &'a str,
    started: &'a str,
    config: &'a ConfigStatus,
    interfaces: &'a [InterfaceStatus],
    /// All backends are shown, without asking for a service's.
    few: bool,
}

impl<'a> Head<'a> {
    pub(super) fn of(observed: &'a Observed, host: &'a str, few: bool) -> Self {
        let status = &observed.status;
        Self {
            host,
            version: &status.version,
            started: &status.started,
            config: &status.config,
            interfaces: &status.interfaces,
            few,
        }
    }

    pub(super) fn urgent(&self) -> u64 {
        hash(&(&self.config.last_error, &self.config.loaded, self.started))
    }
}

/// Everything together.
#[derive(Serialize)]
pub(super) struct Sum<'a> {
    services: usize,
    /// Backends that are up, down, drain and in maint.
    states: [usize; 4],
    active: u64,
    flows: Vec<FlowTable<'a>>,
    /// Flows, packets and bytes a second.
    rates: Option<[f64; 3]>,
    pub(super) drops_rate: Option<f64>,
}

#[derive(Serialize)]
struct FlowTable<'a> {
    family: &'a str,
    table: &'a str,
    flows: u64,
    max: u64,
}

impl<'a> Sum<'a> {
    pub(super) fn of(observed: &'a Observed) -> Self {
        Self {
            services: observed.status.services.len(),
            states: [0; 4],
            active: 0,
            flows: (observed.flow_tables.iter())
                .map(|table| FlowTable {
                    family: table.family,
                    table: table.table,
                    flows: table.flows,
                    max: table.max,
                })
                .collect(),
            rates: None,
            drops_rate: None,
        }
    }

    pub(super) fn add(&mut self, service: &Service<'_>) {
        for (sum, count) in self.states.iter_mut().zip(service.states) {
            *sum += count;
        }
        self.active += service.active;
        if let Some(rates) = service.rates {
            let sums = self.rates.get_or_insert_default();
            for (sum, rate) in sums.iter_mut().zip(rates) {
                *sum += rate;
            }
        }
    }
}

#[derive(Serialize)]
pub(super) struct Service<'a> {
    name: &'a str,
    /// In the file.
    place: usize,
    mode: &'a str,
    protocol: &'a str,
    scheduler: &'a str,
    vips: &'a [String],
    more_vips: usize,
    announced: bool,
    panic: bool,
    states: [usize; 4],
    active: u64,
    totals: [u64; 3],
    rates: Option<[f64; 3]>,
}

impl<'a> Service<'a> {
    pub(super) fn of(place: usize, service: &'a ServiceStatus, rates: &mut Rates) -> Self {
        let backends = || service.backends.iter();
        let vips = &service.vips[..service.vips.len().min(VIPS)];
        let totals = [
            backends().map(|backend| backend.flows_total).sum(),
            backends().map(|backend| backend.packets_total).sum(),
            backends().map(|backend| backend.bytes_total).sum(),
        ];
        Self {
            name: &service.name,
            place,
            mode: &service.mode,
            protocol: &service.protocol,
            scheduler: &service.scheduler,
            vips,
            more_vips: service.vips.len() - vips.len(),
            announced: !service.announced.is_empty(),
            panic: service.panic,
            states: ["up", "down", "drain", "maint"]
                .map(|state| backends().filter(|backend| backend.state == state).count()),
            active: backends().map(|backend| backend.active_flows).sum(),
            totals,
            rates: rates.of(&service.name, totals),
        }
    }

    pub(super) fn urgent(&self) -> u64 {
        hash(&(self.place, self.states, self.panic, self.vips))
    }
}

#[derive(Serialize)]
pub(super) struct Backend<'a> {
    service: &'a str,
    name: &'a str,
    /// In its service.
    place: usize,
    address: &'a str,
    state: &'a str,
    reason: &'a str,
    since: &'a str,
    probe: &'a str,
    last_error: Option<&'a str>,
    last_error_at: Option<&'a str>,
    weight: u16,
    weight_configured: u16,
    #[serde(rename = "override")]
    overridden: Option<&'a OverrideStatus>,
    backup: bool,
    next_hop: &'a str,
    active: u64,
    opening: u64,
    totals: [u64; 3],
    rates: Option<[f64; 3]>,
}

impl<'a> Backend<'a> {
    pub(super) fn of(
        service: &'a str,
        place: usize,
        backend: &'a BackendStatus,
        rates: &mut Rates,
    ) -> Self {
        let totals = [
            backend.flows_total,
            backend.packets_total,
            backend.bytes_total,
        ];
        Self {
            service,
            name: &backend.name,
            place,
            address: &backend.address,
            state: &backend.state,
            reason: &backend.reason,
            since: &backend.since,
            probe: &backend.probe,
            last_error: backend.last_error.as_deref(),
            last_error_at: backend.last_error_at.as_deref(),
            weight: backend.weight,
            weight_configured: backend.weight_configured,
            overridden: backend.overridden.as_ref(),
            backup: backend.backup,
            next_hop: &backend.next_hop,
            active: backend.active_flows,
            opening: backend.opening_flows,
            totals,
            rates: rates.of(&format!("{service}/{}", backend.name), totals),
        }
    }

    pub(super) fn urgent(&self) -> u64 {
        hash(&(self.place, self.state, self.since, self.weight))
    }
}

/// A reason that came up at least once.
#[derive(Serialize)]
pub(super) struct Reason<'a> {
    pub(super) reason: &'a str,
    kind: &'a str,
    meaning: &'a str,
    count: u64,
    rate: Option<f64>,
}

impl<'a> Reason<'a> {
    pub(super) fn all(observed: &'a Observed, rates: &mut Rates) -> impl Iterator<Item = Self> {
        (observed.status.reasons.iter())
            .filter(|counted| counted.count > 0)
            .map(|counted| {
                let known = reason::Reason::ALL
                    .iter()
                    .find(|reason| reason.name() == counted.reason);
                let key = format!("/{}", counted.reason);
                Self {
                    reason: &counted.reason,
                    kind: &counted.kind,
                    meaning: known.map_or("", |reason| reason.meaning().trim()),
                    count: counted.count,
                    rate: rates.of(&key, [counted.count, 0, 0]).map(|rates| rates[0]),
                }
            })
    }
}

#[derive(Serialize)]
pub(super) struct Change<'a> {
    number: u64,
    at: String,
    kind: &'static str,
    words: &'a str,
}

impl<'a> Change<'a> {
    pub(super) fn of(change: &'a observed::Change) -> Self {
        Self {
            number: change.number,
            at: rfc3339(change.at),
            kind: change.kind.name(),
            words: &change.words,
        }
    }
}
