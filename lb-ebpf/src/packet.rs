//! All pointer arithmetic: bounds-checked views of a frame's headers. Each bound is checked beside
//! the access that needs it, so that the verifier and the reader see both at once.
//!
//! Headers are read in words although an IP header lies at an odd multiple of two bytes: the
//! instructions of eBPF have no alignment on the machines that JIT them to plain loads (x86-64,
//! arm64), and reading bytes instead would triple the loads of an IPv6 address.

pub mod extension;
mod fragment;
mod options;
mod transport;

use core::{
    hint::{black_box, cold_path},
    marker::PhantomData,
};

use aya_ebpf::{helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use lb_common::{Address, V4, V6, flow::FlowKey, reason::Reason};

pub use self::{
    extension::only_fragment_or_first,
    fragment::{Fragment, rest},
    transport::{Tcp, Transport, Udp, tcp_flag},
};
use crate::family::{Family, Inet, Inet6};

pub const ETHERTYPE_IPV4_BE: u16 = 0x0800_u16.to_be();
pub const ETHERTYPE_IPV6_BE: u16 = 0x86dd_u16.to_be();

/// IPv4: version, and the length of a header without options in words.
const PLAIN4: u8 = 0x45;

/// IPv4: "more fragments" and the offset (RFC 791, section 3.1).
pub const FRAGMENT_MASK_BE: u16 = 0x3fff_u16.to_be();
pub const FRAGMENT_OFFSET_MASK_BE: u16 = 0x1fff_u16.to_be();

#[repr(C)]
pub struct Ethernet {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub ethertype_be: u16,
}

#[repr(C)]
pub struct Ipv4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_length_be: u16,
    pub id_be: u16,
    pub fragment_be: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum_be: u16,
    pub source: V4,
    pub destination: V4,
}

#[repr(C)]
pub struct Ipv6 {
    pub version_class_label_be: u32,
    pub payload_length_be: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: V6,
    pub destination: V6,
}

/// What every ICMP message begins with (RFC 792, RFC 4443 section 2.1).
#[repr(C)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub checksum_be: u16,
    /// Depends on the type.
    pub rest_be: u32,
}

/// Generic UDP Encapsulation, variant 0 (draft-ietf-intarea-gue, section 3).
#[repr(C)]
pub struct Gue {
    pub version_control_length: u8,
    pub protocol: u8,
    pub flags_be: u16,
}

impl Ipv4 {
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment_be & FRAGMENT_OFFSET_MASK_BE != 0
    }
}

/// What the path needs of an IP header, whichever its version.
pub trait IpHeader {
    type Address: Address;
    fn source(&self) -> Self::Address;
    fn destination(&self) -> Self::Address;
    fn hop_limit(&self) -> u8;
    /// Its checksum is right, where it has one. It must be that of the frame.
    fn is_right(&self, ctx: &XdpContext) -> bool;
}

impl IpHeader for Ipv4 {
    type Address = V4;

    #[inline(always)]
    fn source(&self) -> V4 {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> V4 {
        self.destination
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.ttl
    }

    /// All words, the checksum among them, add up to the other zero of ones' complement (RFC 1071): to a
    /// multiple of it, before carries.
    #[inline(always)]
    fn is_right(&self, ctx: &XdpContext) -> bool {
        // SAFETY: a header is five words, of integers.
        let words = unsafe { &*(&raw const *self).cast::<[u32; 5]>() };
        let mut sum = 0;
        for word in words {
            sum += *word as u64;
        }
        if self.version_ihl != PLAIN4 {
            sum += options::sum(ctx);
        }
        sum % 0xffff == 0
    }
}

impl IpHeader for Ipv6 {
    type Address = V6;

    #[inline(always)]
    fn source(&self) -> V6 {
        self.source.copied()
    }

    #[inline(always)]
    fn destination(&self) -> V6 {
        self.destination.copied()
    }

    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn is_right(&self, _ctx: &XdpContext) -> bool {
        true
    }
}

/// A frame whose Ethernet header is there.
pub struct Frame<'a> {
    ctx: &'a XdpContext,
    pub ethernet: &'a mut Ethernet,
}

