//! Modes `ipip` and `gue`: a packet travels whole inside another one, to whoever unwraps it.
//!
//! The outer header takes over the traffic class, congestion notification included (RFC 6040,
//! section 4.1, normal mode), and may not be fragmented. The UDP checksum of mode `gue` is 0 in both
//! families (RFC 768; RFC 6935, section 5): the inner packet has checksums of its own.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_adjust_head, programs::XdpContext};
use lb_common::{
    PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP,
    backend::{Backend, Tunnel},
    hash,
    reason::Reason,
    service::mode,
    unmapped,
};

use crate::{
    answer::HOP_LIMIT,
    family::{Inet, Inet6},
    maps, mtu,
    packet::{
        ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Ethernet, Gue, Ipv4, Ipv6, Udp, copy_mac, view,
    },
    path_mtu,
    rewrite::{Readdress as _, checksum},
};

/// Wraps the frame's packet, with a hop less, for a backend, and gives it the MAC addresses toward there
/// where they are known; `key_hash` is the flow's.
#[inline(always)]
pub fn wrap(
    ctx: &XdpContext,
    (backend_idx, backend): (u32, &Backend),
    key_hash: u64,
) -> Result<(), Reason> {
    if backend.ifindex != 0 {
        let tunnel = maps::TUNNELS.get(backend_idx).ok_or(Reason::TableError)?;
        return try_wrap::<true>(ctx, backend_idx, backend, tunnel, key_hash);
    }
    // Not below `tunnel_wrap`: the chain of calls has no room for it there.
    fits(ctx, backend_idx, backend)?;
    match tunnel_wrap(ctx.ctx, backend_idx, key_hash) {
        DONE => Ok(()),
        _ => Err(Reason::TableError),
    }
}

const DONE: u64 = 0;
const TOO_BIG: u64 = 1;
const FAILED: u64 = 2;

/// Where the next hop is unknown. A function that the verifier knows as global, as those of
/// [`crate::table`]; where it is known the packet does not pay for a call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tunnel_wrap(ctx: *mut xdp_md, backend_idx: u32, key_hash: u64) -> u64 {
    let ctx = XdpContext::new(ctx);
    let (Some(backend), Some(tunnel)) = (
        maps::BACKENDS.get(backend_idx),
        maps::TUNNELS.get(backend_idx),
    ) else {
        return FAILED;
    };
    match try_wrap::<false>(&ctx, backend_idx, backend, tunnel, key_hash) {
        Ok(()) => DONE,
        Err(_) => FAILED,
    }
}

/// Looks closer at an outer packet of this length, and notes what it exceeds. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tunnel_fits(backend_idx: u32, length: u32, added: u32, least: u32) -> u64 {
    let (Some(backend), Some(tunnel)) = (
        maps::BACKENDS.get(backend_idx),
        maps::TUNNELS.get(backend_idx),
    ) else {
        return FAILED;
    };
    let mtu = path_mtu::limit(backend, tunnel);
    if length <= mtu {
        return DONE;
    }
    let most = mtu.saturating_sub(added);
    mtu::exceeded(if most < least { least } else { most }, false);
    TOO_BIG
}

/// What the outer headers take over from the packet.
struct Inner {
    /// Bytes, its IP header included.
    length: u32,
    traffic_class: u8,
    /// Protocol number of its IP version.
    protocol: u8,
}

impl Inner {
    #[inline(always)]
    fn of(ctx: &XdpContext, ethertype_be: u16) -> Result<Self, Reason> {
        if ethertype_be == ETHERTYPE_IPV4_BE {
            let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
            Ok(Self {
                length: u16::from_be(ip.total_length_be) as u32,
                traffic_class: ip.tos,
                protocol: PROTOCOL_IPV4,
            })
        } else {
            let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
            Ok(Self {
                length: size_of::<Ipv6>() as u32 + u16::from_be(ip.payload_length_be) as u32,
                traffic_class: (u32::from_be(ip.version_class_label_be) >> 20) as u8,
                protocol: PROTOCOL_IPV6,
            })
        }
    }

