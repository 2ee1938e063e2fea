//! The way of a packet, top to bottom: parse, ask whether it can be ours, find its flow or open
//! one, rewrite, forward. Both directions come by here.

mod crossed;

use core::hint::black_box;

use aya_ebpf::programs::XdpContext;
use lb_common::{
    backend,
    flow::{FlowKey, flag, side},
    hash,
    reason::{Kind, Reason},
    service::{HANDOVER_REST_NS, Settings, mode, setting},
};

use crate::{
    affinity,
    clock::now_ns,
    family::{Family, Inet, Inet6},
    flow::{self, Found, Life, Progress},
    forward, fragment,
    icmp::{self, Across},
    maps,
    mtu::{self, way_of, way_to},
    packet::{ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Frame, IpHeader as _, Segment, Tcp, Udp},
    path_mtu,
    rewrite::{self, Readdress},
    sanity, select, stats,
    table::Table,
    translate::Translate,
    tunnel,
};

/// Instead of an XDP action: the segment belongs to no flow that is known.
const UNKNOWN: u32 = u32::MAX;
/// The same; if to any, then to a flow between the address families.
const CROSSED: u32 = u32::MAX - 1;
/// The same, and it is for a vip: the service's index is in the lower bits.
const NEW: u32 = 1 << 30;

/// What becomes of a frame: an XDP action, or the reason why it was not forwarded.
#[inline(always)]
pub fn handle(ctx: &XdpContext, ethertype_be: u16) -> Result<u32, Reason> {
    match ethertype_be {
        ETHERTYPE_IPV4_BE => over::<Inet>(ctx),
        ETHERTYPE_IPV6_BE => over::<Inet6>(ctx),
        _ => Err(Reason::NotIp),
    }
}

/// TCP is asked for first, so that it pays nothing for UDP, and both before ICMP.
#[inline(always)]
fn over<F: Translate + Across>(ctx: &XdpContext) -> Result<u32, Reason> {
    let mut done = way::<F, Tcp>(ctx);
    if done == Err(Reason::OtherProtocol) {
        done = way::<F, Udp>(ctx);
    }
    if done == Err(Reason::OtherProtocol) {
        let heard = path_mtu::hear(ctx);
        done = icmp::way::<F>(ctx);
        // What is about a flow goes to whom it concerns, even if it looks like a word about a tunnel.
        if heard
            && done.is_err_and(|reason| {
                reason.kind() == Kind::Pass && reason != Reason::NextHopUnknown
            })
        {
            done = Err(Reason::PathMtu);
        }
    }
    if done == Err(Reason::SourceRouted) {
        done = Err(fragment::refuse_source_route::<F>(ctx));
    }
    match done {
        Err(Reason::LaterFragment) => fragment::later::<F>(ctx),
        Err(Reason::Truncated) => Err(sanity::malformed::<F>(ctx)),
        done => done,
    }
}

/// Known flows and the kinds of new ones have functions of their own, which all read the headers: one
/// frame of the stack of 512 bytes would not hold what they need, and most packets are of known flows.
#[inline(always)]
fn way<F: Translate + Table, T: Life>(ctx: &XdpContext) -> Result<u32, Reason> {
    let mut outcome = known::<F, T>(ctx)?;
    if outcome == CROSSED {
        outcome = crossed::known::<F, T>(ctx)?;
    }
    if outcome == UNKNOWN {
        outcome = unknown::<F, T>(ctx)?;
    }
    if outcome < NEW {
        return Ok(outcome);
    }
    let service_idx = outcome - NEW;
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    if mode::is_one_way(service.mode) {
        new_one_way::<F, T>(ctx, service_idx)
    } else if service.version == F::VERSION {
        new::<F, T>(ctx, service_idx)
    } else {
        crossed::new::<F, T>(ctx, service_idx)
    }
}

