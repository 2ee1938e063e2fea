//! IPv4 options. They travel with their packet and mean nothing here, but for the header's checksum, and for
//! source routes: a packet for a vip that has one is dropped, as Linux drops it on its own addresses unless told otherwise
//! (`accept_source_route`).

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::reason::Reason;

use super::{Ethernet, Ipv4, view};
use crate::maps;

/// RFC 791, section 3.1.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// Most bytes of options.
const MOST: usize = 40;

/// Among the options is a source route. False of a later fragment: what is for a vip follows its first.
#[inline(always)]
pub fn are_source_route(ctx: &XdpContext) -> bool {
    options_source_route(ctx.ctx) != 0
}

/// The sum of the options' words, as a checksum needs it.
#[inline(always)]
pub fn sum(ctx: &XdpContext) -> u64 {
    options_sum(ctx.ctx)
}

/// A function that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn options_sum(ctx: *mut xdp_md) -> u64 {
    // Headers that end beyond the frame have no checksum to be right.
    try_sum(&XdpContext::new(ctx)).unwrap_or(0)
}

#[inline(always)]
fn try_sum(ctx: &XdpContext) -> Result<u64, Reason> {
    const FIRST: usize = size_of::<Ipv4>() / 4;
    const END: usize = FIRST + MOST / 4;
    let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
    let words = (ip.version_ihl & 0x0f) as usize;
    let mut sum = 0;
    for at in FIRST..END {
        if at >= words {
            break;
        }
        let word: &u32 = view(ctx, size_of::<Ethernet>() + at * 4)?;
        sum += *word as u64;
    }
    Ok(sum)
}

/// A function that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn options_source_route(ctx: *mut xdp_md) -> u64 {
    walk(&XdpContext::new(ctx)).unwrap_or(false) as u64
}

#[inline(always)]
fn walk(ctx: &XdpContext) -> Result<bool, Reason> {
    let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
    if ip.is_later_fragment() {
        return Ok(false);
    }
    let length = ((ip.version_ihl & 0x0f) as usize * 4).wrapping_sub(size_of::<Ipv4>());
    let first = size_of::<Ethernet>() + size_of::<Ipv4>();
    // In memory, so that the verifier does not follow each of its values.
    let place = maps::PLACE.get_ptr_mut(0).ok_or(Reason::TableError)?;
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself.
    unsafe { place.write_volatile(0) };
    for _ in 0..MOST {
        // SAFETY: as above.
        let at = unsafe { place.read_volatile() } as usize;
        if at >= length || at >= MOST {
            break;
        }
        let kind: &u8 = view(ctx, first + at)?;
        let step = match *kind {
            END => break,
            NO_OPERATION => 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Ok(true),
            _ => {
                let step: &u8 = view(ctx, first + at + 1)?;
                // Less than its own two bytes: nothing that follows can be read.
                if *step < 2 {
                    break;
                }
                *step
            }
        };
        // SAFETY: as above.
        unsafe { place.write_volatile((at + step as usize) as u32) };
    }
    Ok(false)
}
