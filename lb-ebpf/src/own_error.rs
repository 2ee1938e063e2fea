//! ICMP errors that the balancer itself sends, within budgets: time exceeded where a packet's hops are used
//! up, fragmentation needed or packet too big where it does not fit its way (RFC 792 and 1191, RFC 4443).
//!
//! Each quotes the packet as it arrived, so that its sender knows the connection again: of IPv4 what fits
//! 576 bytes (RFC 1812, section 4.3.2.3), of IPv6 what fits 1,280, in whole words. None is about an ICMP
//! message, a fragment other than the first, or a packet that is not from one host to one host (RFC 1122,
//! section 3.2.2; RFC 4443, section 2.4 e).

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use lb_common::{
    Address as _, Budgeted, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, V4, V6,
    interface::Interface, reason::Reason,
};

use crate::{
    answer::HOP_LIMIT,
    budget,
    family::{Family as _, Inet, Inet6},
    maps, mtu,
    packet::{
        ETHERTYPE_IPV4_BE, Ethernet, FRAGMENT_OFFSET_MASK_BE, Icmp, Ipv4, Ipv6, copy_mac,
        frame_length, only_fragment_or_first, view,
    },
    rewrite::{checksum, fold},
};

/// Most bytes of a quoted packet.
const QUOTE4: u32 = 576 - (size_of::<Ipv4>() + size_of::<Icmp>()) as u32;
const QUOTE6: u32 = 1_280 - (size_of::<Ipv6>() + size_of::<Icmp>()) as u32;
const WORD: usize = size_of::<u32>();
/// Words of the longest ICMP message.
const MAX_WORDS: usize = (size_of::<Icmp>() + QUOTE6 as usize) / WORD;

/// Turns the frame into an ICMP error to its sender. Returns the reason to count: that of the answer, or
/// why there is none.
#[inline(always)]
pub fn answer(ctx: &XdpContext, reason: Reason) -> Reason {
    let too_big = reason == Reason::TooBig;
    match own_error(ctx.ctx, too_big as u32) {
        DONE if too_big => Reason::PacketTooBig,
        DONE => Reason::TimeExceeded,
        LIMITED => Reason::IcmpLimited,
        FAILED => Reason::TableError,
        _ => reason,
    }
}

const DONE: u64 = 0;
const LIMITED: u64 = 1;
const FAILED: u64 = 2;
const NOT_DUE: u64 = 3;

/// A function that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn own_error(ctx: *mut xdp_md, too_big: u32) -> u64 {
    let ctx = XdpContext::new(ctx);
    let cause = if too_big != 0 {
        Cause::TooBig
    } else {
        Cause::TimeExceeded
    };
    match try_answer(&ctx, cause) {
        Ok(()) => DONE,
        Err(WhyNot::Limited) => LIMITED,
        Err(WhyNot::Failed) => FAILED,
        Err(WhyNot::NotDue) => NOT_DUE,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    TimeExceeded,
    TooBig,
}

enum WhyNot {
    Limited,
    Failed,
    NotDue,
}

impl From<Reason> for WhyNot {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::TableError => Self::Failed,
            _ => Self::NotDue,
        }
    }
}

#[inline(always)]
fn try_answer(ctx: &XdpContext, cause: Cause) -> Result<(), WhyNot> {
    const GROUP: u8 = 1;
    let ethernet: &Ethernet = view(ctx, 0)?;
    if (ethernet.destination[0] | ethernet.source[0]) & GROUP != 0 {
        return Err(WhyNot::NotDue);
    }
    if ethernet.ethertype_be == ETHERTYPE_IPV4_BE {
        answer4(ctx, cause)
    } else {
        answer6(ctx, cause)
    }
}

/// Our addresses where the frame came in.
#[inline(always)]
fn interface(ctx: &XdpContext) -> Result<&'static Interface, WhyNot> {
    let ifindex = ctx.ingress_ifindex() as u32;
    // SAFETY: the daemon replaces whole values; whoever reads one meanwhile gets the old or the new.
    unsafe { maps::INTERFACES.get(&ifindex) }.ok_or(WhyNot::NotDue)
}

/// The MTU to tell of a packet of this length, and whether its own destination may tell it.
#[inline(always)]
fn most(length: u32) -> Result<(u32, bool), WhyNot> {
    let excess = mtu::excess()?;
    if excess.mtu >= length {
        return Err(WhyNot::NotDue);
    }
    Ok((excess.mtu, excess.not_to_us == 0))
}

