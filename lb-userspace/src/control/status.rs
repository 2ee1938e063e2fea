//! Answering questions: what the loop knows of services and backends, and which flows there are, by a thread of
//! their own, so that the loop goes on. What is counted comes to it in `observe.rs`.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::SystemTime,
};

use lb_common::{
    LAYOUT_VERSION, PROTOCOL_UDP,
    backend::{self, flows},
    flow::state,
};
use tokio::sync::oneshot;

use super::{
    CommandError, Control, overrides, sweeper,
    view::{
        BackendStatus, ConfigStatus, FlowFilter, FlowStatus, FlowTotals, Flows, InterfaceStatus,
        ServiceStatus, Status,
    },
};
use crate::{
    config::{Backend, Protocol, Service, backend_text},
    datapath::FlowRecord,
    health::Probed,
    tables::{address_of, backend_identity, identity_of},
};

/// Where a status tells of a backend index: the service's place and the backend's in it.
pub(super) type Places = HashMap<u32, (usize, usize)>;

/// A backend, as people know it.
#[derive(Clone)]
struct Named {
    service: String,
    backend: String,
    address: SocketAddr,
}

impl Named {
    /// Of a flow whose backend is not in the tables any more.
    fn unknown(flow: &FlowRecord) -> Self {
        Self {
            service: String::new(),
            backend: String::new(),
            address: flow.backend,
        }
    }
}

impl Control {
    pub(super) fn answer_flows(
        &self,
        filter: FlowFilter,
        reply: oneshot::Sender<Result<Flows, CommandError>>,
    ) {
        let names = self.names();
        let tables = Arc::clone(&self.flow_tables);
        tokio::task::spawn_blocking(move || {
            let now_ns = sweeper::monotonic_ns();
            let limit = filter.limit.unwrap_or(usize::MAX);
            let mut found = Flows {
                count: 0,
                flows: Vec::new(),
            };
            let visited = tables.for_each(|flow| {
                let unknown = Named::unknown(flow);
                let backend = names.get(&flow.backend_idx).unwrap_or(&unknown);
                if !matches(&filter, flow, backend) {
                    return;
                }
                found.count += 1;
                if found.flows.len() < limit {
                    found.flows.push(describe(flow, backend, now_ns));
                }
            });
            let _ = reply.send(visited.map(|()| found).map_err(CommandError::from));
        });
    }

    /// Everything but counts, and where in it each backend index stands.
    pub(super) fn status(&self) -> (Status, Places) {
        let entries: HashMap<u64, (u32, &backend::Backend)> = (self.applied.backends.iter())
            .filter(|(_, entry)| entry.state != backend::state::REMOVED)
            .map(|(idx, entry)| (identity_of(entry), (*idx, entry)))
            .collect();
        let mut places = HashMap::new();
        let mut services = Vec::with_capacity(self.config.services.len());
        for (s, service) in self.config.services.iter().enumerate() {
            let mut backends = Vec::with_capacity(service.backends.len());
            for (b, backend) in service.backends.iter().enumerate() {
                let id = backend_identity(service, backend.address);
                let entry = entries.get(&id);
                if let Some((idx, _)) = entry {
                    places.insert(*idx, (s, b));
                }
                let entry = entry.map(|(_, entry)| *entry);
                backends.push(self.backend_status(service, id, backend, entry));
            }
            services.push(self.service_status(service, backends));
        }
        let capacity = self.datapath.capacity();
        let status = Status {
            services,
            interfaces: (self.config.interfaces.iter())
                .map(|name| InterfaceStatus {
                    name: name.clone(),
                    xdp: (self.datapath.attached())
                        .find(|(attached, _)| attached == name)
                        .map_or("detached", |(_, mode)| mode.name())
                        .to_owned(),
                })
                .collect(),
            flows: FlowTotals {
                confirmed: 0,
                half_open: 0,
                confirmed_max: u64::from(capacity.flows),
                half_open_max: u64::from(capacity.half_open),
            },
            reasons: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            layout: LAYOUT_VERSION,
            started: rfc3339(self.started),
            config: ConfigStatus {
                path: self.options.config_name(),
                loaded: rfc3339(self.config_loaded),
                last_error: self.last_error.clone(),
            },
        };
        (status, places)
    }

