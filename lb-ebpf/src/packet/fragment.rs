//! Fragments: which datagram one is of, and which part of it.

use core::marker::PhantomData;

use aya_ebpf::programs::XdpContext;
use lb_common::{
    Address, PROTOCOL_TCP, PROTOCOL_UDP, V4, V6,
    flow::FlowKey,
    fragment::{Datagram, First},
    reason::Reason,
};

use super::{
    Ethernet, Ipv4, Ipv6, Segment, Tcp, extension, frame_length, in_several_buffers,
    transport::Rest, view,
};
use crate::family::Family;

/// IPv4: "more fragments", and the offset in units of 8 bytes (RFC 791, section 3.1).
const MORE4: u16 = 0x2000;
const OFFSET4: u16 = 0x1fff;
/// IPv6: the M flag, and the offset in bytes (RFC 8200, section 4.5).
const MORE6: u16 = 1;
const OFFSET6: u16 = 0xfff8;
/// More than a body's place can be, as the verifier forgets it.
const BODY_MASK: u32 = 0x7fff;

/// A fragment as its headers tell of it, and what it leads to. It lies in a per-CPU map, because the stack
/// of 512 bytes has no room for it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Fragment<A> {
    pub datagram: Datagram<A>,
    /// What is known of the first fragment.
    pub first: First,
    /// The 5-tuple of the datagram, once its ports are known.
    pub key: FlowKey<A>,
    /// Bytes of the datagram that come before this fragment, and that are in it.
    pub offset: u32,
    pub length: u32,
    /// Others follow: 1, else 0.
    pub more: u32,
    /// Protocol number of what the datagram begins with, as far as this fragment tells.
    pub protocol: u32,
    /// Where in the IP packet those bytes begin.
    body: u32,
}

/// The ports of TCP and UDP.
#[repr(C)]
pub struct Ports {
    pub source_be: u16,
    pub destination_be: u16,
}

/// A fragment header of IPv6 (RFC 8200, section 4.5).
#[repr(C)]
struct FragmentHeader {
    next_header: u8,
    reserved: u8,
    fragment_be: u16,
    identification_be: u32,
}

impl<A> Fragment<A> {
    /// It is the first of several.
    #[inline(always)]
    pub fn is_first(&self) -> bool {
        self.offset == 0 && self.more != 0
    }

    /// The ports that a first fragment begins with, if it has so many bytes.
    #[inline(always)]
    pub fn ports<'a>(&self, ctx: &'a XdpContext) -> Result<&'a Ports, Reason> {
        if self.length < size_of::<Ports>() as u32 {
            return Err(Reason::Truncated);
        }
        let ports: &mut Ports = view(
            ctx,
            size_of::<Ethernet>() + (self.body & BODY_MASK) as usize,
        )?;
        Ok(ports)
    }

    /// Completes the 5-tuple by the ports that lie so many bytes behind the start of the IP header.
    #[inline(always)]
    fn take_ports(&mut self, ctx: &XdpContext, body: usize, ip_length: u32) -> Result<bool, Reason>
    where
        A: Address,
    {
        if self.protocol != PROTOCOL_TCP as u32 && self.protocol != PROTOCOL_UDP as u32 {
            return Err(Reason::OtherProtocol);
        }
        let ports: &Ports = view(ctx, size_of::<Ethernet>() + body)?;
        self.key.source = self.datagram.source.copied();
        self.key.destination = self.datagram.destination.copied();
        self.key.source_port_be = ports.source_be;
        self.key.destination_port_be = ports.destination_be;
        self.key.protocol = self.protocol;
        let whole = size_of::<Ethernet>() + ip_length as usize <= frame_length(ctx);
        Ok(whole
            && view::<Tcp>(ctx, size_of::<Ethernet>() + body).is_err()
            && in_several_buffers(ctx))
    }

    /// Notes where what it carries lies. The lengths must fit each other and the frame.
    #[inline(always)]
    fn place(&mut self, ctx: &XdpContext, body: u32, ip_length: u32) -> Result<(), Reason> {
        let frame_length = frame_length(ctx);
        if body > ip_length || size_of::<Ethernet>() + ip_length as usize > frame_length {
            return Err(Reason::Truncated);
        }
        self.body = body;
        self.length = ip_length - body;
        Ok(())
    }
}