#[inline(always)]
fn spend(cause: Cause) -> Result<(), WhyNot> {
    let what = match cause {
        Cause::TimeExceeded => Budgeted::TimeExceeded,
        Cause::TooBig => Budgeted::TooBig,
    };
    if budget::spend(what) {
        Ok(())
    } else {
        Err(WhyNot::Limited)
    }
}

#[inline(always)]
fn answer4(ctx: &XdpContext, cause: Cause) -> Result<(), WhyNot> {
    const TIME_EXCEEDED: u8 = 11;
    const UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
    let length = u16::from_be(ip.total_length_be) as u32;
    let balanced = ip.protocol == PROTOCOL_TCP || ip.protocol == PROTOCOL_UDP;
    if !balanced || ip.fragment_be & FRAGMENT_OFFSET_MASK_BE != 0 || !Inet::is_host(&ip.source) {
        return Err(WhyNot::NotDue);
    }
    let (kind, code, rest, to_us) = match cause {
        Cause::TimeExceeded => (TIME_EXCEEDED, 0, 0, false),
        Cause::TooBig => {
            let (most, to_us) = most(length)?;
            (UNREACHABLE, FRAGMENTATION_NEEDED, most, to_us)
        }
    };
    let source = if to_us {
        ip.destination
    } else {
        interface(ctx)?.address4
    };
    if source[0] == 0 {
        return Err(WhyNot::NotDue);
    }
    let destination = ip.source;
    spend(cause)?;
    let quote = whole_words(length, QUOTE4);
    enclose(ctx, quote, size_of::<Ipv4>() + size_of::<Icmp>())?;
    write_ip4(ctx, source, destination, quote)?;
    let start = size_of::<Ethernet>() + size_of::<Ipv4>();
    write_icmp(ctx, start, (kind, code, rest), quote, 0)
}

#[inline(always)]
fn answer6(ctx: &XdpContext, cause: Cause) -> Result<(), WhyNot> {
    const TIME_EXCEEDED: u8 = 3;
    const PACKET_TOO_BIG: u8 = 2;
    let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
    let length = size_of::<Ipv6>() as u32 + u16::from_be(ip.payload_length_be) as u32;
    if !Inet6::is_host(&ip.source) || !only_fragment_or_first(ctx) {
        return Err(WhyNot::NotDue);
    }
    let (kind, rest, to_us) = match cause {
        Cause::TimeExceeded => (TIME_EXCEEDED, 0, false),
        Cause::TooBig => {
            let (most, to_us) = most(length)?;
            (PACKET_TOO_BIG, most, to_us)
        }
    };
    let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
    let source = if to_us {
        ip.destination.copied()
    } else {
        interface(ctx)?.address6.copied()
    };
    if source.same([0; 4]) {
        return Err(WhyNot::NotDue);
    }
    let destination = ip.source.copied();
    spend(cause)?;
    let quote = whole_words(length, QUOTE6);
    enclose(ctx, quote, size_of::<Ipv6>() + size_of::<Icmp>())?;
    let pseudo_header = write_ip6(ctx, &source, &destination, quote)?;
    let start = size_of::<Ethernet>() + size_of::<Ipv6>();
    write_icmp(ctx, start, (kind, 0, rest), quote, pseudo_header)
}

/// How much of a packet is quoted: at the end at most three bytes are missed that there would be room for.
#[inline(always)]
fn whole_words(length: u32, most: u32) -> u32 {
    let whole = length & !(WORD as u32 - 1);
    if whole < most { whole } else { most }
}

/// Cuts the frame off behind the quote, makes room for these headers before it, and turns it around.
#[inline(always)]
fn enclose(ctx: &XdpContext, quote: u32, headers: usize) -> Result<(), WhyNot> {
    let mut macs = [[0; 6]; 2];
    let ethernet: &Ethernet = view(ctx, 0)?;
    let ethertype_be = ethernet.ethertype_be;
    copy_mac(&mut macs[0], &ethernet.source);
    copy_mac(&mut macs[1], &ethernet.destination);
    let frame_length = frame_length(ctx) as i32;
    let excess = frame_length - (size_of::<Ethernet>() as i32 + quote as i32);
    if excess < 0 {
        return Err(WhyNot::NotDue);
    }
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    let resized = unsafe {
        bpf_xdp_adjust_tail(ctx.ctx, -excess) == 0
            && bpf_xdp_adjust_head(ctx.ctx, -(headers as i32)) == 0
    };
    if !resized {
        return Err(WhyNot::Failed);
    }
    let ethernet: &mut Ethernet = view(ctx, 0)?;
    copy_mac(&mut ethernet.destination, &macs[0]);
    copy_mac(&mut ethernet.source, &macs[1]);
    ethernet.ethertype_be = ethertype_be;
    Ok(())
}

