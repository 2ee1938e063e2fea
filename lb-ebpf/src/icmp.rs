//! ICMP: an echo request for an address of a vip is answered ([`echo`]), and an error about a flow goes to
//! whom it concerns ([`error`]). All the rest passes.
//!
//! What is done here hangs directly under the program's entry, and keeps little on the stack.

mod across;
mod echo;
mod error;

use core::hint::black_box;

use aya_ebpf::programs::XdpContext;
use lb_common::{Address, PROTOCOL_TCP, PROTOCOL_UDP, V4, V6, reason::Reason, service::setting};

pub use self::across::Across;
use self::error::Quoted;
use crate::{
    answer::HOP_LIMIT,
    family::{Inet, Inet6},
    maps,
    packet::{Ethernet, FRAGMENT_MASK_BE, FRAGMENT_OFFSET_MASK_BE, Ipv4, Ipv6, extension, view},
    rewrite::{Readdress, checksum},
    table::Table,
};

/// A header of ICMP (RFC 792) or ICMPv6 (RFC 4443, section 2.1).
#[repr(C)]
pub struct Header {
    kind: u8,
    code: u8,
    checksum_be: u16,
    /// Identifier and sequence number of an echo. Behind it lies what an error quotes.
    rest_be: u32,
}

/// Where a frame's message lies. Its header is within the frame.
pub struct Message {
    /// Bytes of the frame before it.
    at: usize,
    /// Bytes of the frame to its end.
    end: usize,
    /// It is the first fragment of its datagram.
    fragment: bool,
}

/// ICMP of an address family.
pub trait Icmp: Readdress + Table {
    /// Types of messages.
    const ECHO_REQUEST: u8;
    const ECHO_REPLY: u8;
    /// A message of this type quotes a packet.
    fn is_error(kind: u8) -> bool;
    /// The message in a frame.
    fn message(ctx: &XdpContext) -> Result<Message, Reason>;
    /// What an error quotes.
    fn quoted(ctx: &XdpContext, message: &Message) -> Result<Quoted, Reason>;
    /// The checksum of an IP header; 0 where it has none.
    fn header_checksum(ip: &Self::Header) -> u16;
    /// What the header of an echo reply takes over from that of the request.
    fn kept(ip: &Self::Header) -> u32;
    /// Writes the header of an echo reply, whose content has this length.
    fn write_reply(
        ip: &mut Self::Header,
        kept: u32,
        source: &Self::Address,
        destination: &Self::Address,
        length: u32,
    );
}

/// What becomes of a packet that is neither TCP nor UDP.
#[inline(always)]
pub fn way<F: Across>(ctx: &XdpContext) -> Result<u32, Reason> {
    match kind::<F>(ctx)? {
        ECHO => echo::answer::<F>(ctx),
        ERROR => match error::send_on::<F>(ctx) {
            Err(reason) if may_cross::<F>(reason) => across::send_on::<F>(ctx, reason),
            done => done,
        },
        _ => Err(Reason::OtherProtocol),
    }
}

/// An error that ended for this reason may be about a flow between the families. All those lie in the table
/// of IPv6, so that an error of IPv4 about one is about no flow that was found.
#[inline(always)]
fn may_cross<F: Icmp>(reason: Reason) -> bool {
    match reason {
        Reason::IcmpCrossed => true,
        Reason::NotOurs => {
            F::VERSION == 4
                && maps::SETTINGS
                    .get(0)
                    .is_some_and(|settings| settings.flags & setting::CROSSED != 0)
        }
        _ => false,
    }
}

/// Kinds of messages.
const ECHO: u32 = 1;
const ERROR: u32 = 2;
const OTHER: u32 = 0;

/// In a function of its own, so that the entry keeps nothing of the headers.
#[inline(never)]
fn kind<F: Icmp>(ctx: &XdpContext) -> Result<u32, Reason> {
    let message = F::message(ctx)?;
    let header: &Header = view(ctx, message.at)?;
    if header.kind == F::ECHO_REQUEST && header.code == 0 {
        return Ok(ECHO);
    }
    if F::is_error(header.kind) {
        return Ok(ERROR);
    }
    Ok(OTHER)
}

impl Icmp for Inet {
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;

