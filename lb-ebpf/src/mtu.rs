//! Whether a packet fits the interface that it leaves by. Most frames are no longer than what fits all of
//! them ([`Settings::frame_max`]); only the others are looked at here.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::{
    backend::Backend,
    flow::{Flow, side},
    reason::Reason,
    service::{Settings, mode},
};

use crate::{
    family::Family,
    maps,
    packet::{ETHERTYPE_IPV4_BE, Ethernet, Ipv4, Ipv6, Segment, Transport, frame_length, view},
};

/// Every IPv4 link carries so much (RFC 791), every IPv6 link so much (RFC 8200, section 5).
pub const LEAST4: u32 = 68;
pub const LEAST6: u32 = 1_280;
pub const DO_NOT_FRAGMENT_BE: u16 = 0x4000_u16.to_be();
/// Bytes of tags that a frame may have beyond its Ethernet header.
const TAGS: i32 = 8;

/// How a packet goes on.
#[derive(Clone, Copy)]
pub struct Way {
    /// The interface that it leaves by; 0 while that is unknown.
    pub ifindex: u32,
    /// Bits of [`how`].
    pub how: u32,
}

pub mod how {
    /// The kernel cannot take the packet over: its destination is not where it goes.
    pub const UNFORWARDABLE: u32 = 1;
    /// Its destination is none of ours: what its sender is told comes from the interface's own address.
    pub const NOT_TO_US: u32 = 2;
}

/// The way of a new flow's packet.
#[inline(always)]
pub fn way_to(backend: &Backend) -> Way {
    Way {
        ifindex: backend.ifindex,
        how: 0,
    }
}

/// The way of a known flow's packet. In mode `route` what backends send is addressed to the client.
#[inline(always)]
pub fn way_of<A>(entry: &Flow<A>, backend: &Backend) -> Way {
    if entry.side == side::CLIENT {
        return way_to(backend);
    }
    Way {
        ifindex: entry.ifindex,
        how: if backend.mode == mode::ROUTE {
            how::NOT_TO_US
        } else {
            0
        },
    }
}

/// What the packet at hand exceeds, between the stage that finds it and the answer.
#[repr(C)]
pub struct Excess {
    /// Most bytes of such a packet, as it arrives.
    pub mtu: u32,
    /// As [`how::NOT_TO_US`].
    pub not_to_us: u32,
}

/// Notes what the packet at hand exceeds.
#[inline(always)]
pub fn exceeded(mtu: u32, not_to_us: bool) {
    if let Some(excess) = maps::EXCESS.get_ptr_mut(0) {
        // SAFETY: a per-CPU value, and the program is not preempted by another run of itself.
        let excess = unsafe { &mut *excess };
        excess.mtu = mtu;
        excess.not_to_us = not_to_us as u32;
    }
}

/// What was noted.
#[inline(always)]
pub fn excess() -> Result<&'static Excess, Reason> {
    let excess = maps::EXCESS.get_ptr(0).ok_or(Reason::TableError)?;
    // SAFETY: as in `exceeded`.
    Ok(unsafe { &*excess })
}

/// The packet fits its way once it has grown by so many bytes. False: the kernel has to fragment it.
#[inline(always)]
pub fn fits<F: Family, T: Transport>(
    ctx: &XdpContext,
    settings: &Settings,
    segment: &Segment<'_, F, T>,
    growth: i32,
    way: impl FnOnce() -> Way,
) -> Result<bool, Reason> {
    if segment.frame_length as i64 + growth as i64 <= settings.frame_max as i64 {
        return Ok(true);
    }
    let Way { ifindex, how } = way();
    match mtu_fits(ctx.ctx, ifindex, growth as u32, how) {
        FITS => Ok(true),
        TO_FRAGMENT => Ok(false),
        TOO_BIG => Err(Reason::TooBig),
        _ => Err(Reason::TableError),
    }
}

const FITS: u64 = 0;
const TO_FRAGMENT: u64 = 1;
const TOO_BIG: u64 = 2;
const FAILED: u64 = 3;

/// A function that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mtu_fits(ctx: *mut xdp_md, ifindex: u32, growth: u32, how: u32) -> u64 {
    let way = Way { ifindex, how };
    try_fits(&XdpContext::new(ctx), way, growth as i32).unwrap_or(FAILED)
}

#[inline(always)]
fn try_fits(ctx: &XdpContext, way: Way, growth: i32) -> Result<u64, Reason> {
    // SAFETY: the daemon replaces whole values, and the MTU is one word.
    let Some(interface) = (unsafe { maps::INTERFACES.get(&way.ifindex) }) else {
        return Ok(FITS);
    };
    let mtu = interface.mtu as i32;
    let ethernet: &Ethernet = view(ctx, 0)?;
    let (length, may_fragment, least) = if ethernet.ethertype_be == ETHERTYPE_IPV4_BE {
        let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
        let length = u16::from_be(ip.total_length_be) as i32;
        let may_fragment = ip.fragment_be & DO_NOT_FRAGMENT_BE == 0;
        // Grown, it is an IPv6 packet, which only its sender fragments.
        (length, may_fragment && growth <= 0, LEAST4)
    } else {
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        let length = size_of::<Ipv6>() as i32 + u16::from_be(ip.payload_length_be) as i32;
        // Shrunk, it is an IPv4 packet, which so short may be fragmented (RFC 7915, section 5.1).
        (length, growth < 0 && length <= LEAST6 as i32, LEAST6)
    };
    let frame_length = frame_length(ctx) as i32;
    if length + growth <= mtu {
        // Bytes behind the packet may still make the frame too long. Nobody is told of that.
        if frame_length + growth <= mtu + size_of::<Ethernet>() as i32 + TAGS {
            return Ok(FITS);
        }
    } else if may_fragment && way.how & how::UNFORWARDABLE == 0 {
        return Ok(TO_FRAGMENT);
    }
    let most = (mtu - growth).max(least as i32) as u32;
    exceeded(most, way.how & how::NOT_TO_US != 0);
    Ok(TOO_BIG)
}
