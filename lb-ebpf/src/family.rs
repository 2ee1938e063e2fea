//! The two address families: each has headers and maps of its own size, and one path serves both.

use aya_ebpf::{
    bindings::bpf_fib_lookup as FibLookup,
    maps::{HashMap, LpmTrie, LruHashMap},
    programs::XdpContext,
};
use lb_common::{
    Address, V4, V6,
    affinity::{Client, Remembered},
    backend::Backend,
    flow::FlowKey,
    fragment::{Datagram, First},
    is_mapped,
    reason::Reason,
    service::{PortKey, Service, VipKey},
    sources::Source,
    table::{Entries, Head},
    unmapped,
};

use crate::{
    affinity,
    flow::Copies,
    fragment::{fragment_first4, fragment_first6},
    maps,
    packet::{
        ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Fragment, Frame, IpHeader, Ipv4, Ipv6, Segment,
        Transport,
    },
    select::Draft,
};

/// An address family.
pub trait Family: Sized + 'static {
    /// IP version.
    const VERSION: u8;
    const ETHERTYPE_BE: u16;
    type Address: Address;
    type Header: IpHeader<Address = Self::Address>;

    /// The segment of this protocol in a frame.
    fn segment<T: Transport>(frame: Frame<'_>) -> Result<Segment<'_, Self, T>, Reason>;
    fn vips() -> &'static HashMap<VipKey<Self::Address>, u32>;
    fn vip_ranges() -> &'static LpmTrie<PortKey<Self::Address>, u32>;
    /// Which sources may open flows.
    fn sources() -> &'static LpmTrie<Source<Self::Address>, u32>;
    /// Which backend a client was given last, and the bits of its address that count.
    fn clients() -> &'static LruHashMap<Client<Self::Address>, Remembered>;
    fn client_bits(service: &Service) -> u8;
    /// Which datagrams' first fragments were seen.
    fn fragments() -> &'static LruHashMap<Datagram<Self::Address>, First>;
    /// Reads the headers of a fragment; see [`Fragment::read`].
    fn read_fragment(
        ctx: &XdpContext,
        fragment: &mut Fragment<Self::Address>,
    ) -> Result<(), Reason>;
    /// Reads the 5-tuple of a packet whose lengths are wrong; see [`Fragment::read_ports`].
    fn read_ports(ctx: &XdpContext, fragment: &mut Fragment<Self::Address>)
    -> Result<bool, Reason>;
    /// A single host may have this address.
    fn is_host(address: &Self::Address) -> bool;
    /// See [`crate::fragment::first`].
    fn note_first(ctx: &XdpContext, ports: u64);
    /// Fills in, for the kernel's routing tables, from where to where a datagram goes.
    fn ask_route(request: &mut FibLookup, datagram: &Datagram<Self::Address>);
    /// See [`affinity::backend_of_client`].
    fn backend_of_client(ctx: &XdpContext, service_idx: u32, opens: bool) -> u64;
    /// Head and entries of the flow table's bucket with this index.
    fn head(bucket_idx: u32) -> Option<*mut Head>;
    fn entries(bucket_idx: u32) -> Option<*mut Entries<Self::Address>>;
    fn backend_address(backend: &Backend) -> Self::Address;
    /// A value of the map `snat` as an address of this family.
    fn snat_address(address: &V6) -> Self::Address;
    /// This CPU's scratch for half-open entries.
    fn copies() -> Option<*mut Copies<Self::Address>>;
    /// This CPU's scratch for the key of an entry that is swept.
    fn swept_key() -> Option<*mut FlowKey<Self::Address>>;
    /// This CPU's scratch for a new flow.
    fn draft() -> Option<*mut Draft<Self::Address>>;
    /// This CPU's scratch for a fragment.
    fn fragment() -> Option<*mut Fragment<Self::Address>>;
}

/// IPv4.
pub enum Inet {}
/// IPv6.
pub enum Inet6 {}

impl Family for Inet {
    const VERSION: u8 = 4;
    const ETHERTYPE_BE: u16 = ETHERTYPE_IPV4_BE;
    type Address = V4;
    type Header = Ipv4;

    #[inline(always)]
    fn segment<T: Transport>(frame: Frame<'_>) -> Result<Segment<'_, Self, T>, Reason> {
        frame.ipv4()
    }

    #[inline(always)]
    fn vips() -> &'static HashMap<VipKey<V4>, u32> {
        &maps::VIPS4
    }

