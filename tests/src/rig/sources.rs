//! Lists of sources.

use std::net::IpAddr;

use aya::maps::{LpmTrie, lpm_trie::Key};
use lb_common::{
    names,
    service::flag,
    sources::{SERVICE_BITS, Source},
};

use super::{
    Rig,
    entry::{Family, by_family},
};

impl Rig {
    /// Has a service obey its lists.
    pub fn obey_lists(&mut self, service_idx: u32) {
        self.change_service(service_idx, |service| service.flags |= flag::SOURCES);
    }

    /// An entry of a service's lists, such as `192.0.2.0/24` (one of [`lb_common::sources::access`]).
    ///
    /// # Panics
    /// When that is no prefix.
    pub fn source(&mut self, service_idx: u32, prefix: &str, access: u32) {
        let (address, length) = prefix.split_once('/').expect("an address and a length");
        let address: IpAddr = address.parse().expect("an address");
        let length: u32 = length.parse().expect("a length");
        let name = if address.is_ipv4() {
            names::SOURCES4
        } else {
            names::SOURCES6
        };
        by_family!(address, A => {
            let source = Source { service_idx, address: <A as Family>::words(address) };
            let map = self.loaded.ebpf.map_mut(name).expect("the lists exist");
            LpmTrie::<_, Source<A>, u32>::try_from(map)
                .expect("they are tries")
                .insert(&Key::new(SERVICE_BITS + length, source), access, 0)
                .expect("they have room");
        });
    }
}
