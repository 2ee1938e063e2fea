//! Counting, and the one place where a [`Reason`] becomes a verdict.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    programs::XdpContext,
};
use lb_common::{
    flow::side,
    reason::{Kind, Reason},
    trace::ended,
};

use crate::{answer, forward, maps, own_error};

/// Ends a packet that was not simply forwarded: answers where the reason asks for it, counts, and
/// says what becomes of the frame and why, as [`ended`](mod@lb_common::trace::ended) has it.
#[inline(always)]
pub fn conclude(ctx: &XdpContext, reason: Reason) -> u32 {
    stats_conclude(ctx.ctx, reason as u32)
}

/// A function that the verifier knows as global, as those of [`crate::table`]: all ends are alike to it, and
/// looked at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn stats_conclude(ctx: *mut xdp_md, reason: u32) -> u32 {
    let ctx = &XdpContext::new(ctx);
    let Some(reason) = Reason::of_index(reason) else {
        return xdp_action::XDP_ABORTED;
    };
    let reason = match reason {
        Reason::TtlExpired | Reason::TooBig => own_error::answer(ctx, reason),
        _ if reason.kind() == Kind::Answer => answer::reset(ctx, reason),
        _ => reason,
    };
    count(reason);
    let action = match reason.kind() {
        Kind::Drop => xdp_action::XDP_DROP,
        Kind::Answer => forward::back(ctx),
        Kind::Pass | Kind::Event => xdp_action::XDP_PASS,
    };
    ended(reason, action)
}

/// An action together with its reason.
#[inline(always)]
pub fn ended(reason: Reason, action: u32) -> u32 {
    action & ended::ACTION | (reason as u32 + 1) << ended::REASON_SHIFT
}

/// Adds one to a reason's counter on this CPU.
#[inline(always)]
pub fn count(reason: Reason) {
    if let Some(counter) = maps::REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: a per-CPU value, and the program is not preempted by another run of itself.
        unsafe { *counter += 1 };
    }
}

/// Counts a packet that a backend received (from `side::CLIENT`) or sent.
#[inline(always)]
pub fn packet(backend_idx: u32, from: u8, bytes: usize) {
    if let Some(stats) = maps::BACKEND_STATS.get_ptr_mut(backend_idx) {
        // SAFETY: as in `count`.
        let stats = unsafe { &mut *stats };
        if from == side::CLIENT {
            stats.packets_in += 1;
            stats.bytes_in += bytes as u64;
        } else {
            stats.packets_out += 1;
            stats.bytes_out += bytes as u64;
        }
    }
}

/// Counts a new flow of a backend.
#[inline(always)]
pub fn new_flow(backend_idx: u32) {
    count(Reason::FlowNew);
    if let Some(stats) = maps::BACKEND_STATS.get_ptr_mut(backend_idx) {
        // SAFETY: as in `count`.
        unsafe { (*stats).flows += 1 };
    }
}
