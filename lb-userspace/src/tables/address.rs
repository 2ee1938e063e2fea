//! Addresses in the form of the maps.

use std::net::{IpAddr, SocketAddr};

use lb_common::{V6, backend::Backend, mapped};

/// An address in the form of the map `snat` and of backends: IPv4 in that of IPv6.
#[must_use]
pub fn words(address: IpAddr) -> V6 {
    match address {
        IpAddr::V4(v4) => mapped([u32::from_ne_bytes(v4.octets())]),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [0, 4, 8, 12].map(|i| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]))
        }
    }
}

/// Where the backend of an entry listens.
#[must_use]
pub fn address_of(entry: &Backend) -> SocketAddr {
    let ip = ip(entry.address);
    SocketAddr::new(ip, u16::from_be(entry.port_be))
}

/// The address in this form.
#[must_use]
pub fn ip(words: V6) -> IpAddr {
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::from(octets).to_canonical()
}