/// A TCP segment or UDP datagram: its headers are within the frame.
pub struct Segment<'a, F: Family, T> {
    pub ethernet: &'a mut Ethernet,
    pub ip: &'a mut F::Header,
    pub transport: &'a mut T,
    /// Bytes from the transport header on, by the IP header.
    pub transport_length: u32,
    /// Bytes behind the transport header, by the length fields.
    pub payload: u32,
    /// It is the first of several fragments.
    pub fragment: bool,
    /// Bytes of the frame.
    pub frame_length: usize,
    family: PhantomData<F>,
}

impl<'a> Frame<'a> {
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Result<Self, Reason> {
        Ok(Self {
            ctx,
            ethernet: view(ctx, 0)?,
        })
    }

    /// The segment of this protocol in it, over IPv4.
    #[inline(always)]
    pub fn ipv4<T: Transport>(self) -> Result<Segment<'a, Inet, T>, Reason> {
        let ip: &mut Ipv4 = view(self.ctx, size_of::<Ethernet>())?;
        if ip.version_ihl != PLAIN4 {
            if ip.version_ihl >> 4 != 4 || ip.version_ihl & 0x0f < PLAIN4 & 0x0f {
                return Err(Reason::Truncated);
            }
            if options::are_source_route(self.ctx) {
                return Err(Reason::SourceRouted);
            }
        }
        // SAFETY: a byte within the frame. Read again, so that the verifier does not look at all that
        // follows once for this header length and once for the others.
        let version_ihl = unsafe { (&raw const ip.version_ihl).read_volatile() };
        let header_length = (version_ihl & 0x0f) as usize * 4;
        if ip.protocol != T::PROTOCOL {
            return Err(Reason::OtherProtocol);
        }
        if ip.is_later_fragment() {
            return Err(Reason::LaterFragment);
        }
        let transport: &mut T = view(self.ctx, size_of::<Ethernet>() + header_length)?;
        let ip_length = u16::from_be(ip.total_length_be) as u32;
        let frame_length = length_around(self.ctx, ip_length)?;
        let fragment = ip.fragment_be & FRAGMENT_MASK_BE != 0;
        let before = header_length as u32;
        Ok(Segment {
            payload: payload(transport, before, ip_length, fragment)?,
            transport_length: ip_length - before,
            fragment,
            frame_length,
            ethernet: self.ethernet,
            ip,
            transport,
            family: PhantomData,
        })
    }

    /// The segment of this protocol in it, over IPv6, behind a bounded number of extension headers.
    #[inline(always)]
    pub fn ipv6<T: Transport>(self) -> Result<Segment<'a, Inet6, T>, Reason> {
        let ip: &mut Ipv6 = view(self.ctx, size_of::<Ethernet>())?;
        if u32::from_be(ip.version_class_label_be) >> 28 != 6 {
            return Err(Reason::Truncated);
        }
        let (extensions, fragment) = if ip.next_header == T::PROTOCOL {
            (0, false)
        } else {
            extension::walk(self.ctx, T::PROTOCOL)?
        };
        let before = size_of::<Ipv6>() + extensions;
        let ip: &mut Ipv6 = view(self.ctx, size_of::<Ethernet>())?;
        let transport: &mut T = view(self.ctx, size_of::<Ethernet>() + before)?;
        let ip_length = size_of::<Ipv6>() as u32 + u16::from_be(ip.payload_length_be) as u32;
        let frame_length = length_around(self.ctx, ip_length)?;
        let before = before as u32;
        Ok(Segment {
            payload: payload(transport, before, ip_length, fragment)?,
            transport_length: ip_length - before,
            fragment,
            frame_length,
            ethernet: self.ethernet,
            ip,
            transport,
            family: PhantomData,
        })
    }
}

