//! Which first fragments are remembered.

use std::net::IpAddr;

use aya::{Pod, maps::HashMap};
use lb_common::{
    V4, V6,
    fragment::{Datagram, First},
    names,
};

use super::Rig;

impl Rig {
    /// How many datagrams of this address family are remembered.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn fragmented(&mut self, family: IpAddr) -> usize {
        if family.is_ipv4() {
            self.datagrams::<V4>(names::FRAGMENTS4).keys().count()
        } else {
            self.datagrams::<V6>(names::FRAGMENTS6).keys().count()
        }
    }

    /// Makes all of them look as if their first fragment had passed that much longer ago.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn age_fragments(&mut self, family: IpAddr, seconds: u64) {
        if family.is_ipv4() {
            age(self.datagrams::<V4>(names::FRAGMENTS4), seconds);
        } else {
            age(self.datagrams::<V6>(names::FRAGMENTS6), seconds);
        }
    }

    fn datagrams<A>(&mut self, name: &str) -> HashMap<&mut aya::maps::MapData, Datagram<A>, First>
    where
        Datagram<A>: Pod,
    {
        let map = self
            .loaded
            .ebpf
            .map_mut(name)
            .expect("datagrams are remembered");
        HashMap::try_from(map).expect("by a hash")
    }
}

fn age<A>(mut datagrams: HashMap<&mut aya::maps::MapData, Datagram<A>, First>, seconds: u64)
where
    Datagram<A>: Pod,
{
    let all: Vec<_> = datagrams.iter().collect();
    for datagram in all {
        let (key, mut first) = datagram.expect("nobody else changes them");
        first.seen_ns = first.seen_ns.saturating_sub(seconds * 1_000_000_000);
        datagrams.insert(key, first, 0).expect("it is there");
    }
}