    #[inline(always)]
    fn vip_ranges() -> &'static LpmTrie<PortKey<V4>, u32> {
        &maps::VIP_RANGES4
    }

    #[inline(always)]
    fn sources() -> &'static LpmTrie<Source<V4>, u32> {
        &maps::SOURCES4
    }

    #[inline(always)]
    fn clients() -> &'static LruHashMap<Client<V4>, Remembered> {
        &maps::AFFINITY4
    }

    #[inline(always)]
    fn fragments() -> &'static LruHashMap<Datagram<V4>, First> {
        &maps::FRAGMENTS4
    }

    #[inline(always)]
    fn read_fragment(ctx: &XdpContext, fragment: &mut Fragment<V4>) -> Result<(), Reason> {
        fragment.read(ctx)
    }

    #[inline(always)]
    fn read_ports(ctx: &XdpContext, fragment: &mut Fragment<V4>) -> Result<bool, Reason> {
        fragment.read_ports(ctx)
    }

    /// Not those of this network, of this host and of many hosts (RFC 1122, section 3.2.1.3).
    #[inline(always)]
    fn is_host(address: &V4) -> bool {
        let first = u32::from_be(address[0]) >> 24;
        first != 0 && first != 127 && first < 224
    }

    #[inline(always)]
    fn note_first(ctx: &XdpContext, ports: u64) {
        fragment_first4(ctx.ctx, ports);
    }

    #[inline(always)]
    fn ask_route(request: &mut FibLookup, datagram: &Datagram<V4>) {
        const AF_INET: u8 = 2;
        request.family = AF_INET;
        request.__bindgen_anon_3.ipv4_src = datagram.source[0];
        request.__bindgen_anon_4.ipv4_dst = datagram.destination[0];
    }

    #[inline(always)]
    fn client_bits(service: &Service) -> u8 {
        service.affinity_bits4
    }

    #[inline(never)]
    fn backend_of_client(ctx: &XdpContext, service_idx: u32, opens: bool) -> u64 {
        affinity::backend_of_client::<Self>(ctx, service_idx, opens)
    }

    #[inline(always)]
    fn head(bucket_idx: u32) -> Option<*mut Head> {
        maps::FLOW_HEADS4.get_ptr_mut(bucket_idx)
    }

    #[inline(always)]
    fn entries(bucket_idx: u32) -> Option<*mut Entries<V4>> {
        maps::FLOWS4.get_ptr_mut(bucket_idx)
    }

    #[inline(always)]
    fn backend_address(backend: &Backend) -> V4 {
        unmapped(&backend.address)
    }

    #[inline(always)]
    fn snat_address(address: &V6) -> V4 {
        unmapped(address)
    }

    #[inline(always)]
    fn copies() -> Option<*mut Copies<V4>> {
        maps::COPIES4.get_ptr_mut(0)
    }

    #[inline(always)]
    fn swept_key() -> Option<*mut FlowKey<V4>> {
        maps::SWEPT_KEY4.get_ptr_mut(0)
    }

    #[inline(always)]
    fn draft() -> Option<*mut Draft<V4>> {
        maps::DRAFT4.get_ptr_mut(0)
    }

    #[inline(always)]
    fn fragment() -> Option<*mut Fragment<V4>> {
        maps::FRAGMENT4.get_ptr_mut(0)
    }
}

impl Family for Inet6 {
    const VERSION: u8 = 6;
    const ETHERTYPE_BE: u16 = ETHERTYPE_IPV6_BE;
    type Address = V6;
    type Header = Ipv6;

    #[inline(always)]
    fn segment<T: Transport>(frame: Frame<'_>) -> Result<Segment<'_, Self, T>, Reason> {
        frame.ipv6()
    }

    #[inline(always)]
    fn vips() -> &'static HashMap<VipKey<V6>, u32> {
        &maps::VIPS6
    }

    #[inline(always)]
    fn vip_ranges() -> &'static LpmTrie<PortKey<V6>, u32> {
        &maps::VIP_RANGES6
    }

    #[inline(always)]
    fn sources() -> &'static LpmTrie<Source<V6>, u32> {
        &maps::SOURCES6
    }

    #[inline(always)]
    fn clients() -> &'static LruHashMap<Client<V6>, Remembered> {
        &maps::AFFINITY6
    }

    #[inline(always)]
    fn fragments() -> &'static LruHashMap<Datagram<V6>, First> {
        &maps::FRAGMENTS6
    }

    #[inline(always)]
    fn read_fragment(ctx: &XdpContext, fragment: &mut Fragment<V6>) -> Result<(), Reason> {
        fragment.read(ctx)
    }

    #[inline(always)]
    fn read_ports(ctx: &XdpContext, fragment: &mut Fragment<V6>) -> Result<bool, Reason> {
        fragment.read_ports(ctx)
    }

    /// Not the unspecified one, that of this host and those of many hosts (RFC 4291, section 2.4), nor those
    /// that stand for IPv4 and are on no wire (section 2.5.5.2).
    #[inline(always)]
    fn is_host(address: &V6) -> bool {
        let one_of_two = address[0] | address[1] | address[2] == 0 && u32::from_be(address[3]) <= 1;
        !one_of_two && u32::from_be(address[0]) >> 24 != 0xff && !is_mapped(address)
    }

    #[inline(always)]
    fn note_first(ctx: &XdpContext, ports: u64) {
        fragment_first6(ctx.ctx, ports);
    }

    #[inline(always)]
    fn ask_route(request: &mut FibLookup, datagram: &Datagram<V6>) {
        const AF_INET6: u8 = 10;
        request.family = AF_INET6;
        request.__bindgen_anon_3.ipv6_src = datagram.source.copied();
        request.__bindgen_anon_4.ipv6_dst = datagram.destination.copied();
    }

    #[inline(always)]
    fn client_bits(service: &Service) -> u8 {
        service.affinity_bits6
    }

    #[inline(never)]
    fn backend_of_client(ctx: &XdpContext, service_idx: u32, opens: bool) -> u64 {
        affinity::backend_of_client::<Self>(ctx, service_idx, opens)
    }

    #[inline(always)]
    fn head(bucket_idx: u32) -> Option<*mut Head> {
        maps::FLOW_HEADS6.get_ptr_mut(bucket_idx)
    }

    #[inline(always)]
    fn entries(bucket_idx: u32) -> Option<*mut Entries<V6>> {
        maps::FLOWS6.get_ptr_mut(bucket_idx)
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
    fn swept_key() -> Option<*mut FlowKey<V6>> {
        maps::SWEPT_KEY6.get_ptr_mut(0)
    }

    #[inline(always)]
    fn draft() -> Option<*mut Draft<V6>> {
        maps::DRAFT6.get_ptr_mut(0)
    }

    #[inline(always)]
    fn fragment() -> Option<*mut Fragment<V6>> {
        maps::FRAGMENT6.get_ptr_mut(0)
    }
}
