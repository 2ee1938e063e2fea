//! The services of a world and their backends: every mode, both families and both protocols, and what
//! else a service may be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::{
    PROTOCOL_TCP, PROTOCOL_UDP,
    service::{mode, scheduler},
};

use super::end::End;
use crate::packet::Mac;

/// Backends of each service.
pub const BACKENDS: u32 = 3;
/// Address bits by which a service with affinity tells clients apart.
pub const AFFINITY_BITS: [u8; 2] = [24, 64];
/// Most flows of a backend that has a limit.
pub const MAX_FLOWS: u32 = 4;

/// A service, with one vip.
#[derive(Clone, Debug)]
pub struct Service {
    pub idx: u32,
    /// With the first of its ports.
    pub vip: End,
    pub last_port: u16,
    pub protocol: u8,
    pub mode: u8,
    /// Its backends, or of a tunnel the outer headers, are of the other address family.
    pub crossed: bool,
    pub scheduler: u8,
    pub affinity: bool,
    /// Its lists keep some clients out.
    pub lists: bool,
    pub max_flows: u32,
    /// Of a tunnel: 0 or 1.
    pub variant: u8,
}

impl Service {
    #[must_use]
    pub fn has(&self, protocol: u8, end: &End) -> bool {
        self.protocol == protocol
            && self.vip.same_host(end)
            && (self.vip.port..=self.last_port).contains(&end.port)
    }

    #[must_use]
    pub fn has_ports(&self) -> bool {
        self.last_port != self.vip.port
    }

    #[must_use]
    pub const fn is_one_way(&self) -> bool {
        mode::is_one_way(self.mode)
    }

    #[must_use]
    pub const fn is_tunnel(&self) -> bool {
        matches!(self.mode, mode::IPIP | mode::GUE)
    }

    /// Packets are translated from one address family to the other.
    #[must_use]
    pub const fn translates(&self) -> bool {
        self.crossed && !self.is_tunnel()
    }

    /// Backends' addresses are of IPv6.
    #[must_use]
    pub const fn backends_v6(&self) -> bool {
        self.vip.v6 != self.crossed
    }

    fn new(v6: bool, protocol: u8, mode: u8) -> Self {
        Self {
            idx: 0,
            vip: vip(v6, 0, 80),
            last_port: 80,
            protocol,
            mode,
            crossed: false,
            scheduler: scheduler::MAGLEV,
            affinity: false,
            lists: false,
            max_flows: 0,
            variant: 0,
        }
    }

    fn with_ports(self, first: u16, last: u16) -> Self {
        Self {
            vip: self.vip.at_port(first),
            last_port: last,
            ..self
        }
    }
}

/// Services of mode `nat` alone, so that no setting of the others is needed.
#[must_use]
pub fn plain() -> Vec<Service> {
    let mut services = Vec::new();
    for v6 in [false, true] {
        for protocol in [PROTOCOL_TCP, PROTOCOL_UDP] {
            services.push(Service::new(v6, protocol, mode::NAT));
        }
    }
    numbered(services)
}

/// Everything that a service can be.
#[must_use]
pub fn all() -> Vec<Service> {
    let mut services = Vec::new();
    let new = Service::new;
    for v6 in [false, true] {
        for protocol in [PROTOCOL_TCP, PROTOCOL_UDP] {
            for mode in [mode::NAT, mode::ROUTE, mode::DSR, mode::IPIP, mode::GUE] {
                services.push(new(v6, protocol, mode));
            }
            services.push(Service {
                crossed: true,
                ..new(v6, protocol, mode::NAT)
            });
            services.push(Service {
                crossed: true,
                variant: 1,
                ..new(v6, protocol, mode::GUE)
            });
        }
        services.push(new(v6, PROTOCOL_TCP, mode::NAT).with_ports(1_000, 1_999));
        services.push(new(v6, PROTOCOL_TCP, mode::ROUTE).with_ports(8_000, 8_191));
        services.push(new(v6, PROTOCOL_UDP, mode::DSR).with_ports(1, 65_535));
        services.push(Service {
            crossed: true,
            ..new(v6, PROTOCOL_UDP, mode::IPIP).with_ports(5_000, 5_100)
        });
        services.push(Service {
            lists: true,
            ..new(v6, PROTOCOL_TCP, mode::NAT)
        });
        services.push(Service {
            lists: true,
            ..new(v6, PROTOCOL_UDP, mode::DSR)
        });
        services.push(Service {
            affinity: true,
            ..new(v6, PROTOCOL_TCP, mode::NAT)
        });
        services.push(Service {
            affinity: true,
            scheduler: scheduler::RANDOM,
            ..new(v6, PROTOCOL_UDP, mode::GUE)
        });
        services.push(Service {
            scheduler: scheduler::ROUND_ROBIN,
            max_flows: MAX_FLOWS,
            ..new(v6, PROTOCOL_TCP, mode::ROUTE)
        });
        services.push(Service {
            scheduler: scheduler::LEAST_CONN,
            max_flows: MAX_FLOWS,
            ..new(v6, PROTOCOL_UDP, mode::NAT)
        });
        services.push(Service {
            scheduler: scheduler::LEAST_CONN,
            ..new(v6, PROTOCOL_TCP, mode::IPIP)
        });
    }
    numbered(services)
}

