//! The entries of backends: of those that the configuration has, and of those that it had.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use lb_common::backend::{self, Backend};

use super::{
    Family, Inputs, Panic, TableError, backend_identity, identity,
    ids::Ids,
    modes::{entry_identity, number},
    service::protocol_number,
    standing::standing,
    words,
};
use crate::{
    config::{Backend as BackendConfig, Config, Mode, OnDown, Service as ServiceConfig},
    net::NextHop,
};

pub(super) fn backend_entry(
    service: &ServiceConfig,
    service_idx: u32,
    backend: &BackendConfig,
    panic: Option<Panic>,
    inputs: &Inputs<'_>,
    ids: &mut Ids,
) -> Result<Backend, TableError> {
    let BackendConfig {
        address, weight, ..
    } = *backend;
    let identity = backend_identity(service, address);
    let standing = standing(service, backend, panic, inputs);
    let next_hop = inputs.next_hops.get(&address.ip());
    let sources = match service.mode {
        Mode::Nat => sources(address, inputs, next_hop),
        _ => Vec::new(),
    };
    let (snat_first, snat_count) = ids.snat_range(&sources)?;
    let resolved = next_hop.and_then(|hop| hop.peer_mac.map(|mac| (hop, mac)));
    Ok(Backend {
        address: words(address.ip()),
        port_be: address.port().to_be(),
        state: standing.state,
        flows: standing.flows,
        ifindex: resolved.map_or(0, |(hop, _)| hop.ifindex),
        peer_mac: resolved.map_or([0; 6], |(_, mac)| mac),
        local_mac: resolved.map_or([0; 6], |(hop, _)| hop.local_mac),
        service_idx: u16::try_from(service_idx).expect("services are limited"),
        weight,
        snat_first,
        snat_count,
        mode: number(service.mode),
        version: if address.is_ipv4() { 4 } else { 6 },
        protocol: protocol_number(service.protocol),
        pad: 0,
        identity: entry_identity(identity, service.mode),
        since_unix: standing.since_unix,
        max_flows: backend.max_flows.map_or(0, NonZeroU32::get),
    })
}

/// The source addresses of mode `nat` toward a backend.
fn sources(address: SocketAddr, inputs: &Inputs<'_>, next_hop: Option<&NextHop>) -> Vec<IpAddr> {
    let mut sources: Vec<IpAddr> = (inputs.config.snat.addresses.iter())
        .filter(|source| source.is_ipv4() == address.is_ipv4())
        .copied()
        .collect();
    if sources.is_empty() {
        sources.extend(next_hop.map(|hop| hop.source));
    }
    sources
}

/// The entry of a backend that the configuration no longer has. Its flows get what `on_down` says
/// of its service, `reset` where that is gone too.
pub(super) fn removed(before: &Backend, config: &Config, ids: &Ids) -> Backend {
    let keep = config.services.iter().any(|service| {
        service.on_down == OnDown::Keep
            && [Family::Inet, Family::Inet6].iter().any(|family| {
                ids.known_service(identity::service(&service.name, *family))
                    == Some(u32::from(before.service_idx))
            })
    });
    let already = before.state == backend::state::REMOVED;
    Backend {
        state: backend::state::REMOVED,
        flows: if keep || (already && before.flows == backend::flows::FORWARD) {
            backend::flows::FORWARD
        } else {
            backend::flows::RESET
        },
        ..*before
    }
}
