//! The way of a packet, top to bottom: parse, ask whether it can be ours, find its flow or open
//! one, rewrite, forward. Both directions come by here.

use core::hint::black_box;

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};
use lb_common::{
    backend,
    flow::{FlowKey, side},
    hash,
    reason::Reason,
    service::{Settings, mode},
};

use crate::{
    flow::{self, Found, Progress, Signal},
    forward, maps,
    packet::{ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Frame, IpHeader as _, Segment, tcp_flag},
    rewrite::{self, Readdress},
    select, stats,
    table::Table,
    tunnel,
};

/// Instead of an XDP action: the segment belongs to no flow that is known.
const UNKNOWN: u32 = u32::MAX;
/// The same, with the service's index in the lower bits: its backends answer clients themselves.
const ONE_WAY: u32 = 1 << 30;

/// What becomes of a frame: an XDP action, or the reason why it was not forwarded.
///
/// Known flows and the kinds of new ones have functions of their own, which all read the headers: one
/// frame of the stack of 512 bytes would not hold what they need, and most packets are of known flows.
#[inline(always)]
pub fn handle(ctx: &XdpContext) -> Result<u32, Reason> {
    let ethertype_be = Frame::new(ctx)?.ethernet.ethertype_be;
    match ethertype_be {
        ETHERTYPE_IPV4_BE => match known4(ctx)? {
            UNKNOWN => match new4(ctx)? {
                one_way if one_way >= ONE_WAY => one_way4(ctx, one_way - ONE_WAY),
                verdict => Ok(verdict),
            },
            verdict => Ok(verdict),
        },
        ETHERTYPE_IPV6_BE => match known6(ctx)? {
            UNKNOWN => match new6(ctx)? {
                one_way if one_way >= ONE_WAY => one_way6(ctx, one_way - ONE_WAY),
                verdict => Ok(verdict),
            },
            verdict => Ok(verdict),
        },
        _ => Err(Reason::NotIp),
    }
}

#[inline(never)]
fn known4(ctx: &XdpContext) -> Result<u32, Reason> {
    known(ctx, Frame::new(ctx)?.ipv4()?)
}

#[inline(never)]
fn known6(ctx: &XdpContext) -> Result<u32, Reason> {
    known(ctx, Frame::new(ctx)?.ipv6()?)
}

#[inline(never)]
fn new4(ctx: &XdpContext) -> Result<u32, Reason> {
    new(ctx, Frame::new(ctx)?.ipv4()?)
}

#[inline(never)]
fn new6(ctx: &XdpContext) -> Result<u32, Reason> {
    new(ctx, Frame::new(ctx)?.ipv6()?)
}

#[inline(never)]
fn one_way4(ctx: &XdpContext, service_idx: u32) -> Result<u32, Reason> {
    new_one_way(ctx, Frame::new(ctx)?.ipv4()?, service_idx)
}

#[inline(never)]
fn one_way6(ctx: &XdpContext, service_idx: u32) -> Result<u32, Reason> {
    new_one_way(ctx, Frame::new(ctx)?.ipv6()?, service_idx)
}

/// Nanoseconds of `CLOCK_MONOTONIC` at the kernel's tick, which is enough for timers of seconds, at
/// a fraction of the exact clock's cost.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Has the compiler read a key from where it lies: it would keep an IPv6 key's words apart, each in
/// a place of its own on the stack, for the headers that are rewritten later.
#[inline(always)]
fn in_memory<A>(key: &FlowKey<A>) -> &FlowKey<A> {
    black_box(key)
}

/// A segment that may belong to a known flow, or else to none of ours.
#[inline(always)]
fn known<F: Readdress + Table>(
    ctx: &XdpContext,
    mut segment: Segment<'_, F>,
) -> Result<u32, Reason> {
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = &segment.key();
    if !select::can_be_ours(settings, key) {
        return Err(Reason::NotOurs);
    }
    let key_hash = hash::flow(key);
    let key = in_memory(key);
    let now_ns = now_ns();
    let Some(found) = flow::find(key, key_hash, now_ns) else {
        return Ok(UNKNOWN);
    };
    if segment.fragment {
        return Err(Reason::Fragment);
    }
    if found.is_one_way() {
        return follow_one_way(ctx, &mut segment, key, found, now_ns);
    }
    follow(ctx, settings, &mut segment, key, found, now_ns)
}

