//! The XDP programs: entries, panic handler, licence. One program, `divvy`, on every configured
//! interface, for both directions; `ingress` tells a packet's way from top to bottom. The others,
//! `clock`, `sweep` and `carry`, are run by the daemon.
//!
//! Each stage takes views and returns `Result<_, Reason>`; a [`lb_common::reason::Reason`] becomes
//! a verdict and a count in one place, `stats::conclude`.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key or value passed by value would be copied onto the stack of 512 bytes"
)]

mod affinity;
mod answer;
mod budget;
mod carry;
mod clock;
mod family;
mod flow;
mod forward;
mod fragment;
mod icmp;
mod ingress;
mod load;
mod maps;
mod mtu;
mod own_error;
mod packet;
mod path_mtu;
mod ports;
mod rewrite;
mod sanity;
mod select;
mod sources;
mod stats;
mod sweep;
mod table;
mod trace;
mod translate;
mod tunnel;
mod vlan;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use lb_common::trace::ended;

/// Takes frames that lie in several buffers, as large ones do: drivers then allow a large MTU (the
/// program's section tells, Linux 5.18).
#[xdp(frags)]
pub fn divvy(ctx: XdpContext) -> u32 {
    verdict(&ctx)
}

/// The same for kernels that cannot redirect such frames (before Linux 6.3, `xdp_do_redirect`), where
/// they would be lost.
#[xdp]
pub fn divvy_linear(ctx: XdpContext) -> u32 {
    verdict(&ctx)
}

/// Put in place of `divvy` while somebody asks for a trace.
#[xdp(frags)]
pub fn divvy_traced(ctx: XdpContext) -> u32 {
    traced_verdict(&ctx)
}

/// The same in place of `divvy_linear`. A program's name has 15 bytes at most.
#[xdp]
pub fn divvy_linear_tr(ctx: XdpContext) -> u32 {
    traced_verdict(&ctx)
}

#[inline(always)]
fn verdict(ctx: &XdpContext) -> u32 {
    end(ctx) & ended::ACTION
}

#[inline(always)]
fn traced_verdict(ctx: &XdpContext) -> u32 {
    trace::begin(ctx);
    let end = end(ctx);
    trace::end(ctx, end);
    end & ended::ACTION
}

/// What becomes of a frame, as [`ended`] has it.
#[inline(always)]
fn end(ctx: &XdpContext) -> u32 {
    let (tags, ethertype_be) = match vlan::take_off(ctx) {
        Ok(taken) => taken,
        Err(reason) => return stats::conclude(ctx, reason),
    };
    let end = match ingress::handle(ctx, ethertype_be) {
        Ok(verdict) => verdict,
        Err(reason) => stats::conclude(ctx, reason),
    };
    vlan::put_back(ctx, end, tags)
}

/// Run by the daemon before the others, and now and then; see [`clock`](mod@clock).
#[xdp]
pub fn clock(_ctx: XdpContext) -> u32 {
    clock::set();
    xdp_action::XDP_PASS
}

/// Run by the daemon; see [`sweep`](mod@sweep).
#[xdp]
pub fn sweep(ctx: XdpContext) -> u32 {
    match sweep::run(&ctx) {
        Ok(()) => xdp_action::XDP_PASS,
        Err(_) => xdp_action::XDP_ABORTED,
    }
}

/// Run by the daemon when it takes over from a version with other tables; see [`carry`](mod@carry).
#[xdp]
pub fn carry(ctx: XdpContext) -> u32 {
    match carry::run(&ctx) {
        Ok(()) => xdp_action::XDP_PASS,
        Err(_) => xdp_action::XDP_ABORTED,
    }
}

/// The kernel allows GPL-only helpers to programs whose licence is compatible with the GPL.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No path leads here: the verifier would refuse an endless loop.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
