//! The way of a packet whose backend is of the other address family.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    V6,
    backend::{self, Backend},
    flow::{Flow, flag, side},
    hash,
    reason::Reason,
};

use super::{UNKNOWN, in_memory, note};
use crate::{
    affinity,
    clock::now_ns,
    family::Inet6,
    flow::{self, Life, Progress},
    forward, maps,
    mtu::{self, way_of, way_to},
    packet::{Frame, IpHeader as _, Segment},
    sanity, select, stats,
    translate::{self, Translate},
};

/// A segment that may belong to a known flow between the address families.
#[inline(never)]
pub fn known<F: Translate, T: Life>(ctx: &XdpContext) -> Result<u32, Reason> {
    let segment = F::segment::<T>(Frame::new(ctx)?)?;
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = &F::wide_key(&segment);
    let key = in_memory(key);
    let now_ns = now_ns();
    let Some(mut found) = flow::find::<Inet6>(key, hash::flow(key), now_ns) else {
        return Ok(UNKNOWN);
    };
    if found.entry.flags & flag::CROSSED == 0 {
        return Ok(UNKNOWN);
    }
    // Addresses of IPv4 have the same key in their form of IPv6, which is on no wire.
    if F::VERSION == 6 && !F::is_host(&segment.ip.source()) {
        return Err(Reason::Martian);
    }
    sanity::check(ctx, &segment)?;
    let backend_idx = found.entry.backend_idx;
    let backend = maps::BACKENDS.get(backend_idx).ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET
        && T::give_up(&segment, key, &mut found)? == Progress::Over
    {
        return Ok(UNKNOWN);
    }
    translate::can_be(&segment)?;
    let from = found.entry.side;
    let fits = mtu::fits(ctx, settings, &segment, F::GROWTH, || {
        way_of(found.entry, backend)
    })?;
    if note(ctx, &segment, key, &mut found, now_ns) == Progress::Over {
        return Ok(UNKNOWN);
    }
    flow::seen(key, &mut found, now_ns);
    let entry = &*found.entry;
    stats::packet(backend_idx, from, segment.frame_length);
    if from == side::CLIENT {
        return across_to_backend(ctx, segment, entry, backend, fits);
    }
    translate::across(ctx, segment, entry, fits)?;
    if !fits {
        return Err(Reason::ToFragment);
    }
    forward::by_flow(ctx, settings, entry)
}

/// A segment that opens a flow between the address families.
#[inline(never)]
pub fn new<F: Translate, T: Life>(ctx: &XdpContext, service_idx: u32) -> Result<u32, Reason> {
    let segment = F::segment::<T>(Frame::new(ctx)?)?;
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    sanity::admit(ctx, &segment, service_idx, service)?;
    let key = &F::wide_key(&segment);
    let key = in_memory(key);
    translate::can_be(&segment)?;
    let mut choice = affinity::backend::<F>(ctx, service_idx, service, hash::flow(key), true)
        .map_err(T::refusal)?;
    choice.flags |= flag::CROSSED;
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let fits = || {
        mtu::fits(ctx, settings, &segment, F::GROWTH, || {
            way_to(choice.backend)
        })
    };
    // Asked twice: the answer would take a place on the stack.
    fits().inspect_err(|_| choice.give_back(true))?;
    let ifindex = ctx.ingress_ifindex() as u32;
    let entry = select::open::<Inet6>(segment.ethernet, key, settings, &choice, ifindex, now_ns())
        .inspect_err(|_| choice.give_back(true))?;
    stats::packet(choice.backend_idx, side::CLIENT, segment.frame_length);
    let fits = fits()?;
    across_to_backend(ctx, segment, entry, choice.backend, fits)
}

/// Where the kernel forwards (the next hop is unknown, or the packet is to be fragmented) it takes the hop
/// off, as in [`forward::to_backend`].
#[inline(always)]
fn across_to_backend<F: Translate, T: Life>(
    ctx: &XdpContext,
    segment: Segment<'_, F, T>,
    entry: &Flow<V6>,
    backend: &Backend,
    fits: bool,
) -> Result<u32, Reason> {
    let resolved = backend.ifindex != 0;
    translate::across(ctx, segment, entry, resolved && fits)?;
    if !fits {
        return Err(Reason::ToFragment);
    }
    if !resolved {
        return Err(Reason::NextHopUnknown);
    }
    // Looked up anew: kept until here, it would take a place on the stack.
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    forward::by_backend(ctx, settings, backend)
}
