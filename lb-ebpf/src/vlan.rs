//! VLAN tags (IEEE 802.1Q and 802.1ad): up to two are taken off before anything looks at the frame,
//! and put back before it goes on, whatever has become of it. Between the two it is a frame like any
//! other, so that no stage knows of tags.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    helpers::bpf_xdp_adjust_head,
    programs::XdpContext,
};
use lb_common::{reason::Reason, trace::ended};

use crate::{
    packet::{ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Ethernet, view},
    stats,
};

/// EtherTypes of a tag. Two of the first kind were used one in the other before 802.1ad.
const CUSTOMER_BE: u16 = 0x8100_u16.to_be();
const SERVICE_BE: u16 = 0x88a8_u16.to_be();

/// Bytes of a tag, and where the first one lies.
const TAG: usize = 4;
const FIRST: usize = 2 * size_of::<Mac>();

type Mac = [u8; 6];
/// Both MAC addresses.
type Macs = [u32; 3];

/// A frame's tags as they lie in it, the inner one in the upper half; 0 for none, because no tag is 0.
pub type Tags = u64;

/// Takes the tags off a frame that has IP behind them; any other stays as it is. Also returns the
/// EtherType that the frame has then.
#[inline(always)]
pub fn take_off(ctx: &XdpContext) -> Result<(Tags, u16), Reason> {
    let ethernet = view::<Ethernet>(ctx, 0)?;
    let none = none(ethernet);
    if !is_tag(ethernet.ethertype_be) {
        return Ok((none, ethernet.ethertype_be));
    }
    let tags = vlan_take_off(ctx.ctx);
    Ok((tags, view::<Ethernet>(ctx, 0)?.ethertype_be))
}

/// Puts the tags back on a frame, unless it is dropped, and returns what becomes of it, as
/// [`ended`] has it.
#[inline(always)]
pub fn put_back(ctx: &XdpContext, end: u32, tags: Tags) -> u32 {
    if tags == 0 {
        return end;
    }
    vlan_put_back(ctx.ctx, end, tags)
}

/// No tags, in a form that the verifier takes for any: what follows is then the same to it with and
/// without tags, and looked at once.
#[inline(always)]
fn none(ethernet: &Ethernet) -> Tags {
    let start: *const u64 = (&raw const *ethernet).cast();
    // SAFETY: an Ethernet header is longer than this, and alignment is as `packet` says.
    unsafe { start.read_volatile() ^ start.read_volatile() }
}

#[inline(always)]
fn is_ip(ethertype_be: u16) -> bool {
    ethertype_be == ETHERTYPE_IPV4_BE || ethertype_be == ETHERTYPE_IPV6_BE
}

#[inline(always)]
fn is_tag(ethertype_be: u16) -> bool {
    ethertype_be == CUSTOMER_BE || ethertype_be == SERVICE_BE
}

/// A function that the verifier knows as global, as those of [`crate::table`]: what it returns may be
/// anything.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vlan_take_off(ctx: *mut xdp_md) -> u64 {
    try_take_off(&XdpContext::new(ctx)).unwrap_or(0)
}

#[inline(always)]
fn try_take_off(ctx: &XdpContext) -> Result<Tags, Reason> {
    let behind_one: &u16 = view(ctx, FIRST + TAG)?;
    let (length, second) = if is_ip(*behind_one) {
        (TAG, 0)
    } else if is_tag(*behind_one) {
        let behind_two: &u16 = view(ctx, FIRST + 2 * TAG)?;
        if !is_ip(*behind_two) {
            return Err(Reason::NotIp);
        }
        let second: &u32 = view(ctx, FIRST + TAG)?;
        (2 * TAG, *second)
    } else {
        return Err(Reason::NotIp);
    };
    let first: &u32 = view(ctx, FIRST)?;
    let tags = *first as u64 | (second as u64) << 32;
    let macs = *view::<Macs>(ctx, 0)?;
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, length as i32) } != 0 {
        return Err(Reason::NotIp);
    }
    *view::<Macs>(ctx, 0)? = macs;
    Ok(tags)
}

/// The same for the way back.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vlan_put_back(ctx: *mut xdp_md, end: u32, tags: u64) -> u32 {
    if end & ended::ACTION == xdp_action::XDP_DROP {
        return end;
    }
    match try_put_back(&XdpContext::new(ctx), tags) {
        Ok(()) => end,
        // The driver keeps no room in front of the frame.
        Err(reason) => {
            stats::count(reason);
            stats::ended(reason, xdp_action::XDP_DROP)
        }
    }
}

#[inline(always)]
fn try_put_back(ctx: &XdpContext, tags: Tags) -> Result<(), Reason> {
    let second = (tags >> 32) as u32;
    let length = if second == 0 { TAG } else { 2 * TAG };
    let macs = *view::<Macs>(ctx, 0)?;
    // SAFETY: as in `try_take_off`.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -(length as i32)) } != 0 {
        return Err(Reason::TableError);
    }
    *view::<Macs>(ctx, 0)? = macs;
    *view::<u32>(ctx, FIRST)? = tags as u32;
    if second != 0 {
        *view::<u32>(ctx, FIRST + TAG)? = second;
    }
    Ok(())
}
