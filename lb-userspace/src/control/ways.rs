//! By which way packets of a service go to a backend, for the probes that go by it too.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use super::Control;
use crate::{
    config::{Backend, GueVariant, Mode, Service},
    datapath::link_address,
    health::{
        Path,
        through::{Gue, Outer, Way},
    },
    net::NextHop,
    tables::{backend_identity, obstacle, outer_source},
};

impl Control {
    /// Tells the checker all ways there are now.
    pub(super) fn show_ways(&self) {
        let vips: HashSet<IpAddr> = (self.config.services.iter())
            .flat_map(|service| service.listen.iter().map(|vip| vip.address))
            .collect();
        for service in &self.config.services {
            if !service.health_check.through {
                continue;
            }
            for backend in &service.backends {
                let id = backend_identity(service, backend.address);
                self.checker
                    .set_path(id, self.path(service, backend, &vips));
            }
        }
    }

    fn path(&self, service: &Service, backend: &Backend, vips: &HashSet<IpAddr>) -> Path {
        let address = backend.address.ip();
        let next_hop = self.next_hops.get(&address);
        if let Some(obstacle) = obstacle(service, next_hop) {
            return Path::None(obstacle);
        }
        match (next_hop, self.unreachable.get(&address)) {
            (Some(hop), _) => match hop.peer_mac {
                Some(peer_mac) => {
                    let outer = outer(service, address, hop);
                    Path::Known(Arc::new(self.way(hop, peer_mac, outer, vips)))
                }
                None => Path::Unknown,
            },
            (None, Some(why)) => Path::None(why.clone()),
            (None, None) => Path::Unknown,
        }
    }

    fn way(
        &self,
        hop: &NextHop,
        peer_mac: [u8; 6],
        outer: Option<Outer>,
        vips: &HashSet<IpAddr>,
    ) -> Way {
        let own = || self.own_addresses(hop).filter(|own| !vips.contains(own));
        Way {
            link: link_address(hop.ifindex),
            local_mac: hop.local_mac,
            peer_mac,
            source4: own().find_map(|own| match own {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            }),
            source6: own().find_map(|own| match own {
                IpAddr::V6(v6) => Some(v6),
                IpAddr::V4(_) => None,
            }),
            outer,
        }
    }

    /// This host's addresses, the one that a backend is most likely to reach first: that which packets
    /// to it come from, others of the same interface, any other.
    fn own_addresses(&self, hop: &NextHop) -> impl Iterator<Item = IpAddr> {
        let beside = self.interfaces.get(&hop.ifindex);
        let all = self.interfaces.values();
        let others = beside.into_iter().chain(all);
        std::iter::once(hop.source).chain(others.flat_map(|on| on.addresses.iter().copied()))
    }
}

fn outer(service: &Service, backend: IpAddr, hop: &NextHop) -> Option<Outer> {
    let (source, spread) = outer_source(service, backend, hop);
    service.mode.has_tunnel().then_some(Outer {
        source,
        spread,
        backend,
        gue: (service.mode == Mode::Gue).then_some(Gue {
            port: service.tunnel.port,
            bare: service.tunnel.variant == GueVariant::Bare,
        }),
    })
}
