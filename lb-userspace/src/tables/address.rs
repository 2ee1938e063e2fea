//! Addresses in the form of the maps.

use std::net::{IpAddr, SocketAddr};

use lb_common::{V6, backend::Backend};

/// An address in the form of the map `snat` and of backends.
#[must_use]
pub fn words(address: IpAddr) -> V6 {
    match address {
        IpAddr::V4(v4) => [u32::from_ne_bytes(v4.octets()), 0, 0, 0],
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [0, 4, 8, 12].map(|i| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]))
        }
    }
}

/// Where the backend of an entry listens.
#[must_use]
pub fn address_of(entry: &Backend) -> SocketAddr {
    let [first, ..] = entry.address;
    let ip = if entry.version == 4 {
        IpAddr::from(first.to_ne_bytes())
    } else {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(entry.address) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        IpAddr::from(octets)
    };
    SocketAddr::new(ip, u16::from_be(entry.port_be))
}
