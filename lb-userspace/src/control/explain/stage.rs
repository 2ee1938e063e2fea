//! What is known of the packet's service as the program runs: names, the ring, who is up.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use lb_common::{
    Address, V6, backend,
    flow::FlowKey,
    hash,
    path::Path as PathMtu,
    service::{Service, flag},
};

use super::{CommandError, Control, Question};
use crate::{
    config::{Mode, Scheduler, backend_text},
    tables::{backend_identity, identity_of, vips::service_of, words},
};

pub(super) struct Stage {
    pub(super) question: Question,
    pub(super) run_dir: PathBuf,
    pub(super) path_mtus: Vec<(V6, PathMtu)>,
    pub(super) gue_ports: Vec<u16>,
    pub(super) service: Option<Known>,
    interfaces: BTreeMap<u32, String>,
    /// What vips there are on the address, in words.
    beside: Vec<String>,
}

/// The service that has the vip.
pub(super) struct Known {
    pub(super) idx: u32,
    pub(super) entry: Service,
    pub(super) name: String,
    /// As in the configuration.
    pub(super) vip: String,
    pub(super) mode: &'static str,
    pub(super) scheduler: Scheduler,
    pub(super) has_affinity: bool,
    pub(super) ring: Arc<[u32]>,
    pub(super) backends: Vec<Candidate>,
}

/// One of its backends.
pub(super) struct Candidate {
    pub(super) idx: u32,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) state: &'static str,
    pub(super) reason: String,
    /// Interface by which it is reached; 0 while that is unknown.
    pub(super) ifindex: u32,
    /// Live flows, where they are counted.
    pub(super) live: u32,
    pub(super) is_full: bool,
}

impl Control {
    pub(super) fn stage(&self, question: Question) -> Result<Stage, CommandError> {
        let (address, port) = (question.vip.ip(), question.vip.port());
        let service = match service_of(&self.applied, address, port, question.protocol) {
            Some(idx) => self.known(idx, &question)?,
            None => None,
        };
        let beside = (self.config.services.iter())
            .flat_map(|service| (service.listen.iter()).map(move |vip| (service, vip)))
            .filter(|(_, vip)| vip.address == question.vip.ip())
            .map(|(service, vip)| format!("{vip} {} of {}", service.protocol.name(), service.name))
            .collect();
        Ok(Stage {
            run_dir: self.options.run_dir.clone(),
            path_mtus: self.datapath.path_mtus()?,
            gue_ports: (self.config.services.iter())
                .filter(|service| service.mode == Mode::Gue)
                .map(|service| service.tunnel.port)
                .collect(),
            service,
            interfaces: (self.interfaces.iter())
                .map(|(idx, interface)| (*idx, interface.name.clone()))
                .collect(),
            question,
            beside,
        })
    }

    /// What is known of it; `None` while a reload has just taken it out of the configuration.
    fn known(&self, idx: u32, question: &Question) -> Result<Option<Known>, CommandError> {
        let vip_of = |service: &crate::config::Service| {
            (service.listen.iter())
                .filter(|vip| {
                    vip.address == question.vip.ip()
                        && (vip.ports.first..=vip.ports.last).contains(&question.vip.port())
                })
                .min_by_key(|vip| vip.ports.count())
                .map(ToString::to_string)
        };
        let found = (self.config.services.iter())
            .filter(|service| service.protocol.name() == question.protocol_name())
            .find_map(|service| Some((service, vip_of(service)?)));
        let (Some((service, vip)), Some(entry)) = (found, self.applied.services.get(&idx)) else {
            return Ok(None);
        };
        let mut backends = Vec::new();
        for (backend_idx, applied) in &self.applied.backends {
            if u32::from(applied.service_idx) != idx || applied.state == backend::state::REMOVED {
                continue;
            }
            let id = identity_of(applied);
            let Some(backend) = (service.backends.iter())
                .find(|backend| backend_identity(service, backend.address) == id)
            else {
                continue;
            };
            let shown = self.shown(service, id, backend);
            let live = self.datapath.live_flows(*backend_idx)?;
            backends.push(Candidate {
                idx: *backend_idx,
                name: backend.name.clone(),
                address: backend_text(backend.address),
                state: shown.state,
                reason: shown.reason,
                ifindex: applied.ifindex,
                live,
                is_full: applied.max_flows != 0 && live >= applied.max_flows,
            });
        }
        Ok(Some(Known {
            idx,
            entry: *entry,
            name: service.name.clone(),
            vip,
            mode: service.mode.name(),
            scheduler: service.scheduler,
            has_affinity: entry.flags & flag::AFFINITY != 0,
            ring: (self.applied.rings.get(&idx))
                .map_or_else(|| [].into(), |ring| ring.slots.clone()),
            backends,
        }))
    }
}

impl Stage {
    pub(super) fn candidate(&self, idx: u32) -> Option<&Candidate> {
        let service = self.service.as_ref()?;
        service.backends.iter().find(|backend| backend.idx == idx)
    }

    pub(super) fn interface(&self, ifindex: u32) -> String {
        (self.interfaces.get(&ifindex)).map_or_else(|| ifindex.to_string(), Clone::clone)
    }

    pub(super) fn no_vip(&self) -> String {
        let question = &self.question;
        let what = format!(
            "no service listens on {} {}",
            question.vip,
            question.protocol_name()
        );
        if self.beside.is_empty() {
            return format!("{what}, nor on another port of this address");
        }
        format!(
            "{what}; on this address there are {}",
            self.beside.join(", ")
        )
    }

    /// The hash by which the ring is asked: of the 5-tuple, in the form of IPv6 between the families, or with
    /// affinity of the client's address.
    pub(super) fn hash(&self) -> u64 {
        let question = &self.question;
        let service = self.service.as_ref().map(|service| &service.entry);
        let affinity = service.filter(|entry| entry.flags & flag::AFFINITY != 0);
        let version = if question.vip.is_ipv4() { 4 } else { 6 };
        let crossed = service.is_some_and(|entry| {
            entry.version != version && !lb_common::service::mode::is_one_way(entry.mode)
        });
        match (question.client.ip(), question.vip.ip()) {
            (IpAddr::V4(client), IpAddr::V4(vip)) => {
                let [client, vip] = [client, vip].map(|ip| [u32::from_ne_bytes(ip.octets())]);
                match affinity {
                    Some(entry) => hash::client(client.masked(entry.affinity_bits4)),
                    None if crossed => {
                        hash::flow(&self.key(lb_common::mapped(client), lb_common::mapped(vip)))
                    }
                    None => hash::flow(&self.key(client, vip)),
                }
            }
            (client, vip) => match affinity {
                Some(entry) => hash::client(words(client).masked(entry.affinity_bits6)),
                None => hash::flow(&self.key(words(client), words(vip))),
            },
        }
    }

    fn key<A>(&self, source: A, destination: A) -> FlowKey<A> {
        FlowKey {
            source,
            destination,
            source_port_be: self.question.client.port().to_be(),
            destination_port_be: self.question.vip.port().to_be(),
            protocol: self.question.protocol.into(),
        }
    }
}
