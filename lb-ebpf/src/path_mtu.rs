//! The path MTU of tunnels (RFC 1191, RFC 8201): a router on the way to a backend that cannot pass an outer
//! packet on says so to its source, which is an address of ours. It is remembered by the tunnel's end,
//! and the next packet that is too long is answered as if the first link were so narrow.
//!
//! Who says so proves nothing, so that it counts only if it quotes a packet to the end of a tunnel, from a
//! source of that tunnel, and down to a floor only. The message itself goes on to the kernel.

use core::cell::UnsafeCell;

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::{
    Address as _, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP, V6,
    backend::{Backend, Tunnel},
    hash, mapped,
    path::{Path, REMEMBERED_NS},
    reason::Reason,
};

use crate::{
    clock::now_ns,
    maps,
    mtu::{DO_NOT_FRAGMENT_BE, LEAST6},
    packet::{ETHERTYPE_IPV4_BE, Ethernet, Icmp, Ipv4, Ipv6, view},
    select,
};

/// No router is believed that carries less: nearly every IPv4 network carries so much (RFC 1191, section 7.1
/// knows few that do not).
const FLOOR4: u32 = 576;
const FLOOR6: u32 = LEAST6;

/// Until when something that was said may hold; 0 while nobody has said anything.
#[unsafe(no_mangle)]
static PATHS_UNTIL_NS: Until = Until(UnsafeCell::new(0));

struct Until(UnsafeCell<u64>);

// SAFETY: one aligned word, read and written whole.
unsafe impl Sync for Until {}

/// Cheap and without a table: only if this is true the way may carry less than an outer packet of this
/// length.
#[inline(always)]
pub fn may_be_less(length: u32) -> bool {
    if length <= FLOOR4 {
        return false;
    }
    // SAFETY: the word is a live map value.
    let until_ns = unsafe { PATHS_UNTIL_NS.0.get().read_volatile() };
    until_ns != 0 && now_ns() < until_ns
}

/// Most bytes of an outer packet to this backend.
#[inline(always)]
pub fn limit(backend: &Backend, tunnel: &Tunnel) -> u32 {
    // SAFETY: an LRU hash may give an entry to another end meanwhile. At worst one packet is answered that
    // would have found its way.
    let Some(path) = (unsafe { maps::PATH_MTUS.get(&backend.address) }) else {
        return tunnel.mtu;
    };
    if path.mtu >= tunnel.mtu || now_ns() >= path.until_ns {
        return tunnel.mtu;
    }
    for word in 0..4 {
        let fixed = !tunnel.spread[word];
        if path.source[word] & fixed != tunnel.source[word] & fixed {
            return tunnel.mtu;
        }
    }
    path.mtu
}

/// What a router says.
struct News {
    source: V6,
    destination: V6,
    mtu: u32,
    /// Bytes of the packet that was too big.
    length: u32,
}

/// Remembers what the frame's ICMP message says of the way to a tunnel's end. False: it says nothing of the
/// kind.
#[inline(always)]
pub fn hear(ctx: &XdpContext) -> bool {
    path_mtu_hear(ctx.ctx) != 0
}

/// A function that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn path_mtu_hear(ctx: *mut xdp_md) -> u64 {
    try_hear(&XdpContext::new(ctx)).is_ok() as u64
}

#[inline(always)]
fn try_hear(ctx: &XdpContext) -> Result<(), Reason> {
    let ethernet: &Ethernet = view(ctx, 0)?;
    let news = if ethernet.ethertype_be == ETHERTYPE_IPV4_BE {
        heard4(ctx)?
    } else {
        heard6(ctx)?
    };
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let is_end = select::admitted(settings, hash::tunnel_bit(&news.destination));
    if !is_end || news.mtu >= news.length {
        return Err(Reason::NotOurs);
    }
    let until_ns = now_ns() + REMEMBERED_NS;
    let path = Path {
        source: news.source.copied(),
        until_ns,
        mtu: news.mtu,
        pad: 0,
    };
    maps::PATH_MTUS
        .insert(&news.destination, &path, 0)
        .map_err(|_| Reason::TableError)?;
    // SAFETY: as in `may_be_less`.
    unsafe { PATHS_UNTIL_NS.0.get().write_volatile(until_ns) };
    Ok(())
}

/// What follows the header of our outer packets.
#[inline(always)]
fn is_tunnel(protocol: u8) -> bool {
    protocol == PROTOCOL_IPV4 || protocol == PROTOCOL_IPV6 || protocol == PROTOCOL_UDP
}

#[inline(always)]
fn heard4(ctx: &XdpContext) -> Result<News, Reason> {
    const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
    /// As our outer headers begin.
    const VERSION_IHL: u8 = 0x45;
    const MTU: u32 = 0xffff;
    let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
    let header_length = (ip.version_ihl & 0x0f) as usize * 4;
    let whole = ip.fragment_be & !DO_NOT_FRAGMENT_BE == 0;
    if ip.protocol != PROTOCOL_ICMP || !whole || header_length < size_of::<Ipv4>() {
        return Err(Reason::OtherProtocol);
    }
    let icmp: &Icmp = view(ctx, size_of::<Ethernet>() + header_length)?;
    let inner = size_of::<Ethernet>() + header_length + size_of::<Icmp>();
    let inner: &Ipv4 = view(ctx, inner)?;
    if (icmp.kind, icmp.code) != FRAGMENTATION_NEEDED
        || inner.version_ihl != VERSION_IHL
        || inner.source[0] != ip.destination[0]
        || !is_tunnel(inner.protocol)
    {
        return Err(Reason::OtherProtocol);
    }
    let mtu = u32::from_be(icmp.rest_be) & MTU;
    Ok(News {
        source: mapped(inner.source),
        destination: mapped(inner.destination),
        // Routers from before RFC 1191 say 0.
        mtu: if mtu < FLOOR4 { FLOOR4 } else { mtu },
        length: u16::from_be(inner.total_length_be) as u32,
    })
}

#[inline(always)]
fn heard6(ctx: &XdpContext) -> Result<News, Reason> {
    const PACKET_TOO_BIG: (u8, u8) = (2, 0);
    let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
    if ip.next_header != PROTOCOL_ICMPV6 {
        return Err(Reason::OtherProtocol);
    }
    let icmp: &Icmp = view(ctx, size_of::<Ethernet>() + size_of::<Ipv6>())?;
    let inner = size_of::<Ethernet>() + size_of::<Ipv6>() + size_of::<Icmp>();
    let inner: &Ipv6 = view(ctx, inner)?;
    if (icmp.kind, icmp.code) != PACKET_TOO_BIG
        || u32::from_be(inner.version_class_label_be) >> 28 != 6
        || !inner.source.same(ip.destination)
        || !is_tunnel(inner.next_header)
    {
        return Err(Reason::OtherProtocol);
    }
    let mtu = u32::from_be(icmp.rest_be);
    Ok(News {
        source: inner.source.copied(),
        destination: inner.destination.copied(),
        mtu: if mtu < FLOOR6 { FLOOR6 } else { mtu },
        length: size_of::<Ipv6>() as u32 + u16::from_be(inner.payload_length_be) as u32,
    })
}