impl Fragment<V4> {
    /// Reads the headers of an IPv4 packet. One that is no fragment reads as all of its datagram.
    #[inline(always)]
    pub fn read(&mut self, ctx: &XdpContext) -> Result<(), Reason> {
        let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
        let bits = u16::from_be(ip.fragment_be);
        self.datagram.source = ip.source;
        self.datagram.destination = ip.destination;
        self.datagram.identification_be = ip.id_be as u32;
        self.datagram.protocol = ip.protocol as u32;
        self.offset = (bits & OFFSET4) as u32 * 8;
        self.more = (bits & MORE4 != 0) as u32;
        self.protocol = ip.protocol as u32;
        let header_length = (ip.version_ihl & 0x0f) as u32 * 4;
        let ip_length = u16::from_be(ip.total_length_be) as u32;
        self.place(ctx, header_length, ip_length)
    }

    /// Reads the 5-tuple of an IPv4 packet, and whether it is a first fragment, whatever its lengths say.
    /// True: the frame is long enough, but has the rest of the headers in a buffer that cannot be seen.
    /// [`Reason::BadLength`]: the header itself cannot be so short, but the addresses were read.
    #[inline(always)]
    pub fn read_ports(&mut self, ctx: &XdpContext) -> Result<bool, Reason> {
        // What fails here are the lengths.
        let _ = self.read(ctx);
        let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
        let header_length = (ip.version_ihl & 0x0f) as usize * 4;
        if ip.version_ihl >> 4 != 4 || self.offset != 0 {
            return Err(Reason::Truncated);
        }
        if header_length < size_of::<Ipv4>() {
            return Err(Reason::BadLength);
        }
        self.take_ports(ctx, header_length, u16::from_be(ip.total_length_be) as u32)
    }
}

impl Fragment<V6> {
    /// Reads the headers of an IPv6 packet, one of which must be a fragment header.
    #[inline(always)]
    pub fn read(&mut self, ctx: &XdpContext) -> Result<(), Reason> {
        let before = size_of::<Ipv6>() + extension::before_fragment(ctx)?;
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        let header: &FragmentHeader = view(ctx, size_of::<Ethernet>() + before)?;
        let bits = u16::from_be(header.fragment_be);
        self.datagram.source = ip.source.copied();
        self.datagram.destination = ip.destination.copied();
        self.datagram.identification_be = header.identification_be;
        self.datagram.protocol = 0;
        self.offset = (bits & OFFSET6) as u32;
        self.more = (bits & MORE6) as u32;
        self.protocol = header.next_header as u32;
        let body = before + size_of::<FragmentHeader>();
        let ip_length = size_of::<Ipv6>() as u32 + u16::from_be(ip.payload_length_be) as u32;
        self.place(ctx, body as u32, ip_length)
    }

    /// Reads the 5-tuple of an IPv6 packet, and whether it is a first fragment, whatever its lengths say.
    /// True: as for IPv4.
    #[inline(always)]
    pub fn read_ports(&mut self, ctx: &XdpContext) -> Result<bool, Reason> {
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        if u32::from_be(ip.version_class_label_be) >> 28 != 6 {
            return Err(Reason::Truncated);
        }
        let (extensions, protocol, more) = extension::walk_whole(ctx)?;
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        self.datagram.source = ip.source.copied();
        self.datagram.destination = ip.destination.copied();
        self.offset = 0;
        self.more = more as u32;
        self.protocol = protocol as u32;
        let ip_length = size_of::<Ipv6>() as u32 + u16::from_be(ip.payload_length_be) as u32;
        self.take_ports(ctx, size_of::<Ipv6>() + extensions, ip_length)
    }
}

/// A later fragment, whose IP header is all that there is to rewrite.
#[inline(always)]
pub fn rest<F: Family>(ctx: &XdpContext) -> Result<Segment<'_, F, Rest>, Reason> {
    Ok(Segment {
        ethernet: view(ctx, 0)?,
        ip: view(ctx, size_of::<Ethernet>())?,
        transport: view(ctx, 0)?,
        transport_length: 0,
        payload: 0,
        fragment: true,
        frame_length: frame_length(ctx),
        family: PhantomData,
    })
}