/// Has the compiler read a key from where it lies: it would keep an IPv6 key's words apart, each in
/// a place of its own on the stack, for the headers that are rewritten later.
#[inline(always)]
fn in_memory<A>(key: &FlowKey<A>) -> &FlowKey<A> {
    black_box(key)
}

/// A segment that may belong to a known flow, or else to none of ours.
#[inline(never)]
fn known<F: Readdress + Table, T: Life>(ctx: &XdpContext) -> Result<u32, Reason> {
    let mut segment = F::segment::<T>(Frame::new(ctx)?)?;
    if segment.fragment {
        fragment::first(ctx, &segment);
    }
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = &segment.key();
    if !select::can_be_ours(settings, key) {
        return Err(Reason::NotOurs);
    }
    let key_hash = hash::flow(key);
    let key = in_memory(key);
    let now_ns = now_ns();
    let Some(found) = flow::find_in_line(key, key_hash, now_ns) else {
        if F::VERSION == 4 && settings.flags & setting::CROSSED != 0 {
            return Ok(CROSSED);
        }
        return may_open::<F, T>(settings, &segment, key, key_hash);
    };
    if found.is_special() && !found.is_one_way() {
        return Ok(CROSSED);
    }
    sanity::check(ctx, &segment)?;
    if found.is_special() {
        return follow_one_way(ctx, settings, &mut segment, key, found, now_ns);
    }
    follow(ctx, settings, &mut segment, key, found, now_ns)
}

/// A segment that was looked for already.
#[inline(never)]
fn unknown<F: Readdress + Table, T: Life>(ctx: &XdpContext) -> Result<u32, Reason> {
    // Else the compiler would have the frame's bounds passed instead, as 32 bits each.
    let ctx = black_box(ctx);
    let segment = F::segment::<T>(Frame::new(ctx)?)?;
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = &segment.key();
    may_open::<F, T>(settings, &segment, key, hash::flow(key))
}

/// A segment of no known flow: one for a vip may open one ([`NEW`]).
#[inline(always)]
fn may_open<F: Family, T: Life>(
    settings: &Settings,
    segment: &Segment<'_, F, T>,
    key: &FlowKey<F::Address>,
    key_hash: u64,
) -> Result<u32, Reason> {
    if settings.handover_until_ns != 0 {
        let rest = if T::opens(segment) {
            HANDOVER_REST_NS
        } else {
            0
        };
        if now_ns() + rest < settings.handover_until_ns {
            return Err(Reason::Handover);
        }
    }
    let service_idx = select::service::<F>(settings, key).ok_or(Reason::NotOurs)?;
    select::draft::<F>()?.key_hash = key_hash;
    Ok(NEW + service_idx)
}

/// A segment that opens a flow.
#[inline(never)]
fn new<F: Readdress + Table, T: Life>(ctx: &XdpContext, service_idx: u32) -> Result<u32, Reason> {
    let mut segment = F::segment::<T>(Frame::new(ctx)?)?;
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    sanity::admit(ctx, &segment, service_idx, service)?;
    let key = &segment.key();
    let key_hash = select::draft::<F>()?.key_hash;
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let choice =
        affinity::backend::<F>(ctx, service_idx, service, key_hash, true).map_err(T::refusal)?;
    let key = in_memory(key);
    let ifindex = ctx.ingress_ifindex() as u32;
    let fits = mtu::fits(ctx, settings, &segment, 0, || way_to(choice.backend))
        .inspect_err(|_| choice.give_back(true))?;
    let entry = select::open::<F>(segment.ethernet, key, settings, &choice, ifindex, now_ns())
        .inspect_err(|_| choice.give_back(true))?;
    stats::packet(choice.backend_idx, side::CLIENT, segment.frame_length);
    rewrite::readdress(&mut segment, entry);
    if !fits {
        return Err(Reason::ToFragment);
    }
    forward::to_backend(ctx, settings, &mut segment, choice.backend)
}