    /// Destination unreachable, source quench, time exceeded, parameter problem.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 11 | 12)
    }

    #[inline(always)]
    fn message(ctx: &XdpContext) -> Result<Message, Reason> {
        let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
        let header_length = (ip.version_ihl & 0x0f) as usize * 4;
        if ip.version_ihl >> 4 != 4 || header_length < size_of::<Ipv4>() {
            return Err(Reason::Truncated);
        }
        if ip.protocol != V4::ICMP {
            return Err(Reason::OtherProtocol);
        }
        if ip.fragment_be & FRAGMENT_OFFSET_MASK_BE != 0 {
            return Err(Reason::LaterFragment);
        }
        let ip_length = u16::from_be(ip.total_length_be) as usize;
        let fragment = ip.fragment_be & FRAGMENT_MASK_BE != 0;
        Message::within(ctx, header_length, ip_length, fragment)
    }

    #[inline(always)]
    fn quoted(ctx: &XdpContext, message: &Message) -> Result<Quoted, Reason> {
        let Ok(ip) = view::<Ipv4>(ctx, message.quote()) else {
            return Err(Reason::IcmpMalformed);
        };
        let header_length = (ip.version_ihl & 0x0f) as usize * 4;
        if ip.version_ihl >> 4 != 4 || header_length < size_of::<Ipv4>() {
            return Err(Reason::IcmpMalformed);
        }
        if ip.fragment_be & FRAGMENT_OFFSET_MASK_BE != 0 {
            return Err(Reason::IcmpNoFlow);
        }
        let length = u16::from_be(ip.total_length_be) as usize;
        Quoted::behind(message, ip.protocol, header_length, length)
    }

    #[inline(always)]
    fn header_checksum(ip: &Ipv4) -> u16 {
        ip.checksum_be
    }

    /// Traffic class, identification, and the bit that forbids to fragment: a reply is as long as its
    /// request.
    #[inline(always)]
    fn kept(ip: &Ipv4) -> u32 {
        let whole = (ip.fragment_be & DO_NOT_FRAGMENT_BE != 0) as u32;
        (ip.id_be as u32) << 16 | whole << WHOLE_BIT | ip.tos as u32
    }

    #[inline(always)]
    fn write_reply(ip: &mut Ipv4, kept: u32, source: &V4, destination: &V4, length: u32) {
        const VERSION_IHL: u8 = 0x45;
        ip.version_ihl = VERSION_IHL;
        ip.tos = kept as u8;
        ip.total_length_be = ((size_of::<Ipv4>() as u32 + length) as u16).to_be();
        ip.id_be = (kept >> 16) as u16;
        ip.fragment_be = (kept >> WHOLE_BIT & 1) as u16 * DO_NOT_FRAGMENT_BE;
        ip.ttl = HOP_LIMIT;
        ip.protocol = V4::ICMP;
        ip.source = *source;
        ip.destination = *destination;
        ip.checksum_be = checksum(ip);
    }
}

impl Icmp for Inet6 {
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;

    /// Destination unreachable, packet too big, time exceeded, parameter problem.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 1..=4)
    }

    #[inline(always)]
    fn message(ctx: &XdpContext) -> Result<Message, Reason> {
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        if u32::from_be(ip.version_class_label_be) >> 28 != 6 {
            return Err(Reason::Truncated);
        }
        let (extensions, fragment) = if ip.next_header == V6::ICMP {
            (0, false)
        } else {
            extension::walk(ctx, V6::ICMP)?
        };
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        let ip_length = size_of::<Ipv6>() + u16::from_be(ip.payload_length_be) as usize;
        Message::within(ctx, size_of::<Ipv6>() + extensions, ip_length, fragment)
    }

    #[inline(always)]
    fn quoted(ctx: &XdpContext, message: &Message) -> Result<Quoted, Reason> {
        let Ok(ip) = view::<Ipv6>(ctx, message.quote()) else {
            return Err(Reason::IcmpMalformed);
        };
        if u32::from_be(ip.version_class_label_be) >> 28 != 6 {
            return Err(Reason::IcmpMalformed);
        }
        let length = size_of::<Ipv6>() + u16::from_be(ip.payload_length_be) as usize;
        let (extensions, protocol) = match ip.next_header {
            plain @ (PROTOCOL_TCP | PROTOCOL_UDP) => (0, plain),
            _ => match extension::walk_inside(ctx, message.quote()) {
                Ok(found) => found,
                Err(Reason::LaterFragment) => return Err(Reason::IcmpNoFlow),
                Err(Reason::Truncated) => return Err(Reason::IcmpMalformed),
                Err(other) => return Err(other),
            },
        };
        Quoted::behind(message, protocol, size_of::<Ipv6>() + extensions, length)
    }

    #[inline(always)]
    fn header_checksum(_ip: &Ipv6) -> u16 {
        0
    }

    /// The traffic class. The flow label is of the request's direction.
    #[inline(always)]
    fn kept(ip: &Ipv6) -> u32 {
        u32::from_be(ip.version_class_label_be) & TRAFFIC_CLASS
    }

    #[inline(always)]
    fn write_reply(ip: &mut Ipv6, kept: u32, source: &V6, destination: &V6, length: u32) {
        const VERSION: u32 = 6 << 28;
        ip.version_class_label_be = (VERSION | kept).to_be();
        ip.payload_length_be = (length as u16).to_be();
        ip.next_header = V6::ICMP;
        ip.hop_limit = HOP_LIMIT;
        for (word, new) in ip.source.iter_mut().zip(source) {
            *word = *new;
        }
        for (word, new) in ip.destination.iter_mut().zip(destination) {
            *word = *new;
        }
    }
}

const DO_NOT_FRAGMENT_BE: u16 = 0x4000_u16.to_be();
/// The bit between IPv4's traffic class and identification that says the same.
const WHOLE_BIT: u32 = 8;
/// Of the first word of an IPv6 header.
const TRAFFIC_CLASS: u32 = 0xff << 20;

impl Message {
    /// Bytes of the frame before the packet that an error quotes.
    #[inline(always)]
    fn quote(&self) -> usize {
        self.at + size_of::<Header>()
    }

    /// The message behind so many bytes of an IP packet of this length.
    #[inline(always)]
    fn within(
        ctx: &XdpContext,
        before: usize,
        ip_length: usize,
        fragment: bool,
    ) -> Result<Self, Reason> {
        let at = size_of::<Ethernet>() + before;
        let end = size_of::<Ethernet>() + ip_length;
        // Hidden from the optimizer, which would have the views below go without the comparison that
        // the verifier wants to see.
        let frame_length = black_box(ctx.data_end() - ctx.data());
        if at + size_of::<Header>() > end || end > frame_length {
            return Err(Reason::Truncated);
        }
        Ok(Self { at, end, fragment })
    }
}