#[inline(always)]
fn write_ip4(ctx: &XdpContext, source: V4, destination: V4, quote: u32) -> Result<(), WhyNot> {
    const VERSION_IHL: u8 = 0x45;
    const DO_NOT_FRAGMENT_BE: u16 = 0x4000_u16.to_be();
    /// Precedence "internetwork control" (RFC 1812, section 4.3.2.5).
    const CONTROL: u8 = 0xc0;
    let ip: &mut Ipv4 = view(ctx, size_of::<Ethernet>())?;
    let length = (size_of::<Ipv4>() + size_of::<Icmp>()) as u32 + quote;
    *ip = Ipv4 {
        version_ihl: VERSION_IHL,
        tos: CONTROL,
        total_length_be: (length as u16).to_be(),
        id_be: 0,
        fragment_be: DO_NOT_FRAGMENT_BE,
        ttl: HOP_LIMIT,
        protocol: PROTOCOL_ICMP,
        checksum_be: 0,
        source,
        destination,
    };
    ip.checksum_be = checksum(ip);
    Ok(())
}

/// Returns the sum of the pseudo header (RFC 8200, section 8.1).
#[inline(always)]
fn write_ip6(ctx: &XdpContext, source: &V6, destination: &V6, quote: u32) -> Result<u64, WhyNot> {
    const VERSION: u32 = 6 << 28;
    let ip: &mut Ipv6 = view(ctx, size_of::<Ethernet>())?;
    let length = size_of::<Icmp>() as u32 + quote;
    ip.version_class_label_be = VERSION.to_be();
    ip.payload_length_be = (length as u16).to_be();
    ip.next_header = PROTOCOL_ICMPV6;
    ip.hop_limit = HOP_LIMIT;
    let mut sum = length.to_be() as u64 + (PROTOCOL_ICMPV6 as u32).to_be() as u64;
    for word in 0..4 {
        ip.source[word] = source[word];
        ip.destination[word] = destination[word];
        sum += source[word] as u64 + destination[word] as u64;
    }
    Ok(sum)
}

/// Writes type, code and what follows them before the quote, and the checksum of it all.
#[inline(always)]
fn write_icmp(
    ctx: &XdpContext,
    start: usize,
    (kind, code, rest): (u8, u8, u32),
    quote: u32,
    pseudo_header: u64,
) -> Result<(), WhyNot> {
    let icmp: &mut Icmp = view(ctx, start)?;
    icmp.kind = kind;
    icmp.code = code;
    icmp.checksum_be = 0;
    icmp.rest_be = rest.to_be();
    let words = (size_of::<Icmp>() as u32 + quote) / WORD as u32;
    let sum = sum(ctx, start, words);
    let icmp: &mut Icmp = view(ctx, start)?;
    icmp.checksum_be = !fold(sum + pseudo_header);
    Ok(())
}

/// The sum of so many words of the frame, from this byte on, which must not be beyond the headers.
#[inline(always)]
pub fn sum(ctx: &XdpContext, start: usize, words: u32) -> u64 {
    own_error_sum(ctx.ctx, start as u32, words)
}

/// A global function, so that what follows the loop is not looked at for each of its rounds.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn own_error_sum(ctx: *mut xdp_md, start: u32, words: u32) -> u64 {
    /// More than any start; the verifier asks for a bound.
    const START_MASK: u32 = 0x7f;
    let ctx = XdpContext::new(ctx);
    let start = (start & START_MASK) as usize;
    let mut sum = 0;
    for word in 0..MAX_WORDS {
        if word as u32 >= words {
            break;
        }
        let Ok(word) = view::<u32>(&ctx, start + word * WORD) else {
            break;
        };
        sum += *word as u64;
    }
    sum
}