/// A segment of no known flow: a SYN for a vip opens one.
#[inline(always)]
fn new<F: Readdress + Table>(ctx: &XdpContext, mut segment: Segment<'_, F>) -> Result<u32, Reason> {
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = &segment.key();
    let service_idx = select::service::<F>(key).ok_or(Reason::NotOurs)?;
    if segment.fragment {
        return Err(Reason::Fragment);
    }
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    if mode::is_one_way(service.mode) {
        return Ok(ONE_WAY + service_idx);
    }
    if !segment.is_syn() {
        return Err(Reason::NoFlow);
    }
    let choice = select::backend(service_idx, service, hash::flow(key))?;
    let key = in_memory(key);
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let ifindex = ctx.ingress_ifindex() as u32;
    let entry = select::open(&segment, key, settings, &choice, ifindex, now_ns())?;
    stats::packet(choice.backend_idx, side::CLIENT, segment.frame_length);
    rewrite::readdress(&mut segment, entry);
    forward::to_backend(ctx, settings, &mut segment, choice.backend)
}

/// The same where backends answer their clients themselves. Any segment may belong to a flow that
/// another balancer opened: it goes where the ring says.
#[inline(always)]
fn new_one_way<F: Readdress + Table>(
    ctx: &XdpContext,
    mut segment: Segment<'_, F>,
    service_idx: u32,
) -> Result<u32, Reason> {
    let key = &segment.key();
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    let choice = select::backend(service_idx, service, hash::flow(key))?;
    let key = in_memory(key);
    forward::can_go(&segment, choice.backend)?;
    tunnel::fits(ctx, choice.backend_idx, choice.backend)?;
    let ifindex = ctx.ingress_ifindex() as u32;
    select::open_one_way(&segment, key, &choice, ifindex, now_ns())?;
    stats::packet(choice.backend_idx, side::CLIENT, segment.frame_length);
    let backend = (choice.backend_idx, choice.backend);
    forward::past_us(ctx, &mut segment, backend, choice.hash)
}

/// What becomes of a segment whose flow's backend is gone: a SYN stands alone (true) and goes to
/// another one, a reset is forwarded, anything else is answered with one.
#[inline(always)]
fn give_up<F: Table>(
    segment: &Segment<'_, F>,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
) -> Result<bool, Reason> {
    if segment.is_syn() && found.entry.side == side::CLIENT {
        flow::remove_pair::<F>(key, found);
        return Ok(true);
    }
    if !segment.has(tcp_flag::RST) {
        flow::reset::<F>(key, found);
        return Err(Reason::BackendDown);
    }
    Ok(false)
}

/// A segment of a known flow whose backend answers the client itself.
#[inline(always)]
fn follow_one_way<F: Readdress + Table>(
    ctx: &XdpContext,
    segment: &mut Segment<'_, F>,
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    now_ns: u64,
) -> Result<u32, Reason> {
    let backend_idx = found.entry.backend_idx;
    let backend = maps::BACKENDS.get(backend_idx).ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET && give_up(segment, key, &mut found)? {
        return Ok(UNKNOWN);
    }
    forward::can_go(segment, backend)?;
    if !flow::is_steady(segment, &found)
        && flow::advance_one_way(&Signal::of(segment), key, &mut found, now_ns) == Progress::Over
    {
        return Ok(UNKNOWN);
    }
    flow::seen(key, &mut found, now_ns);
    stats::packet(backend_idx, side::CLIENT, segment.frame_length);
    forward::past_us(ctx, segment, (backend_idx, backend), found.key_hash)
}

/// A segment of a known flow. [`UNKNOWN`]: the flow is over, and the segment stands alone.
#[inline(always)]
fn follow<F: Readdress + Table>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &mut Segment<'_, F>,
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    now_ns: u64,
) -> Result<u32, Reason> {
    let backend = maps::BACKENDS
        .get(found.entry.backend_idx)
        .ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET && give_up(segment, key, &mut found)? {
        return Ok(UNKNOWN);
    }
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let from = found.entry.side;
    if from == side::CLIENT {
        flow::learn_next_hop(segment, key, &mut found, ctx.ingress_ifindex() as u32);
    }
    if !flow::is_steady(segment, &found)
        && flow::advance(&Signal::of(segment), key, &mut found, now_ns) == Progress::Over
    {
        return Ok(UNKNOWN);
    }
    flow::seen(key, &mut found, now_ns);
    let entry = found.entry;
    stats::packet(entry.backend_idx, from, segment.frame_length);
    rewrite::readdress(segment, entry);
    if from == side::CLIENT {
        forward::to_backend(ctx, settings, segment, backend)
    } else {
        Ok(forward::to_client(ctx, settings, segment, entry))
    }
}
