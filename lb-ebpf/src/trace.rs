//! Sampled decisions, told to the daemon by a ring buffer. Only the traced forms of the program come by
//! here: the daemon puts one of them in place while somebody asks for a trace, so that the others pay
//! nothing for it.
//!
//! A sampled frame's first bytes are copied before anything looks at it, and once more when all is done.

use aya_ebpf::{
    Global,
    bindings::{xdp_action, xdp_md},
    helpers::{
        bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes,
    },
    programs::XdpContext,
};
use lb_common::{
    reason::Reason,
    trace::{GAPS, Gap, Record, SNAP, ended},
};

use crate::maps;

/// One packet of so many is sampled, on average; set when the program is loaded, at least 1.
#[unsafe(no_mangle)]
static TRACE_EVERY: Global<u32> = Global::new(1);

/// Counts a packet, and keeps how it came if it is to be sampled.
///
/// Packets are counted for each interface and queue, which one CPU serves at a time, by an array: that takes
/// loads alone, where chance, or a map by CPU, would take a call for each packet. Where two CPUs do meet,
/// they may lose a count or a sample. The gaps between samples are even in distribution, so that no rhythm
/// of the traffic is met.
///
/// That a packet is sampled is kept in the array, too, and not on the stack, which has no room for it.
#[inline(always)]
pub fn begin(ctx: &XdpContext) {
    let Some(gap) = gap(ctx) else {
        return;
    };
    if gap.left == 0 {
        trace_begin(ctx.ctx);
    } else {
        gap.left -= 1;
    }
}

/// Of this packet's interface and queue.
#[inline(always)]
fn gap(ctx: &XdpContext) -> Option<&'static mut Gap> {
    let queue = ctx.ingress_ifindex() as u32 * 37 + ctx.rx_queue_index();
    let gap = maps::TRACE_GAPS.get_ptr_mut(queue & (GAPS - 1))?;
    // SAFETY: a live map value of integers, each read and written whole.
    Some(unsafe { &mut *gap })
}

/// Packets until the next sample: from 0 to twice the mean, each as likely.
#[inline(always)]
fn next_gap() -> u32 {
    let every = TRACE_EVERY.load() as u64;
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() } as u64;
    ((random * (2 * every - 1)) >> 32) as u32
}

/// Keeps how the frame came. A function that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trace_begin(ctx: *mut xdp_md) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let (Some(gap), Some(record)) = (gap(ctx), maps::TRACE_RECORD.get_ptr_mut(0)) else {
        return 0;
    };
    gap.left = next_gap();
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself.
    let record = unsafe { &mut *record };
    // SAFETY: a helper without arguments.
    record.time_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: as above.
    record.cpu = unsafe { bpf_get_smp_processor_id() };
    record.ifindex = ctx.ingress_ifindex() as u32;
    record.arrived_length = copy(ctx.ctx, &mut record.arrived);
    if record.arrived_length != 0 {
        gap.cpu = record.cpu + 1;
    }
    0
}

/// Hands the record of a frame that [`begin`] sampled to the daemon. What was not for us is not told of.
#[inline(always)]
pub fn end(ctx: &XdpContext, ended: u32) {
    if gap(ctx).is_some_and(|gap| gap.cpu != 0) {
        trace_end(ctx.ctx, ended);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn trace_end(ctx: *mut xdp_md, ended: u32) -> u32 {
    let Some(gap) = gap(&XdpContext::new(ctx)) else {
        return 0;
    };
    // Another CPU's: the one that set it ends it, before it handles another packet.
    // SAFETY: a helper without arguments.
    if gap.cpu != unsafe { bpf_get_smp_processor_id() } + 1 {
        return 0;
    }
    gap.cpu = 0;
    let reason = ended >> ended::REASON_SHIFT;
    if matches!(
        reason.checked_sub(1).and_then(Reason::of_index),
        Some(Reason::NotOurs | Reason::NotIp | Reason::OtherProtocol)
    ) {
        return 0;
    }
    let Some(record) = maps::TRACE_RECORD.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: as in `trace_begin`.
    let record = unsafe { &mut *record };
    record.action = ended & ended::ACTION;
    record.reason = reason;
    record.left_length = if record.action == xdp_action::XDP_DROP {
        0
    } else {
        copy(ctx, &mut record.left)
    };
    if maps::TRACE_RECORDS.output::<Record>(&*record, 0).is_err() {
        record.lost += 1;
    }
    0
}

/// Copies a frame's first bytes, from however many buffers. Returns the frame's length; 0 if that failed.
#[inline(always)]
fn copy(ctx: *mut xdp_md, to: &mut [u8; SNAP]) -> u32 {
    // SAFETY: the context is the one this program was started with. Since Linux 5.18, as the next.
    let length = unsafe { bpf_xdp_get_buff_len(ctx) };
    // Of 64 bits as the helper returns it: a narrowed copy would be compared, and another one used.
    let kept = if length > SNAP as u64 {
        SNAP as u64
    } else {
        length
    };
    if kept == 0 {
        return 0;
    }
    // SAFETY: `to` has room for the most that `kept` can be.
    if unsafe { bpf_xdp_load_bytes(ctx, 0, to.as_mut_ptr().cast(), kept as u32) } != 0 {
        return 0;
    }
    length as u32
}
