//! What the mode of a service means for the tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    V6,
    backend::{Backend, Tunnel},
    service::{Settings, mode},
    unmapped,
};

use super::{Inputs, ip, words};
use crate::{
    config::{Mode, Prefix, Service},
    net::NextHop,
};

/// The identity of a backend's entry, which has one of its own for each mode: flows that were opened in
/// one mode cannot go on in another.
pub(super) fn entry_identity(backend: u64, mode: Mode) -> u64 {
    backend ^ tag(number(mode))
}

/// The identity of the backend that an entry is of.
#[must_use]
pub fn identity_of(entry: &Backend) -> u64 {
    entry.identity ^ tag(entry.mode)
}

/// What sets apart the entries of one backend by mode; its own inverse under XOR.
fn tag(mode: u8) -> u64 {
    u64::from(mode.saturating_sub(mode::NAT)) << 32
}

pub(super) fn number(mode: Mode) -> u8 {
    match mode {
        Mode::Nat => mode::NAT,
        Mode::Route => mode::ROUTE,
        Mode::Dsr => mode::DSR,
        Mode::Ipip => mode::IPIP,
        Mode::Gue => mode::GUE,
    }
}

/// Why a backend cannot be used in its service's mode, though it may be healthy.
#[must_use]
pub fn obstacle(service: &Service, next_hop: Option<&NextHop>) -> Option<String> {
    let gateway = next_hop?.gateway?;
    (service.mode == Mode::Dsr).then(|| {
        format!(
            "mode dsr needs a backend on a network of this host, but this one is behind the router \
             {gateway}; use mode ipip or gue"
        )
    })
}

/// How packets are wrapped for a backend; without a route to it, as before.
pub(super) fn tunnel(
    service: &Service,
    address: SocketAddr,
    inputs: &Inputs<'_>,
    before: Option<&Tunnel>,
) -> Tunnel {
    let next_hop = inputs.next_hops.get(&address.ip());
    let configured = configured_source(service, address.ip());
    let (source, spread) = match (configured, next_hop, before) {
        (Some(prefix), ..) => (words(prefix.address), host_bits(prefix)),
        (None, Some(hop), _) => (words(hop.source), [0; 4]),
        (None, None, Some(before)) => (before.source, before.spread),
        (None, None, None) => ([0; 4], [0; 4]),
    };
    Tunnel {
        source,
        spread,
        mtu: match (next_hop, before) {
            (Some(hop), _) => hop.mtu,
            (None, Some(before)) => before.mtu,
            // Without a way there is none that limits it.
            (None, None) => u32::from(u16::MAX),
        },
        port_be: match service.mode {
            Mode::Gue => service.tunnel.port.to_be(),
            _ => 0,
        },
        version: if address.is_ipv4() { 4 } else { 6 },
        variant: service.tunnel.variant.number(),
        pad: [0; 3],
    }
}

/// Where outer packets to a backend come from, and the bits of that which vary from flow to flow.
#[must_use]
pub fn outer_source(service: &Service, backend: IpAddr, next_hop: &NextHop) -> (IpAddr, IpAddr) {
    let none = match backend {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    match configured_source(service, backend) {
        Some(prefix) => {
            let spread = host_bits(prefix);
            let spread = match prefix.address {
                IpAddr::V4(_) => IpAddr::from(spread[3].to_ne_bytes()),
                IpAddr::V6(_) => ip(spread),
            };
            (prefix.address, spread)
        }
        None => (next_hop.source, none),
    }
}

fn configured_source(service: &Service, backend: IpAddr) -> Option<&Prefix> {
    (service.tunnel.sources.iter()).find(|prefix| prefix.address.is_ipv4() == backend.is_ipv4())
}

/// The bits that a prefix leaves open, as a mask in the form of an address.
fn host_bits(prefix: &Prefix) -> V6 {
    let length = u32::from(prefix.length);
    match prefix.address {
        IpAddr::V4(_) => {
            let mask = u32::MAX.checked_shr(length).unwrap_or(0);
            [0, 0, 0, mask.to_be()]
        }
        IpAddr::V6(_) => {
            let mask = u128::MAX.checked_shr(length).unwrap_or(0);
            words(IpAddr::V6(mask.into()))
        }
    }
}

/// Marks what comes back from a backend of mode `route` as ours, and where a tunnel ends as one of ours.
pub(super) fn admit_backend(settings: &mut Settings, backend: &Backend) {
    if matches!(backend.mode, mode::IPIP | mode::GUE) {
        settings.admit_tunnel(&backend.address);
    }
    if backend.mode != mode::ROUTE {
        return;
    }
    if backend.version == 4 {
        settings.admit_route(
            unmapped(&backend.address),
            backend.port_be,
            backend.protocol,
        );
    } else {
        settings.admit_route(backend.address, backend.port_be, backend.protocol);
    }
}
