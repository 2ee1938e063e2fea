//! IPv6 extension headers: a walk over the few that may stand before TCP or UDP.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use lb_common::{PROTOCOL_TCP, PROTOCOL_UDP, reason::Reason};

use super::{Ethernet, Ipv6, view};

/// Extension headers that are walked before giving up (RFC 8200, section 4.1 names six kinds, of
/// which these are the ones that may stand before TCP or UDP).
const MAX_EXTENSION_HEADERS: usize = 4;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const NO_NEXT_HEADER: u8 = 59;

/// IPv6: the offset without the reserved bits and the M flag (RFC 8200, section 4.5).
const FRAGMENT_OFFSET_MASK6_BE: u16 = 0xfff8_u16.to_be();
const MORE_FRAGMENTS6_BE: u16 = 1_u16.to_be();

#[repr(C)]
struct ExtensionHeader {
    next_header: u8,
    /// Length in units of 8 bytes, not counting the first (RFC 8200, section 4.3).
    length: u8,
    /// Of a fragment header: offset and flags. Of a routing header: type and segments left.
    fragment_be: u16,
}

impl ExtensionHeader {
    /// Of a routing header: the hops that are still to come. The destination of the IP header is
    /// then only the next of them (RFC 8200, section 4.4).
    #[inline(always)]
    fn segments_left(&self) -> u8 {
        u16::from_be(self.fragment_be) as u8
    }
}

/// Bytes of extension headers before the header of this protocol, and whether a fragment header is among
/// them that announces more: then this is the first fragment. One that is all of its datagram (RFC 6946)
/// is a packet like any other.
#[inline(always)]
pub fn walk(ctx: &XdpContext, protocol: u8) -> Result<(usize, bool), Reason> {
    match extension_walk(ctx.ctx, protocol as u64) {
        OTHER_PROTOCOL => Err(Reason::OtherProtocol),
        TRUNCATED => Err(Reason::Truncated),
        NOT_OURS => Err(Reason::NotOurs),
        LATER_FRAGMENT => Err(Reason::LaterFragment),
        // Bounded anew, as the verifier needs it of what a global function returns.
        found => Ok(((found & LENGTH_MASK) as usize, found & FRAGMENT_FOUND != 0)),
    }
}

/// Bytes of extension headers before the fragment header.
#[inline(always)]
pub fn before_fragment(ctx: &XdpContext) -> Result<usize, Reason> {
    walk(ctx, FRAGMENT).map(|(length, _)| length)
}

/// Bytes of extension headers in a packet that lies in a frame, from its IPv6 header on, and the protocol
/// number of what follows them.
#[inline(always)]
pub fn walk_inside(ctx: &XdpContext, ip_at: usize) -> Result<(usize, u8), Reason> {
    match extension_walk_inside(ctx.ctx, ip_at as u64) {
        TRUNCATED => Err(Reason::Truncated),
        NOT_OURS => Err(Reason::NotOurs),
        LATER_FRAGMENT => Err(Reason::LaterFragment),
        found => Ok(((found & LENGTH_MASK) as usize, (found >> NEXT_SHIFT) as u8)),
    }
}

/// Bytes of extension headers, the protocol number of what follows them, and whether the packet is a first
/// fragment.
#[inline(always)]
pub fn walk_whole(ctx: &XdpContext) -> Result<(usize, u8, bool), Reason> {
    let (length, protocol) = walk_inside(ctx, size_of::<Ethernet>())?;
    let fragment = walk(ctx, protocol).is_ok_and(|(_, fragment)| fragment);
    Ok((length, protocol, fragment))
}

/// The frame is an IPv6 packet of TCP or UDP, whole or the first fragment of one.
#[inline(always)]
pub fn only_fragment_or_first(ctx: &XdpContext) -> bool {
    walk(ctx, PROTOCOL_TCP).is_ok() || walk(ctx, PROTOCOL_UDP).is_ok()
}

/// More than the headers that are walked can be long, each at most 2,048 bytes.
const LENGTH_MASK: u64 = 0x3fff;
const FRAGMENT_FOUND: u64 = 1 << 32;
const OTHER_PROTOCOL: u64 = 1 << 33;
const TRUNCATED: u64 = 1 << 34;
const NOT_OURS: u64 = 1 << 35;
const LATER_FRAGMENT: u64 = 1 << 36;
/// Where the protocol number stands of what follows.
const NEXT_SHIFT: u64 = 40;
/// Farther from the frame's start nothing is looked for.
const START_MASK: u64 = 0x7fff;

/// A function that the verifier knows as global, as those of [`crate::table`]: what follows it is looked
/// at once, and not for each number of headers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn extension_walk(ctx: *mut xdp_md, protocol: u64) -> u64 {
    match try_walk(&XdpContext::new(ctx), size_of::<Ethernet>(), protocol as u8) {
        Ok(found) if found >> NEXT_SHIFT == protocol => found & (LENGTH_MASK | FRAGMENT_FOUND),
        Ok(_) => OTHER_PROTOCOL,
        Err(reason) => code(reason),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn extension_walk_inside(ctx: *mut xdp_md, ip_at: u64) -> u64 {
    match try_walk(
        &XdpContext::new(ctx),
        (ip_at & START_MASK) as usize,
        NO_NEXT_HEADER,
    ) {
        Ok(found) => found,
        Err(reason) => code(reason),
    }
}

#[inline(always)]
fn code(reason: Reason) -> u64 {
    match reason {
        Reason::LaterFragment => LATER_FRAGMENT,
        Reason::NotOurs => NOT_OURS,
        _ => TRUNCATED,
    }
}

/// Walks up to the header of this protocol, at the most.
#[inline(always)]
fn try_walk(ctx: &XdpContext, ip_at: usize, protocol: u8) -> Result<u64, Reason> {
    let ip: &Ipv6 = view(ctx, ip_at)?;
    let first = ip_at + size_of::<Ipv6>();
    let mut next = ip.next_header;
    let mut length = 0;
    let mut fragment = 0;
    for _ in 0..MAX_EXTENSION_HEADERS {
        match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let header: &ExtensionHeader = view(ctx, first + length)?;
                if next == ROUTING && header.segments_left() != 0 {
                    return Err(Reason::NotOurs);
                }
                next = header.next_header;
                length += (header.length as usize + 1) * 8;
            }
            FRAGMENT if protocol != FRAGMENT => {
                let header: &ExtensionHeader = view(ctx, first + length)?;
                if header.fragment_be & FRAGMENT_OFFSET_MASK6_BE != 0 {
                    return Err(Reason::LaterFragment);
                }
                if header.fragment_be & MORE_FRAGMENTS6_BE != 0 {
                    fragment = FRAGMENT_FOUND;
                }
                next = header.next_header;
                length += 8;
            }
            _ => break,
        }
    }
    Ok(length as u64 | fragment | (next as u64) << NEXT_SHIFT)
}
