//! A host all of whose TCP is in VLANs, on a kernel that may lack VLAN devices: `tag` puts tags on what
//! goes out, `untag` takes them off what comes in, and drops and counts what came without them.

use aya_ebpf::{
    Global,
    bindings::{TC_ACT_OK, TC_ACT_SHOT, xdp_action},
    helpers::{bpf_skb_vlan_push, bpf_xdp_adjust_head},
    macros::{classifier, map, xdp},
    maps::PerCpuArray,
    programs::{TcContext, XdpContext},
};

use crate::packet::view;

/// Tags as they lie in a frame, EtherType first; the inner one is 0 where there is one only.
#[unsafe(no_mangle)]
static OUTER_TAG: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static INNER_TAG: Global<u32> = Global::new(0);

/// TCP segments that came with these tags, and those that came otherwise.
#[map(name = "tagged")]
static TAGGED: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);
const RIGHT: u32 = 0;
const WRONG: u32 = 1;

/// Bytes before the first tag, and of one.
const MACS: usize = 12;
const TAG: usize = 4;

#[xdp]
pub fn untag(ctx: XdpContext) -> u32 {
    let Some(outer) = view::<u32>(&ctx, MACS) else {
        return xdp_action::XDP_PASS;
    };
    if *outer != OUTER_TAG.load() {
        return wrong_if_tcp(&ctx);
    }
    let done = if INNER_TAG.load() == 0 {
        strip::<TAG>(&ctx)
    } else {
        match view::<u32>(&ctx, MACS + TAG) {
            Some(inner) if *inner == INNER_TAG.load() => strip::<{ 2 * TAG }>(&ctx),
            _ => None,
        }
    };
    if done.is_none() || !is_tcp(&ctx, 0) {
        count(WRONG);
        return xdp_action::XDP_DROP;
    }
    count(RIGHT);
    xdp_action::XDP_PASS
}

/// A frame without our first tag: TCP must have it, in whatever tags it came.
#[inline(always)]
fn wrong_if_tcp(ctx: &XdpContext) -> u32 {
    if is_tcp(ctx, 0) || is_tcp(ctx, TAG) || is_tcp(ctx, 2 * TAG) {
        count(WRONG);
        return xdp_action::XDP_DROP;
    }
    xdp_action::XDP_PASS
}

#[inline(always)]
fn is_tcp(ctx: &XdpContext, tags: usize) -> bool {
    let Some(ethertype_be) = view::<u16>(ctx, MACS + tags) else {
        return false;
    };
    match protocol_at(*ethertype_be) {
        Some(at) => view::<u8>(ctx, at + tags).is_some_and(|protocol| *protocol == TCP),
        None => false,
    }
}

const TCP: u8 = 6;

/// Where the protocol number lies in a frame of this EtherType without tags.
#[inline(always)]
fn protocol_at(ethertype_be: u16) -> Option<usize> {
    match u16::from_be(ethertype_be) {
        0x0800 => Some(23),
        0x86dd => Some(20),
        _ => None,
    }
}

#[inline(always)]
fn strip<const LENGTH: usize>(ctx: &XdpContext) -> Option<()> {
    let macs = *view::<[u32; 3]>(ctx, 0)?;
    // SAFETY: the context is the one that the kernel called with; views made before are not used
    // again.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, LENGTH as i32) } != 0 {
        return None;
    }
    *view::<[u32; 3]>(ctx, 0)? = macs;
    Some(())
}

#[inline(always)]
fn count(slot: u32) {
    if let Some(count) = TAGGED.get_ptr_mut(slot) {
        // SAFETY: the slot is this CPU's own, and XDP programs on it follow one another.
        unsafe { *count += 1 };
    }
}

#[classifier]
pub fn tag(ctx: TcContext) -> i32 {
    let protocol = ctx
        .load::<u16>(MACS)
        .ok()
        .and_then(protocol_at)
        .and_then(|at| ctx.load::<u8>(at).ok());
    if protocol != Some(TCP) {
        return TC_ACT_OK;
    }
    // The kernel puts each in front of those that are there.
    for tag in [INNER_TAG.load(), OUTER_TAG.load()] {
        let [kind, number] = [tag as u16, u16::from_be((tag >> 16) as u16)];
        // SAFETY: a helper without memory arguments but the context.
        if tag != 0 && unsafe { bpf_skb_vlan_push(ctx.skb.skb, kind, number) } != 0 {
            return TC_ACT_SHOT;
        }
    }
    TC_ACT_OK
}
