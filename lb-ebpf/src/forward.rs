//! Sending a rewritten segment on its way: next hop, hop limit, verdict.

use aya_ebpf::{bindings::xdp_action, helpers::bpf_redirect, programs::XdpContext};
use lb_common::{
    backend::Backend,
    flow::{Flow, side},
    reason::Reason,
    service::{Settings, mode, setting},
};

use crate::{
    family::Family,
    maps,
    mtu::{self, Way, how},
    packet::{Ethernet, IpHeader as _, Segment, Transport, copy_mac, view},
    rewrite::Readdress,
    stats, tunnel,
};

/// Toward a backend, by the next hop that the daemon keeps. Where that is unknown the rewritten
/// packet goes to the kernel, which resolves it and forwards; it also takes the hop off, so that
/// is not done here.
#[inline(always)]
pub fn to_backend<F: Readdress, T: Transport>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &mut Segment<'_, F, T>,
    backend: &Backend,
) -> Result<u32, Reason> {
    if backend.ifindex == 0 {
        return Err(Reason::NextHopUnknown);
    }
    F::decrement_hops(segment.ip);
    address(segment.ethernet, &backend.peer_mac, &backend.local_mac);
    Ok(out_of(ctx, settings, backend.ifindex))
}

/// The way to such a backend can be taken: a hop is left, which mode `dsr` does not need; there the packet
/// has to fit the link. Whether it fits a tunnel, [`tunnel`] knows.
#[inline(always)]
pub fn can_go<F: Family, T: Transport>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &Segment<'_, F, T>,
    backend: &Backend,
) -> Result<(), Reason> {
    if backend.mode == mode::DSR {
        if backend.ifindex == 0 {
            return Err(Reason::BackendUnresolved);
        }
        mtu::fits(ctx, settings, segment, 0, || Way {
            ifindex: backend.ifindex,
            how: how::UNFORWARDABLE,
        })?;
    } else if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    Ok(())
}

/// Toward a backend that answers its clients itself: as it is, or wrapped. Only what fits a tunnel counts as
/// the backend's. `key_hash` is the flow's.
#[inline(always)]
pub fn past_us<F: Readdress, T: Transport>(
    ctx: &XdpContext,
    segment: &mut Segment<'_, F, T>,
    (backend_idx, backend): (u32, &Backend),
    key_hash: u64,
) -> Result<u32, Reason> {
    if backend.mode == mode::DSR {
        address(segment.ethernet, &backend.peer_mac, &backend.local_mac);
    } else {
        tunnel::wrap(ctx, (backend_idx, backend), key_hash)?;
    }
    stats::packet(backend_idx, side::CLIENT, segment.frame_length);
    if backend.ifindex == 0 {
        return Err(Reason::NextHopUnknown);
    }
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    Ok(out_of(ctx, settings, backend.ifindex))
}

/// Toward the client, by the next hop learned from its packets.
#[inline(always)]
pub fn to_client<F: Readdress, T: Transport>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &mut Segment<'_, F, T>,
    flow: &Flow<F::Address>,
) -> u32 {
    F::decrement_hops(segment.ip);
    address(segment.ethernet, &flow.peer_mac, &flow.local_mac);
    out_of(ctx, settings, flow.ifindex)
}

/// Out of an interface, with these MAC addresses, whatever the frame has become.
#[inline(always)]
fn by(
    ctx: &XdpContext,
    settings: &Settings,
    ifindex: u32,
    peer_mac: &[u8; 6],
    local_mac: &[u8; 6],
) -> Result<u32, Reason> {
    address(view(ctx, 0)?, peer_mac, local_mac);
    Ok(out_of(ctx, settings, ifindex))
}

/// The same toward a backend whose next hop is known.
#[inline(always)]
pub fn by_backend(ctx: &XdpContext, settings: &Settings, backend: &Backend) -> Result<u32, Reason> {
    by(
        ctx,
        settings,
        backend.ifindex,
        &backend.peer_mac,
        &backend.local_mac,
    )
}

/// The same toward the client of a flow.
#[inline(always)]
pub fn by_flow<A>(ctx: &XdpContext, settings: &Settings, flow: &Flow<A>) -> Result<u32, Reason> {
    by(ctx, settings, flow.ifindex, &flow.peer_mac, &flow.local_mac)
}

/// Back to where the frame came from.
#[inline(always)]
pub fn back(ctx: &XdpContext) -> u32 {
    match maps::SETTINGS.get(0) {
        Some(settings) => out_of(ctx, settings, ctx.ingress_ifindex() as u32),
        None => xdp_action::XDP_TX,
    }
}

#[inline(always)]
fn address(ethernet: &mut Ethernet, destination: &[u8; 6], source: &[u8; 6]) {
    copy_mac(&mut ethernet.destination, destination);
    copy_mac(&mut ethernet.source, source);
}

#[inline(always)]
fn out_of(ctx: &XdpContext, settings: &Settings, ifindex: u32) -> u32 {
    if ifindex == ctx.ingress_ifindex() as u32 && settings.flags & setting::REDIRECT_BACK == 0 {
        xdp_action::XDP_TX
    } else {
        // SAFETY: a helper without memory arguments.
        (unsafe { bpf_redirect(ifindex, 0) }) as u32
    }
}
