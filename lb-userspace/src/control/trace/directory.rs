//! Whose a packet is, by its addresses: what the program does to it is seen from what it makes of it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{
    config::{Config, Mode, Vip},
    control::{
        Control,
        packet::{self, Packet},
    },
};

/// Services, backends and interfaces, as a trace names them.
pub(in crate::control) struct Directory {
    services: Vec<Entry>,
    gue_ports: Vec<u16>,
    interfaces: BTreeMap<u32, String>,
}

struct Entry {
    name: String,
    protocol: &'static str,
    vips: Vec<Vip>,
    backends: Vec<Known>,
}

/// A backend, and the MAC address of its next hop.
struct Known {
    name: String,
    address: SocketAddr,
    peer_mac: Option<[u8; 6]>,
}

/// To whom a packet belongs.
pub(super) struct Party<'a> {
    pub(super) backend: Option<&'a str>,
}

impl Control {
    pub(in crate::control) fn directory(&self) -> Directory {
        let mac = |address: IpAddr| self.next_hops.get(&address).and_then(|hop| hop.peer_mac);
        Directory::of(
            &self.config,
            mac,
            |ifindex| (self.interfaces.get(&ifindex)).map(|interface| interface.name.clone()),
            self.interfaces.keys().copied(),
        )
    }
}

impl Directory {
    pub(super) fn of(
        config: &Config,
        mac: impl Fn(IpAddr) -> Option<[u8; 6]>,
        name: impl Fn(u32) -> Option<String>,
        indices: impl Iterator<Item = u32>,
    ) -> Self {
        let services = (config.services.iter())
            .map(|service| Entry {
                name: service.name.clone(),
                protocol: service.protocol.name(),
                vips: service.listen.clone(),
                backends: (service.backends.iter())
                    .map(|backend| Known {
                        name: backend.name.clone(),
                        address: backend.address,
                        // Where addresses stay, it alone tells the backend.
                        peer_mac: mac(backend.address.ip()).filter(|_| service.mode == Mode::Dsr),
                    })
                    .collect(),
            })
            .collect();
        Self {
            services,
            gue_ports: (config.services.iter())
                .filter(|service| service.mode == Mode::Gue)
                .map(|service| service.tunnel.port)
                .collect(),
            interfaces: indices.filter_map(|idx| Some((idx, name(idx)?))).collect(),
        }
    }

    pub(super) fn gue_ports(&self) -> &[u16] {
        &self.gue_ports
    }

    /// The interface's name, or its index where nobody knows it.
    pub(super) fn interface(&self, ifindex: u32) -> String {
        (self.interfaces.get(&ifindex)).map_or_else(|| ifindex.to_string(), Clone::clone)
    }

    /// The backend of a packet of this service; `None` for one of another service. A client's packet arrives
    /// for a vip, and a backend's leaves from one; one that was dropped on its way back is told by its
    /// backend alone.
    pub(super) fn party(
        &self,
        service: &str,
        arrived: &Packet,
        left: Option<&Packet>,
        left_bytes: &[u8],
    ) -> Option<Party<'_>> {
        let service = self.services.iter().find(|entry| entry.name == service)?;
        if service.listens(
            arrived.destination,
            arrived.destination_port,
            &arrived.protocol,
        ) {
            let backend = left.and_then(|left| {
                service
                    .backend(left.destination, left.destination_port)
                    .or_else(|| {
                        service
                            .backend(left.destination, None)
                            .filter(|_| left.inner.is_some())
                    })
                    .or_else(|| service.backend_by_mac(packet::macs(left_bytes)?.0))
            });
            return Some(Party { backend });
        }
        let from_backend = service.backend(arrived.source, arrived.source_port);
        let is_reply = match left {
            Some(left) => service.listens(left.source, left.source_port, &left.protocol),
            None => from_backend.is_some(),
        };
        is_reply.then_some(Party {
            backend: from_backend,
        })
    }
}

impl Entry {
    /// It has a vip with this address and port. A fragment has no port, and ICMP neither: of them the
    /// address tells.
    fn listens(&self, address: IpAddr, port: Option<u16>, protocol: &str) -> bool {
        self.vips.iter().any(|vip| {
            vip.address == address
                && match port {
                    Some(port) => {
                        protocol == self.protocol
                            && (vip.ports.first..=vip.ports.last).contains(&port)
                    }
                    None => protocol == "icmp" || protocol == self.protocol,
                }
        })
    }

    /// Its backend with this address and port; port 0 of a backend stands for all, and a packet without one
    /// is told by the address.
    fn backend(&self, address: IpAddr, port: Option<u16>) -> Option<&str> {
        let matches = |backend: &&Known| {
            backend.address.ip() == address
                && port.is_none_or(|port| [0, port].contains(&backend.address.port()))
        };
        let found = self.backends.iter().find(matches);
        found.map(|backend| backend.name.as_str())
    }

    fn backend_by_mac(&self, mac: [u8; 6]) -> Option<&str> {
        let found = self
            .backends
            .iter()
            .find(|backend| backend.peer_mac == Some(mac));
        found.map(|backend| backend.name.as_str())
    }
}
