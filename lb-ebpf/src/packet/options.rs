//! IPv4 options. They travel with their packet and mean nothing here, but for source routes: a packet for a
//! vip that has one is dropped, as Linux drops it on its own addresses unless told otherwise
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