impl<F: Family, T: Transport> Segment<'_, F, T> {
    /// The 5-tuple as it arrived.
    #[inline(always)]
    pub fn key(&self) -> FlowKey<F::Address> {
        FlowKey {
            source: self.ip.source(),
            destination: self.ip.destination(),
            source_port_be: self.transport.source_port_be(),
            destination_port_be: self.transport.destination_port_be(),
            protocol: T::PROTOCOL as u32,
        }
    }
}

impl<F: Family> Segment<'_, F, Tcp> {
    /// Any of these [`tcp_flag`]s is set.
    #[inline(always)]
    pub fn has(&self, flags: u8) -> bool {
        self.transport.flags & flags != 0
    }

    /// It opens a connection.
    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        tcp_flag::is_syn(self.transport.flags)
    }
}

/// Copies a MAC address in three loads and stores: as a whole it would become a call of
/// `memmove`.
#[inline(always)]
pub fn copy_mac(to: &mut [u8; 6], from: &[u8; 6]) {
    let to: *mut [u8; 6] = to;
    let from: *const [u8; 6] = from;
    // SAFETY: six bytes are three halfwords; MAC addresses lie at even offsets, in frames and in
    // map values alike.
    unsafe {
        let [a, b, c] = *from.cast::<[u16; 3]>();
        *to.cast::<[u16; 3]>() = [a, b, c];
    }
}

/// Equality of MAC addresses in three comparisons.
#[inline(always)]
pub fn same_mac(a: &[u8; 6], b: &[u8; 6]) -> bool {
    let a: *const [u8; 6] = a;
    let b: *const [u8; 6] = b;
    // SAFETY: as in `copy_mac`.
    let (a, b) = unsafe { (*a.cast::<[u16; 3]>(), *b.cast::<[u16; 3]>()) };
    a[0] == b[0] && a[1] == b[1] && a[2] == b[2]
}

/// Bytes of a frame that holds an IP packet of this length: a receiver would drop a packet that ends
/// beyond its frame, so that it may open no flow and deserves no answer.
///
/// Of a frame in several buffers only the first lies between the context's pointers. The kernel is asked
/// for the whole only when the packet does not end there, because most do and asking takes 10 ns.
#[inline(always)]
fn length_around(ctx: &XdpContext, ip_length: u32) -> Result<usize, Reason> {
    let end = size_of::<Ethernet>() + ip_length as usize;
    let first = ctx.data_end() - ctx.data();
    if end <= first {
        return Ok(first);
    }
    cold_path();
    let whole = frame_length(ctx);
    if end > whole {
        return Err(Reason::Truncated);
    }
    Ok(whole)
}

/// Bytes of a frame, in however many buffers it lies.
#[inline(always)]
pub fn frame_length(ctx: &XdpContext) -> usize {
    // SAFETY: a helper without memory arguments but the context.
    (unsafe { bpf_xdp_get_buff_len(ctx.ctx) }) as usize
}

/// Only the first of them can be seen.
#[inline(always)]
pub fn in_several_buffers(ctx: &XdpContext) -> bool {
    // Hidden from the optimizer, which would compute with the end of the frame as the verifier does not allow.
    let ctx = black_box(ctx);
    frame_length(ctx) != ctx.data_end() - ctx.data()
}

/// Bytes of payload. The lengths that IP and transport announce must fit each other.
#[inline(always)]
fn payload<T: Transport>(
    transport: &T,
    before: u32,
    ip_length: u32,
    fragment: bool,
) -> Result<u32, Reason> {
    if before > ip_length {
        return Err(Reason::Truncated);
    }
    transport
        .payload(ip_length - before, fragment)
        .ok_or(Reason::Truncated)
}

/// The header at `offset`, if the frame reaches its end.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the context only points at the frame")]
pub fn view<T>(ctx: &XdpContext, offset: usize) -> Result<&mut T, Reason> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return Err(Reason::Truncated);
    }
    // SAFETY: the bytes lie within the frame, which nobody else touches while the program runs,
    // and every header is made of integers only. Two views never cover the same bytes: headers
    // follow one another.
    Ok(unsafe { &mut *(start as *mut T) })
}
