//! The hashes that the datapath and user space must agree on, and that must be the same on every
//! host: balancers behind one ECMP router pick the same backend for a flow without talking.

use crate::{Address, RING_SLOTS, V6, flow::FlowKey, service::FILTER_BITS};

/// 2^64 divided by the golden ratio, made odd (Knuth, TAOCP vol. 3, section 6.4).
pub const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The 64-bit finalizer of MurmurHash3: each input bit changes each output bit with probability
/// about one half.
#[inline(always)]
#[must_use]
pub const fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

/// Hash of a 5-tuple. Of a client's, the upper half chooses the ring's slot, the lower half the first
/// source port to try; of any, both halves choose its place in the flow table
/// ([`crate::table::Place`]).
#[inline(always)]
#[must_use]
pub fn flow<A: Address>(key: &FlowKey<A>) -> u64 {
    let ports = (key.source_port_be as u64) << 32
        | (key.destination_port_be as u64) << 16
        | key.protocol as u64;
    let addresses = key.source.fold().wrapping_mul(SPREAD) ^ key.destination.fold();
    mix(mix(addresses) ^ ports)
}

/// Hash of a client's address, or of what tells it from others, for the ring's slot. It is the same on
/// all vips of a service.
#[inline(always)]
#[must_use]
pub fn client<A: Address>(address: A) -> u64 {
    mix(address.fold().wrapping_mul(SPREAD))
}

/// The ring's slot of a flow with this hash: its upper 32 bits scaled to `0..RING_SLOTS`.
#[inline(always)]
#[must_use]
pub const fn slot(flow_hash: u64) -> u32 {
    (((flow_hash >> 32) * RING_SLOTS as u64) >> 32) as u32
}

/// The bit of [`crate::service::Settings::filter`] for a vip (address, port in network byte
/// order, protocol).
#[inline(always)]
#[must_use]
pub fn vip_bit<A: Address>(address: A, port_be: u16, protocol: u8) -> usize {
    filter_bit(address, (port_be as u64) << 8 | protocol as u64)
}

/// The bit of [`crate::service::Settings::filter`] for a source address of mode `nat`.
#[inline(always)]
#[must_use]
pub fn snat_bit<A: Address>(address: A) -> usize {
    filter_bit(address, 1 << 32)
}

/// The bit of [`crate::service::Settings::filter`] for the replies of a backend of mode `route`
/// (address, port in network byte order, protocol).
#[inline(always)]
#[must_use]
pub fn reply_bit<A: Address>(address: A, port_be: u16, protocol: u8) -> usize {
    filter_bit(address, 1 << 33 | (port_be as u64) << 8 | protocol as u64)
}

/// The bit of [`crate::service::Settings::filter`] for the end of a tunnel, IPv4 in the form of IPv6.
#[inline(always)]
#[must_use]
pub fn tunnel_bit(address: &V6) -> usize {
    filter_bit(address.copied(), 1 << 34)
}

#[inline(always)]
fn filter_bit<A: Address>(address: A, rest: u64) -> usize {
    let h = (address.fold() ^ rest.wrapping_mul(SPREAD)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (h >> (64 - FILTER_BITS.trailing_zeros())) as usize
}
