//! Affinity, and which backends clients are remembered to have.

use std::net::IpAddr;

use aya::maps::HashMap;
use lb_common::{
    Address as _,
    affinity::{Client, Remembered},
    names,
    service::flag,
};

use super::{
    Rig,
    entry::{Family as _, by_family},
};

impl Rig {
    /// Gives a service affinity by these bits of addresses, for so many seconds.
    pub fn affinity(&mut self, service_idx: u32, bits4: u8, bits6: u8, seconds: u32) {
        self.change_service(service_idx, |service| {
            service.flags |= flag::AFFINITY;
            service.affinity_bits4 = bits4;
            service.affinity_bits6 = bits6;
            service.affinity_ms = seconds * 1_000;
        });
    }

    /// What is remembered of a client whose first `bits` bits are those of this address.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn remembered(&self, service_idx: u32, client: IpAddr, bits: u8) -> Option<Remembered> {
        by_family!(client, A => {
            let address = A::words(client).masked(bits);
            let map = self.loaded.ebpf.map(name_of(client)).expect("clients are remembered");
            let map = HashMap::<_, Client<A>, Remembered>::try_from(map).expect("by a hash");
            map.get(&Client { service_idx, address }, 0).ok()
        })
    }

    /// Changes that.
    ///
    /// # Panics
    /// When there is none.
    pub fn change_remembered(
        &mut self,
        service_idx: u32,
        client: IpAddr,
        bits: u8,
        change: impl FnOnce(&mut Remembered),
    ) {
        let mut remembered =
            (self.remembered(service_idx, client, bits)).expect("the client is remembered");
        change(&mut remembered);
        by_family!(client, A => {
            let address = A::words(client).masked(bits);
            let map = self.loaded.ebpf.map_mut(name_of(client)).expect("clients are remembered");
            HashMap::<_, Client<A>, Remembered>::try_from(map)
                .expect("by a hash")
                .insert(Client { service_idx, address }, remembered, 0)
                .expect("it has room");
        });
    }
}

const fn name_of(client: IpAddr) -> &'static str {
    if client.is_ipv4() {
        names::AFFINITY4
    } else {
        names::AFFINITY6
    }
}
