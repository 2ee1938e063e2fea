//! Mode `nat` from one address family to the other: the IP header is translated (RFC 7915, sections 4.1
//! and 5.1), IPv4 options and IPv6 extension headers are left out, and the transport's checksum follows
//! its pseudo header.

use aya_ebpf::{
    helpers::{bpf_get_prandom_u32, bpf_xdp_adjust_head},
    programs::XdpContext,
};
use lb_common::{
    V6,
    flow::{Flow, FlowKey},
    mapped,
    reason::Reason,
    unmapped,
};

use crate::{
    family::{Family, Inet, Inet6},
    packet::{
        ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Ethernet, IpHeader as _, Ipv4, Ipv6, Segment,
        Transport, copy_mac, view,
    },
    rewrite::{Difference, Readdress, checksum},
};

/// Bytes up to which a translated IPv4 packet may be fragmented on its way (RFC 7915, section 5.1).
const MAY_FRAGMENT: u32 = 1_260;

/// An address family that packets are translated from.
pub trait Translate: Readdress {
    /// The 5-tuple as the table of IPv6 has it.
    fn wide_key<T: Transport>(segment: &Segment<'_, Self, T>) -> FlowKey<V6>;
    /// Addresses that go and come, for the checksum of the pseudo header.
    fn exchanged(ip: &Self::Header, flow: &Flow<V6>) -> Difference;
    /// What the new header takes over.
    fn kept(ip: &Self::Header) -> Kept;
    /// Bytes of the IP header that comes.
    const HEADER: usize;
    const ETHERTYPE_THERE_BE: u16;
    /// Bytes by which a packet grows, options and extension headers aside.
    const GROWTH: i32 = Self::HEADER as i32 - size_of::<Self::Header>() as i32;
    /// Bytes of an IP packet, by its header.
    fn length(ip: &Self::Header) -> u32;
    /// Writes a header of IP at this place of the frame, behind which follows this content (its protocol
    /// number, and how many bytes), from the first of these addresses to the second.
    fn write_header(
        ctx: &XdpContext,
        at: usize,
        kept: &Kept,
        content: (u8, u32),
        ends: (&V6, &V6),
    ) -> Result<(), Reason>;
}

/// What an IP header of the other family takes over.
pub struct Kept {
    traffic_class: u8,
    pub hop_limit: u8,
}

impl Translate for Inet {
    const HEADER: usize = size_of::<Ipv6>();
    const ETHERTYPE_THERE_BE: u16 = ETHERTYPE_IPV6_BE;

    #[inline(always)]
    fn wide_key<T: Transport>(segment: &Segment<'_, Self, T>) -> FlowKey<V6> {
        FlowKey {
            source: mapped(segment.ip.source),
            destination: mapped(segment.ip.destination),
            source_port_be: segment.transport.source_port_be(),
            destination_port_be: segment.transport.destination_port_be(),
            protocol: T::PROTOCOL as u32,
        }
    }

    #[inline(always)]
    fn exchanged(ip: &Ipv4, flow: &Flow<V6>) -> Difference {
        let mut difference = Difference::NONE.gone(ip.source[0]).gone(ip.destination[0]);
        for word in 0..4 {
            difference = difference
                .come(flow.source[word])
                .come(flow.destination[word]);
        }
        difference
    }

    #[inline(always)]
    fn kept(ip: &Ipv4) -> Kept {
        Kept {
            traffic_class: ip.tos,
            hop_limit: ip.ttl,
        }
    }

    #[inline(always)]
    fn length(ip: &Ipv4) -> u32 {
        u16::from_be(ip.total_length_be) as u32
    }

    #[inline(always)]
    fn write_header(
        ctx: &XdpContext,
        at: usize,
        kept: &Kept,
        (protocol, length): (u8, u32),
        (source, destination): (&V6, &V6),
    ) -> Result<(), Reason> {
        const VERSION: u32 = 6 << 28;
        let ip: &mut Ipv6 = view(ctx, at)?;
        ip.version_class_label_be = (VERSION | (kept.traffic_class as u32) << 20).to_be();
        ip.payload_length_be = (length as u16).to_be();
        ip.next_header = protocol;
        ip.hop_limit = kept.hop_limit;
        for (word, new) in ip.source.iter_mut().zip(source) {
            *word = *new;
        }
        for (word, new) in ip.destination.iter_mut().zip(destination) {
            *word = *new;
        }
        Ok(())
    }
}

impl Translate for Inet6 {
    const HEADER: usize = size_of::<Ipv4>();
    const ETHERTYPE_THERE_BE: u16 = ETHERTYPE_IPV4_BE;

