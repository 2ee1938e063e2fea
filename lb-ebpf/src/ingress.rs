//! The way of a packet, top to bottom: parse, ask whether it can be ours, find its flow or open
//! one, rewrite, forward. Both directions come by here.

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};
use lb_common::{
    backend,
    flow::{FlowKey, side},
    hash,
    reason::Reason,
    service::Settings,
};

use crate::{
    flow::{self, Found, Progress},
    forward,
    half_open::Table,
    maps,
    packet::{ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Frame, IpHeader as _, Segment, tcp_flag},
    rewrite::{self, Readdress},
    select, stats,
};

/// What becomes of a frame: an XDP action, or the reason why it was not forwarded.
#[inline(always)]
pub fn handle(ctx: &XdpContext) -> Result<u32, Reason> {
    let frame = Frame::new(ctx)?;
    match frame.ethernet.ethertype_be {
        ETHERTYPE_IPV4_BE => balance(ctx, frame.ipv4()?),
        ETHERTYPE_IPV6_BE => balance(ctx, frame.ipv6()?),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn balance<F: Readdress + Table>(
    ctx: &XdpContext,
    mut segment: Segment<'_, F>,
) -> Result<u32, Reason> {
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = segment.key();
    if !select::can_be_ours(settings, &key) {
        return Err(Reason::NotOurs);
    }
    // SAFETY: a helper without arguments. Its resolution is the kernel's tick, which is enough for
    // timers of seconds, at a fraction of the exact clock's cost.
    let now_ns = unsafe { bpf_ktime_get_coarse_ns() };

    let mut found = flow::confirmed::<F>(&key);
    let mut key_hash = 0;
    if found.is_none() {
        key_hash = hash::flow(&key);
        found = flow::half_open(&key, key_hash, now_ns);
    }
    if let Some(found) = found {
        if segment.fragment {
            return Err(Reason::Fragment);
        }
        if let Some(verdict) = follow(ctx, settings, &mut segment, &key, found, now_ns)? {
            return Ok(verdict);
        }
        key_hash = hash::flow(&key);
    }

    let service_idx = select::service::<F>(&key).ok_or(Reason::NotOurs)?;
    if segment.fragment {
        return Err(Reason::Fragment);
    }
    if !segment.is_syn() {
        return Err(Reason::NoFlow);
    }
    let choice = select::backend(service_idx, key_hash)?;
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let ifindex = ctx.ingress_ifindex() as u32;
    let entry = select::open(&segment, &key, settings, &choice, ifindex, now_ns)?;
    stats::packet(choice.backend_idx, side::CLIENT, segment.frame_length);
    rewrite::readdress(&mut segment, entry);
    forward::to_backend(ctx, settings, &mut segment, choice.backend)
}

/// A segment of a known flow. `None`: the flow is over, and the segment stands alone.
#[inline(always)]
fn follow<F: Readdress + Table>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &mut Segment<'_, F>,
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    now_ns: u64,
) -> Result<Option<u32>, Reason> {
    let backend = maps::BACKENDS
        .get(found.entry.backend_idx)
        .ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET {
        if segment.is_syn() && found.entry.side == side::CLIENT {
            flow::remove_pair::<F>(key, &found);
            return Ok(None);
        }
        if !segment.has(tcp_flag::RST) {
            flow::reset::<F>(key, &mut found);
            return Err(Reason::BackendDown);
        }
    }
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let from = found.entry.side;
    if from == side::CLIENT {
        flow::learn_next_hop(segment, key, &mut found, ctx.ingress_ifindex() as u32);
    }
    if !flow::is_steady(segment, &found) {
        match flow::advance(segment, key, found, now_ns) {
            Progress::On(now) => found = now,
            Progress::Over => return Ok(None),
        }
    }
    flow::seen(key, &mut found, now_ns);
    let entry = found.entry;
    stats::packet(entry.backend_idx, from, segment.frame_length);
    rewrite::readdress(segment, entry);
    if from == side::CLIENT {
        forward::to_backend(ctx, settings, segment, backend).map(Some)
    } else {
        Ok(Some(forward::to_client(ctx, settings, segment, entry)))
    }
}
