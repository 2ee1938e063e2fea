//! All that the tables hold, and emptying them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    V4, V6,
    affinity::{Client, Remembered},
    fragment::{Datagram, First},
    names,
    path::Path,
};

use super::{
    Entry, Rig, Table,
    entry::{Family, by_family},
    paths::PATH_MTUS,
};

/// An entry of a flow table, with its key.
#[derive(Clone, Debug)]
pub struct Placed {
    pub protocol: u32,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub entry: Entry,
    /// It lies where its key belongs.
    pub at_home: bool,
}

const fn any(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

impl Rig {
    /// Every entry of one family.
    #[must_use]
    pub fn placed(&self, v6: bool) -> Vec<Placed> {
        by_family!(any(v6), A => {
            let end = |address: A, port_be| {
                SocketAddr::new(address.address(), u16::from_be(port_be))
            };
            self.all_keyed::<A>()
                .into_iter()
                .map(|(table, key, flow, at_home)| Placed {
                    protocol: key.protocol,
                    source: end(key.source, key.source_port_be),
                    destination: end(key.destination, key.destination_port_be),
                    entry: Entry::of(table, &flow),
                    at_home,
                })
                .collect()
        })
    }

    /// Empties the flow tables and forgets all clients.
    pub fn forget_everything(&mut self) {
        for v6 in [false, true] {
            by_family!(any(v6), A => {
                self.clear::<A>(Table::HalfOpen);
                self.clear::<A>(Table::Confirmed);
            });
        }
        self.loaded
            .forget::<Client<V4>, Remembered>(names::AFFINITY4);
        self.loaded
            .forget::<Client<V6>, Remembered>(names::AFFINITY6);
        self.loaded.forget::<Datagram<V4>, First>(names::FRAGMENTS4);
        self.loaded.forget::<Datagram<V6>, First>(names::FRAGMENTS6);
        self.loaded.forget::<V6, Path>(PATH_MTUS);
    }

    /// Sweeps the whole table of one family.
    pub fn sweep_all(&mut self, v6: bool) {
        self.sweep(any(v6), Table::Confirmed);
    }
}