    #[inline(always)]
    fn wide_key<T: Transport>(segment: &Segment<'_, Self, T>) -> FlowKey<V6> {
        segment.key()
    }

    #[inline(always)]
    fn exchanged(ip: &Ipv6, flow: &Flow<V6>) -> Difference {
        let mut difference = Difference::NONE
            .come(unmapped(&flow.source)[0])
            .come(unmapped(&flow.destination)[0]);
        for word in 0..4 {
            difference = difference.gone(ip.source[word]).gone(ip.destination[word]);
        }
        difference
    }

    #[inline(always)]
    fn kept(ip: &Ipv6) -> Kept {
        Kept {
            traffic_class: (u32::from_be(ip.version_class_label_be) >> 20) as u8,
            hop_limit: ip.hop_limit,
        }
    }

    #[inline(always)]
    fn length(ip: &Ipv6) -> u32 {
        size_of::<Ipv6>() as u32 + u16::from_be(ip.payload_length_be) as u32
    }

    #[inline(always)]
    fn write_header(
        ctx: &XdpContext,
        at: usize,
        kept: &Kept,
        (protocol, length): (u8, u32),
        (source, destination): (&V6, &V6),
    ) -> Result<(), Reason> {
        const VERSION_IHL: u8 = 0x45;
        const DO_NOT_FRAGMENT_BE: u16 = 0x4000_u16.to_be();
        let ip: &mut Ipv4 = view(ctx, at)?;
        let length = size_of::<Ipv4>() as u32 + length;
        ip.version_ihl = VERSION_IHL;
        ip.tos = kept.traffic_class;
        ip.total_length_be = (length as u16).to_be();
        if length <= MAY_FRAGMENT {
            // SAFETY: a helper without arguments.
            ip.id_be = unsafe { bpf_get_prandom_u32() } as u16;
            ip.fragment_be = 0;
        } else {
            ip.id_be = 0;
            ip.fragment_be = DO_NOT_FRAGMENT_BE;
        }
        ip.ttl = kept.hop_limit;
        ip.protocol = protocol;
        ip.source = unmapped(source);
        ip.destination = unmapped(destination);
        ip.checksum_be = checksum(ip);
        Ok(())
    }
}

/// The segment can go on in the other family.
#[inline(always)]
pub fn can_be<F: Family, T: Transport>(segment: &Segment<'_, F, T>) -> Result<(), Reason> {
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    if segment.fragment {
        return Err(Reason::FragmentCrossed);
    }
    if !segment.transport.has_checksum() {
        return Err(Reason::NoChecksum);
    }
    Ok(())
}

/// Gives the frame an IP header of the other family, with the addresses and ports of its flow, and one
/// hop less if `hop` says so. MAC addresses stay.
#[inline(always)]
pub fn across<F: Translate, T: Transport>(
    ctx: &XdpContext,
    segment: Segment<'_, F, T>,
    flow: &Flow<V6>,
    hop: bool,
) -> Result<(), Reason> {
    let mut macs = [[0; 6]; 2];
    copy_mac(&mut macs[0], &segment.ethernet.destination);
    copy_mac(&mut macs[1], &segment.ethernet.source);
    let mut kept = F::kept(segment.ip);
    kept.hop_limit -= hop as u8;
    let addresses = F::exchanged(segment.ip, flow);
    let start: *const T = &*segment.transport;
    let offset = start as usize - ctx.data();
    let length = segment.transport_length;
    segment
        .transport
        .rewrite(flow.source_port_be, flow.destination_port_be, addresses);
    let excess = offset as i32 - (size_of::<Ethernet>() + F::HEADER) as i32;
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, excess) } != 0 {
        return Err(Reason::TableError);
    }
    let ethernet: &mut Ethernet = view(ctx, 0)?;
    copy_mac(&mut ethernet.destination, &macs[0]);
    copy_mac(&mut ethernet.source, &macs[1]);
    ethernet.ethertype_be = F::ETHERTYPE_THERE_BE;
    F::write_header(
        ctx,
        size_of::<Ethernet>(),
        &kept,
        (T::PROTOCOL, length),
        (&flow.source, &flow.destination),
    )
}
