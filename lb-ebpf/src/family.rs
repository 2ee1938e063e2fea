//! The two address families: each has headers and maps of its own size, and one path serves both.

use aya_ebpf::maps::HashMap;
use lb_common::{
    Address, V4, V6,
    backend::Backend,
    flow::{Flow, FlowKey},
    half_open::Bucket,
    service::VipKey,
};

use crate::{
    flow::Copies,
    maps,
    packet::{IpHeader, Ipv4, Ipv6},
    select::Draft,
};

/// An address family.
pub trait Family: 'static {
    type Address: Address;
    type Header: IpHeader<Address = Self::Address>;

    fn vips() -> &'static HashMap<VipKey<Self::Address>, u32>;
    fn flows() -> &'static HashMap<FlowKey<Self::Address>, Flow<Self::Address>>;
    /// A bucket of the half-open table.
    fn half_open(bucket_idx: u32) -> Option<*mut Bucket<Self::Address>>;
    fn backend_address(backend: &Backend) -> Self::Address;
    /// A value of the map `snat` as an address of this family.
    fn snat_address(address: &V6) -> Self::Address;
    /// This CPU's scratch for entries of the half-open table.
    fn copies() -> Option<*mut Copies<Self::Address>>;
    /// This CPU's scratch for a new flow.
    fn draft() -> Option<*mut Draft<Self::Address>>;
}

/// IPv4.
pub enum Inet {}
/// IPv6.
pub enum Inet6 {}

impl Family for Inet {
    type Address = V4;
    type Header = Ipv4;

    #[inline(always)]
    fn vips() -> &'static HashMap<VipKey<V4>, u32> {
        &maps::VIPS4
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKey<V4>, Flow<V4>> {
        &maps::FLOWS4
    }

    #[inline(always)]
    fn half_open(bucket_idx: u32) -> Option<*mut Bucket<V4>> {
        maps::HALF_OPEN4.get_ptr_mut(bucket_idx)
    }

    #[inline(always)]
    fn backend_address(backend: &Backend) -> V4 {
        [backend.address[0]]
    }

    #[inline(always)]
    fn snat_address(address: &V6) -> V4 {
        [address[0]]
    }

    #[inline(always)]
    fn copies() -> Option<*mut Copies<V4>> {
        maps::COPIES4.get_ptr_mut(0)
    }

    #[inline(always)]
    fn draft() -> Option<*mut Draft<V4>> {
        maps::DRAFT4.get_ptr_mut(0)
    }
}

impl Family for Inet6 {
    type Address = V6;
    type Header = Ipv6;

    #[inline(always)]
    fn vips() -> &'static HashMap<VipKey<V6>, u32> {
        &maps::VIPS6
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKey<V6>, Flow<V6>> {
        &maps::FLOWS6
    }

    #[inline(always)]
    fn half_open(bucket_idx: u32) -> Option<*mut Bucket<V6>> {
        maps::HALF_OPEN6.get_ptr_mut(bucket_idx)
    }

    #[inline(always)]
    fn backend_address(backend: &Backend) -> V6 {
        backend.address.copied()
    }

    #[inline(always)]
    fn snat_address(address: &V6) -> V6 {
        address.copied()
    }

    #[inline(always)]
    fn copies() -> Option<*mut Copies<V6>> {
        maps::COPIES6.get_ptr_mut(0)
    }

    #[inline(always)]
    fn draft() -> Option<*mut Draft<V6>> {
        maps::DRAFT6.get_ptr_mut(0)
    }
}
