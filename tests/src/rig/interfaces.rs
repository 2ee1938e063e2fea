//! The balancer's own interfaces, as the daemon tells of them.

use std::net::IpAddr;

use aya::maps::HashMap;
use lb_common::{interface::Interface, names};

use super::{Rig, entry::four_words};
use crate::packet::ETHERNET_LEN;

impl Rig {
    /// An interface with this MTU and these addresses of ours, at most one of each family.
    ///
    /// # Panics
    /// When the kernel refuses the entry.
    pub fn interface(&mut self, ifindex: u32, mtu: u32, addresses: &[IpAddr]) {
        let mut interface = Interface {
            mtu,
            ..Interface::default()
        };
        for address in addresses {
            match address {
                IpAddr::V4(_) => interface.address4 = [four_words(*address)[3]],
                IpAddr::V6(_) => interface.address6 = four_words(*address),
            }
        }
        let map = self.loaded.ebpf.map_mut(names::INTERFACES);
        HashMap::<_, u32, Interface>::try_from(map.expect("interfaces exist"))
            .expect("they are a hash by index")
            .insert(ifindex, interface, 0)
            .expect("they have room");
        let frame = mtu + ETHERNET_LEN as u32;
        self.change_settings(|settings| settings.frame_max = settings.frame_max.min(frame));
    }
}