    /// It fits the tunnel, which adds so many bytes. IPv4 packets that may be fragmented get no exception
    /// (RFC 2003, section 5.1 leaves the choice).
    #[inline(always)]
    fn fits(&self, backend_idx: u32, tunnel: &Tunnel, added: u32) -> Result<(), Reason> {
        let length = self.length + added;
        if length <= tunnel.mtu && !path_mtu::may_be_less(length) {
            return Ok(());
        }
        match tunnel_fits(backend_idx, length, added, self.least()) {
            DONE => Ok(()),
            _ => Err(Reason::TooBig),
        }
    }

    /// Most bytes that no link may refuse.
    #[inline(always)]
    fn least(&self) -> u32 {
        if self.protocol == PROTOCOL_IPV4 {
            mtu::LEAST4
        } else {
            mtu::LEAST6
        }
    }

    /// Takes a hop off.
    #[inline(always)]
    fn hop(&self, ctx: &XdpContext) -> Result<(), Reason> {
        if self.protocol == PROTOCOL_IPV4 {
            Inet::decrement_hops(view(ctx, size_of::<Ethernet>())?);
        } else {
            Inet6::decrement_hops(view(ctx, size_of::<Ethernet>())?);
        }
        Ok(())
    }
}

/// Whether the frame's packet can go to this backend once it is wrapped; for a backend without tunnel
/// it can.
#[inline(always)]
pub fn fits(ctx: &XdpContext, backend_idx: u32, backend: &Backend) -> Result<(), Reason> {
    if backend.mode == mode::DSR {
        return Ok(());
    }
    let tunnel = maps::TUNNELS.get(backend_idx).ok_or(Reason::TableError)?;
    let ethernet: &Ethernet = view(ctx, 0)?;
    let inner = Inner::of(ctx, ethernet.ethertype_be)?;
    let (ip_header, shim) = added(backend, tunnel);
    inner.fits(backend_idx, tunnel, (ip_header + shim) as u32)
}

/// Bytes that come in front of a packet: of the IP header, and of what follows it.
#[inline(always)]
fn added(backend: &Backend, tunnel: &Tunnel) -> (usize, usize) {
    let ip_header = if tunnel.version == 4 {
        size_of::<Ipv4>()
    } else {
        size_of::<Ipv6>()
    };
    let shim = match (backend.mode == mode::GUE, tunnel.variant) {
        (false, _) => 0,
        (true, 0) => size_of::<Udp>() + size_of::<Gue>(),
        (true, _) => size_of::<Udp>(),
    };
    (ip_header, shim)
}

#[inline(always)]
fn try_wrap<const RESOLVED: bool>(
    ctx: &XdpContext,
    backend_idx: u32,
    backend: &Backend,
    tunnel: &Tunnel,
    key_hash: u64,
) -> Result<(), Reason> {
    let ethernet: &Ethernet = view(ctx, 0)?;
    let mut macs = [[0; 6]; 2];
    if !RESOLVED {
        copy_mac(&mut macs[0], &ethernet.destination);
        copy_mac(&mut macs[1], &ethernet.source);
    }
    let mut inner = Inner::of(ctx, ethernet.ethertype_be)?;
    let (ip_header, shim) = added(backend, tunnel);
    let ethertype_be = if tunnel.version == 4 {
        ETHERTYPE_IPV4_BE
    } else {
        ETHERTYPE_IPV6_BE
    };
    let gue = backend.mode == mode::GUE;
    if RESOLVED {
        inner.fits(backend_idx, tunnel, (ip_header + shim) as u32)?;
    }
    // Only now: who is told that his packet is too big gets it quoted as it came.
    inner.hop(ctx)?;
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -((ip_header + shim) as i32)) } != 0 {
        return Err(Reason::TableError);
    }
    let ethernet: &mut Ethernet = view(ctx, 0)?;
    if RESOLVED {
        copy_mac(&mut ethernet.destination, &backend.peer_mac);
        copy_mac(&mut ethernet.source, &backend.local_mac);
    } else {
        copy_mac(&mut ethernet.destination, &macs[0]);
        copy_mac(&mut ethernet.source, &macs[1]);
    }
    ethernet.ethertype_be = ethertype_be;
    if gue {
        write_gue(
            ctx,
            size_of::<Ethernet>() + ip_header,
            &inner,
            tunnel,
            key_hash,
        )?;
        inner.length += shim as u32;
        inner.protocol = PROTOCOL_UDP;
    }
    if tunnel.version == 4 {
        write4(ctx, &inner, backend, tunnel, key_hash)
    } else {
        write6(ctx, &inner, backend, tunnel, key_hash)
    }
}

