//! Stable names for table entries: 64-bit hashes by which every host, and a restarted daemon, knows
//! the same service or backend again. Never of a position or a time.

use std::net::SocketAddr;

use lb_common::hash;

use super::Family;

/// The identity of one address family of a service. Never 0.
#[must_use]
pub fn service(name: &str, family: Family) -> u64 {
    let h = fnv(FNV_OFFSET, name.as_bytes());
    finish(fnv(h, &[0, family as u8]))
}

/// The identity of a backend: its service, the protocol and its address. Never 0.
#[must_use]
pub fn backend(service: &str, protocol: u8, address: SocketAddr) -> u64 {
    let mut h = fnv(FNV_OFFSET, service.as_bytes());
    // A name cannot hold this byte, so no two pairs of name and address run together.
    h = fnv(h, &[0, protocol]);
    h = match address {
        SocketAddr::V4(v4) => fnv(h, &v4.ip().octets()),
        SocketAddr::V6(v6) => fnv(h, &v6.ip().octets()),
    };
    finish(fnv(h, &address.port().to_be_bytes()))
}

/// A hash of any text.
#[must_use]
pub fn text(text: &str) -> u64 {
    finish(fnv(FNV_OFFSET, text.as_bytes()))
}

/// FNV-1a, 64 bits (draft-eastlake-fnv).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |h, byte| {
        (h ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
    })
}

fn finish(h: u64) -> u64 {
    hash::mix(h).max(1)
}