fn numbered(services: Vec<Service>) -> Vec<Service> {
    (0..)
        .zip(services)
        .map(|(idx, service)| Service {
            idx,
            vip: vip(service.vip.v6, idx, service.vip.port),
            ..service
        })
        .collect()
}

fn vip(v6: bool, idx: u32, port: u16) -> End {
    host(v6, [203, 0, 113], 0x10, 10 + idx as u16, port)
}

/// Where a backend is, and the port on which it gets packets: 0 for the one that was asked for.
#[must_use]
pub fn backend_end(service: &Service, backend_idx: u32) -> End {
    let v6 = service.backends_v6();
    // Of two vips of mode `route` that lead to one port, a client may use one at a time.
    let asked = service.has_ports() && (service.mode == mode::NAT || !service.vip.v6);
    let port = match service.mode {
        mode::NAT | mode::ROUTE if !asked => 8_080,
        _ => 0,
    };
    host(v6, [10, 1, 0], 0xb, 10 + backend_idx as u16, port)
}

#[must_use]
pub const fn backend_mac(backend_idx: u32) -> Mac {
    [2, 0xb, 0, 0, (backend_idx >> 8) as u8, backend_idx as u8]
}

/// Number `n` of the addresses from which mode `nat` sends.
#[must_use]
pub fn snat(v6: bool, n: u16) -> End {
    host(v6, [10, 0, 0], 0x5, 5 + n, 0)
}

/// One of the sources of outer packets.
#[must_use]
pub fn tunnel_source(v6: bool, n: u8) -> End {
    let address: IpAddr = if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 7, 0x4500, 0, 0, 0, n.into()).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 64 + n % 64).into()
    };
    End::new(address, 0)
}

/// This host where packets come in.
#[must_use]
pub fn own(v6: bool) -> End {
    host(v6, [192, 0, 2], 0xf, 1_000, 0)
}

/// Number `n` of the clients; those that [`is_denied`] are kept out by lists.
#[must_use]
pub fn client(v6: bool, n: u16, port: u16) -> End {
    host(v6, [198, 51, 100], 0xc, 1 + n * 16, port)
}

/// A host that is nobody's here.
#[must_use]
pub fn stranger(v6: bool, n: u16) -> End {
    host(v6, [192, 0, 2], 0xf, n, 0)
}

/// The sources that lists deny: the upper half of the clients' network.
#[must_use]
pub const fn denied(v6: bool) -> &'static str {
    if v6 {
        "2001:db8:c::80/121"
    } else {
        "198.51.100.128/25"
    }
}

#[must_use]
pub fn is_denied(client: &End) -> bool {
    let octets = client.octets();
    let network: &[u8] = if client.v6 {
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0xc, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    } else {
        &[198, 51, 100]
    };
    octets.starts_with(network) && octets[octets.len() - 1] >= 128
}

fn host(v6: bool, net4: [u8; 3], net6: u16, n: u16, port: u16) -> End {
    let [a, b, c] = net4;
    let [high, low] = n.to_be_bytes();
    let address: IpAddr = if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, net6, 0, 0, 0, 0, n).into()
    } else {
        Ipv4Addr::new(a, b, c + high, low).into()
    };
    End::new(address, port)
}