    fn backend_status(
        &self,
        service: &Service,
        id: u64,
        backend: &Backend,
        entry: Option<&backend::Backend>,
    ) -> BackendStatus {
        let ip = backend.address.ip();
        let shown = self.shown(service, id, backend);
        let overrides = self.overrides.of(id);
        let reset = entry.is_some_and(|entry| entry.flows == flows::RESET);
        let (probed, last_error) = (self.checker.found(id)).unwrap_or((Probed::Unknown, None));
        let next_hop = match (self.next_hops.get(&ip), self.unreachable.get(&ip)) {
            (Some(hop), _) => match hop.peer_mac {
                Some(mac) => format!("{} by interface {}", mac_text(mac), hop.ifindex),
                None => "being resolved".to_owned(),
            },
            (None, Some(why)) => why.clone(),
            (None, None) => "not known yet".to_owned(),
        };
        BackendStatus {
            name: backend.name.clone(),
            address: backend_text(backend.address),
            state: shown.state.to_owned(),
            reason: shown.reason,
            since: rfc3339(shown.since),
            probe: probe_name(probed).to_owned(),
            last_error_at: last_error.as_ref().map(|error| rfc3339(error.at)),
            last_error: last_error.map(|error| error.words),
            weight: (overrides.weight).map_or(backend.weight, |weight| weight.to),
            weight_configured: backend.weight,
            overridden: overrides::words::status(&overrides),
            backup: backend.backup,
            active_flows: 0,
            opening_flows: 0,
            existing_flows: if reset { "reset" } else { "forwarded" }.to_owned(),
            flows_total: 0,
            packets_total: 0,
            bytes_total: 0,
            next_hop,
        }
    }

    fn service_status(&self, service: &Service, backends: Vec<BackendStatus>) -> ServiceStatus {
        ServiceStatus {
            name: service.name.clone(),
            mode: service.mode.name().to_owned(),
            scheduler: service.scheduler.name().to_owned(),
            protocol: service.protocol.name().to_owned(),
            vips: service.listen.iter().map(ToString::to_string).collect(),
            announced: (service.listen.iter())
                .map(|vip| vip.address)
                .filter(|address| self.announced.holds(*address))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            panic: self.is_in_panic(service),
            backends,
        }
    }

    /// Who is meant by each backend index.
    fn names(&self) -> HashMap<u32, Named> {
        let mut by_identity = HashMap::new();
        for service in &self.config.services {
            for backend in &service.backends {
                let id = backend_identity(service, backend.address);
                by_identity.insert(id, (service.name.as_str(), backend.name.as_str()));
            }
        }
        (self.applied.backends.iter())
            .map(|(idx, entry)| {
                let known = by_identity.get(&identity_of(entry));
                // One that has left the configuration has no name any more.
                let (service, backend) = known.copied().unwrap_or_default();
                let named = Named {
                    service: service.to_owned(),
                    backend: backend.to_owned(),
                    address: address_of(entry),
                };
                (*idx, named)
            })
            .collect()
    }
}

fn probe_name(probed: Probed) -> &'static str {
    match probed {
        Probed::Never => "none",
        Probed::Unknown => "unknown",
        Probed::Ok => "ok",
        Probed::Failed => "failed",
        Probed::DirectOnly => "direct_only",
    }
}

/// A flow that can still carry data both ways or one.
pub(super) fn is_active(flow: &FlowRecord) -> bool {
    match flow.state {
        state::ESTABLISHED | state::FIN => true,
        state::ANSWERED => flow.protocol == PROTOCOL_UDP,
        _ => false,
    }
}

/// A flow that can carry data, or may come to that.
pub(super) fn is_live(flow: &FlowRecord) -> bool {
    is_active(flow) || is_opening(flow)
}

/// A flow that both sides may yet confirm.
pub(super) fn is_opening(flow: &FlowRecord) -> bool {
    match flow.state {
        state::HALF_OPEN => true,
        // Of TCP: the backend's SYN-ACK came by.
        state::ANSWERED => flow.protocol != PROTOCOL_UDP,
        _ => false,
    }
}

/// What a flow's state is called.
pub(super) fn state_name(flow: &FlowRecord) -> &'static str {
    match flow.state {
        state::ANSWERED if flow.protocol == PROTOCOL_UDP => "answered",
        state => state::name(state),
    }
}

fn protocol_name(flow: &FlowRecord) -> &'static str {
    match flow.protocol {
        PROTOCOL_UDP => Protocol::Udp.name(),
        _ => Protocol::Tcp.name(),
    }
}

fn matches(filter: &FlowFilter, flow: &FlowRecord, backend: &Named) -> bool {
    let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
    same(&filter.service, &backend.service)
        && same(&filter.backend, &backend.backend)
        && same(&filter.state, state_name(flow))
        && filter
            .client
            .is_none_or(|client| client == flow.client.ip())
}

fn describe(flow: &FlowRecord, backend: &Named, now_ns: u64) -> FlowStatus {
    let idle_ns = now_ns.saturating_sub(flow.last_seen_ns);
    FlowStatus {
        client: flow.client,
        vip: flow.vip,
        protocol: protocol_name(flow).to_owned(),
        service: backend.service.clone(),
        backend: backend.backend.clone(),
        backend_address: match backend.address.port() {
            0 => flow.backend,
            _ => backend.address,
        },
        source: flow.source,
        state: state_name(flow).to_owned(),
        confirmed: flow.confirmed,
        idle: std::time::Duration::from_nanos(idle_ns).as_secs_f64(),
    }
}

pub(super) fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