/// The same where backends answer their clients themselves. Any segment may belong to a flow that
/// another balancer opened: it goes where the ring says.
#[inline(never)]
fn new_one_way<F: Readdress + Table, T: Life>(
    ctx: &XdpContext,
    service_idx: u32,
) -> Result<u32, Reason> {
    let mut segment = F::segment::<T>(Frame::new(ctx)?)?;
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    sanity::admit(ctx, &segment, service_idx, service)?;
    let key = &segment.key();
    let key_hash = select::draft::<F>()?.key_hash;
    let opens = T::opens(&segment);
    let mut choice =
        affinity::backend::<F>(ctx, service_idx, service, key_hash, opens).map_err(T::refusal)?;
    let key = in_memory(key);
    choice.flags |= flag::ONE_WAY;
    let ifindex = ctx.ingress_ifindex() as u32;
    forward::can_go(ctx, settings, &segment, choice.backend)
        .and_then(|()| tunnel::fits(ctx, choice.backend_idx, choice.backend))
        .and_then(|()| {
            if !T::opens_one_way(&segment) {
                return Ok(());
            }
            select::open_one_way::<F>(segment.ethernet, key, &choice, ifindex, now_ns())?;
            choice.keep(opens);
            Ok(())
        })
        .inspect_err(|_| choice.give_back(opens))?;
    let backend = (choice.backend_idx, choice.backend);
    forward::past_us(ctx, &mut segment, backend, choice.hash)
}

/// A segment of a known flow whose backend answers the client itself.
#[inline(always)]
fn follow_one_way<F: Readdress + Table, T: Life>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &mut Segment<'_, F, T>,
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    now_ns: u64,
) -> Result<u32, Reason> {
    let backend_idx = found.entry.backend_idx;
    let backend = maps::BACKENDS.get(backend_idx).ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET
        && T::give_up(segment, key, &mut found)? == Progress::Over
    {
        return Ok(UNKNOWN);
    }
    forward::can_go(ctx, settings, segment, backend)?;
    if !T::is_steady(segment, &found)
        && T::advance_one_way(segment, key, &mut found, now_ns) == Progress::Over
    {
        return Ok(UNKNOWN);
    }
    flow::seen(key, &mut found, now_ns);
    forward::past_us(ctx, segment, (backend_idx, backend), found.key_hash)
}

/// Notes in a flow of which both directions are seen what a segment says of it.
#[inline(always)]
fn note<S: Family, F: Table, T: Life>(
    ctx: &XdpContext,
    segment: &Segment<'_, S, T>,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    if found.entry.side == side::CLIENT {
        let ifindex = ctx.ingress_ifindex() as u32;
        flow::learn_next_hop(segment.ethernet, key, found, ifindex);
    }
    if T::is_steady(segment, found) {
        return Progress::On;
    }
    T::advance(segment, key, found, now_ns)
}

/// A segment of a known flow. [`UNKNOWN`]: the flow is over, and the segment stands alone.
#[inline(always)]
fn follow<F: Readdress + Table, T: Life>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &mut Segment<'_, F, T>,
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    now_ns: u64,
) -> Result<u32, Reason> {
    let backend = maps::BACKENDS
        .get(found.entry.backend_idx)
        .ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET
        && T::give_up(segment, key, &mut found)? == Progress::Over
    {
        return Ok(UNKNOWN);
    }
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let fits = mtu::fits(ctx, settings, segment, 0, || way_of(found.entry, backend))?;
    let from = found.entry.side;
    if note(ctx, segment, key, &mut found, now_ns) == Progress::Over {
        return Ok(UNKNOWN);
    }
    flow::seen(key, &mut found, now_ns);
    let entry = found.entry;
    stats::packet(entry.backend_idx, from, segment.frame_length);
    rewrite::readdress(segment, entry);
    if !fits {
        return Err(Reason::ToFragment);
    }
    if from == side::CLIENT {
        forward::to_backend(ctx, settings, segment, backend)
    } else {
        Ok(forward::to_client(ctx, settings, segment, entry))
    }
}