/// The UDP header and, in variant 0, that of GUE.
#[inline(always)]
fn write_gue(
    ctx: &XdpContext,
    offset: usize,
    inner: &Inner,
    tunnel: &Tunnel,
    key_hash: u64,
) -> Result<(), Reason> {
    /// Of the range for dynamic ports (RFC 6335, section 6), as draft-ietf-intarea-gue asks.
    const FIRST_PORT: u16 = 0xc000;
    let mut length = size_of::<Udp>() as u32 + inner.length;
    if tunnel.variant == 0 {
        length += size_of::<Gue>() as u32;
        let gue: &mut Gue = view(ctx, offset + size_of::<Udp>())?;
        gue.version_control_length = 0;
        gue.protocol = inner.protocol;
        gue.flags_be = 0;
    }
    let udp: &mut Udp = view(ctx, offset)?;
    udp.source_port_be = (FIRST_PORT | (key_hash >> 48) as u16).to_be();
    udp.destination_port_be = tunnel.port_be;
    udp.length_be = (length as u16).to_be();
    udp.checksum_be = 0;
    Ok(())
}

#[inline(always)]
fn write4(
    ctx: &XdpContext,
    inner: &Inner,
    backend: &Backend,
    tunnel: &Tunnel,
    key_hash: u64,
) -> Result<(), Reason> {
    const VERSION_IHL: u8 = 0x45;
    const DO_NOT_FRAGMENT_BE: u16 = 0x4000_u16.to_be();
    let ip: &mut Ipv4 = view(ctx, size_of::<Ethernet>())?;
    ip.version_ihl = VERSION_IHL;
    ip.tos = inner.traffic_class;
    ip.total_length_be = ((size_of::<Ipv4>() as u32 + inner.length) as u16).to_be();
    ip.id_be = 0;
    ip.fragment_be = DO_NOT_FRAGMENT_BE;
    ip.ttl = HOP_LIMIT;
    ip.protocol = inner.protocol;
    ip.source = [tunnel.source[3] | key_hash as u32 & tunnel.spread[3]];
    ip.destination = unmapped(&backend.address);
    ip.checksum_be = checksum(ip);
    Ok(())
}

#[inline(always)]
fn write6(
    ctx: &XdpContext,
    inner: &Inner,
    backend: &Backend,
    tunnel: &Tunnel,
    key_hash: u64,
) -> Result<(), Reason> {
    const VERSION: u32 = 6 << 28;
    const LABEL_BITS: u32 = (1 << 20) - 1;
    let ip: &mut Ipv6 = view(ctx, size_of::<Ethernet>())?;
    // The label tells flows apart where ports are out of sight (RFC 6438).
    let label = (key_hash >> 32) as u32 & LABEL_BITS;
    ip.version_class_label_be = (VERSION | (inner.traffic_class as u32) << 20 | label).to_be();
    ip.payload_length_be = (inner.length as u16).to_be();
    ip.next_header = inner.protocol;
    ip.hop_limit = HOP_LIMIT;
    let more = hash::mix(key_hash);
    ip.source[0] = tunnel.source[0] | (more >> 32) as u32 & tunnel.spread[0];
    ip.source[1] = tunnel.source[1] | more as u32 & tunnel.spread[1];
    ip.source[2] = tunnel.source[2] | (key_hash >> 32) as u32 & tunnel.spread[2];
    ip.source[3] = tunnel.source[3] | key_hash as u32 & tunnel.spread[3];
    for (word, new) in ip.destination.iter_mut().zip(&backend.address) {
        *word = *new;
    }
    Ok(())
}
