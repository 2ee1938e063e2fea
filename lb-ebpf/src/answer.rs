//! Answers that the balancer gives itself: resets (RFC 9293, section 3.10.7.1), within a budget.

use aya_ebpf::{helpers::bpf_xdp_adjust_tail, programs::XdpContext};
use lb_common::{Address, Budgeted, PROTOCOL_TCP, V4, V6, reason::Reason};

use crate::{
    budget,
    family::Family,
    packet::{
        ETHERTYPE_IPV4_BE, ETHERTYPE_IPV6_BE, Ethernet, Frame, IpHeader as _, Ipv4, Ipv6, Segment,
        Tcp, frame_length, tcp_flag, view,
    },
    rewrite::{checksum, fold},
};

/// Hop limit of packets that the balancer makes (RFC 1700's recommended default).
pub const HOP_LIMIT: u8 = 64;

/// Turns the frame into a reset to its sender. Returns the reason to count: the given one, or why
/// no reset was sent.
#[inline(never)]
pub fn reset(ctx: &XdpContext, reason: Reason) -> Reason {
    match try_reset(ctx) {
        Ok(()) => reason,
        Err(why_not) => why_not,
    }
}

#[inline(always)]
fn try_reset(ctx: &XdpContext) -> Result<(), Reason> {
    let frame = Frame::new(ctx)?;
    let length = match frame.ethernet.ethertype_be {
        ETHERTYPE_IPV4_BE => {
            let segment = frame.ipv4::<Tcp>()?;
            let answer = Answer::to(&segment)?;
            answer.write4(ctx)?
        }
        ETHERTYPE_IPV6_BE => {
            let segment = frame.ipv6::<Tcp>()?;
            let answer = Answer::to(&segment)?;
            answer.write6(ctx)?
        }
        _ => return Err(Reason::NotIp),
    };
    let excess = frame_length(ctx) as i32 - length as i32;
    // SAFETY: the context is the one this program was started with; no view is used afterwards.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, -excess) } != 0 {
        return Err(Reason::TableError);
    }
    Ok(())
}

/// All that a reset takes over from the segment it answers, read before anything is written.
struct Answer<A> {
    source: A,
    destination: A,
    source_port_be: u16,
    destination_port_be: u16,
    sequence_be: u32,
    acknowledgement_be: u32,
    flags: u8,
    peer_mac: [u8; 6],
    local_mac: [u8; 6],
}

impl<A: Address> Answer<A> {
    #[inline(always)]
    fn to<F: Family<Address = A>>(segment: &Segment<'_, F, Tcp>) -> Result<Self, Reason> {
        if segment.has(tcp_flag::RST) {
            return Err(Reason::RstForRst);
        }
        if !budget::spend(Budgeted::Reset) {
            return Err(Reason::RstLimited);
        }
        let (sequence_be, acknowledgement_be, flags) = if segment.has(tcp_flag::ACK) {
            (segment.transport.acknowledgement_be, 0, tcp_flag::RST)
        } else {
            // SYN and FIN take one sequence number each (RFC 9293, section 3.4).
            let length = segment.payload
                + segment.has(tcp_flag::SYN) as u32
                + segment.has(tcp_flag::FIN) as u32;
            let next = u32::from_be(segment.transport.sequence_be).wrapping_add(length);
            (0, next.to_be(), tcp_flag::RST | tcp_flag::ACK)
        };
        Ok(Self {
            source: segment.ip.destination(),
            destination: segment.ip.source(),
            source_port_be: segment.transport.destination_port_be,
            destination_port_be: segment.transport.source_port_be,
            sequence_be,
            acknowledgement_be,
            flags,
            peer_mac: segment.ethernet.source,
            local_mac: segment.ethernet.destination,
        })
    }

    /// Writes the Ethernet and TCP headers; `address_sum` is the sum of the addresses' words.
    #[inline(always)]
    fn write_tcp(&self, ctx: &XdpContext, offset: usize, address_sum: u64) -> Result<(), Reason> {
        let ethernet: &mut Ethernet = view(ctx, 0)?;
        ethernet.destination = self.peer_mac;
        ethernet.source = self.local_mac;
        let tcp: &mut Tcp = view(ctx, offset)?;
        tcp.source_port_be = self.source_port_be;
        tcp.destination_port_be = self.destination_port_be;
        tcp.sequence_be = self.sequence_be;
        tcp.acknowledgement_be = self.acknowledgement_be;
        tcp.data_offset = (size_of::<Tcp>() as u8 / 4) << 4;
        tcp.flags = self.flags;
        tcp.window_be = 0;
        tcp.urgent_be = 0;
        let offset_and_flags = u16::from_be_bytes([tcp.data_offset, tcp.flags]);
        let sum = address_sum
            + (PROTOCOL_TCP as u16).to_be() as u64
            + (size_of::<Tcp>() as u16).to_be() as u64
            + self.source_port_be as u64
            + self.destination_port_be as u64
            + self.sequence_be as u64
            + self.acknowledgement_be as u64
            + offset_and_flags.to_be() as u64;
        tcp.checksum_be = !fold(sum);
        Ok(())
    }
}

impl Answer<V4> {
    #[inline(always)]
    fn write4(&self, ctx: &XdpContext) -> Result<usize, Reason> {
        const LENGTH: u16 = (size_of::<Ipv4>() + size_of::<Tcp>()) as u16;
        const VERSION_IHL: u8 = 0x45;
        const DO_NOT_FRAGMENT_BE: u16 = 0x4000_u16.to_be();
        let ip: &mut Ipv4 = view(ctx, size_of::<Ethernet>())?;
        let addresses = self.source[0] as u64 + self.destination[0] as u64;
        *ip = Ipv4 {
            version_ihl: VERSION_IHL,
            tos: 0,
            total_length_be: LENGTH.to_be(),
            id_be: 0,
            fragment_be: DO_NOT_FRAGMENT_BE,
            ttl: HOP_LIMIT,
            protocol: PROTOCOL_TCP,
            checksum_be: 0,
            source: self.source,
            destination: self.destination,
        };
        ip.checksum_be = checksum(ip);
        let offset = size_of::<Ethernet>() + size_of::<Ipv4>();
        self.write_tcp(ctx, offset, addresses)?;
        Ok(offset + size_of::<Tcp>())
    }
}

impl Answer<V6> {
    #[inline(always)]
    fn write6(&self, ctx: &XdpContext) -> Result<usize, Reason> {
        const VERSION: u32 = 6 << 28;
        let ip: &mut Ipv6 = view(ctx, size_of::<Ethernet>())?;
        ip.version_class_label_be = VERSION.to_be();
        ip.payload_length_be = (size_of::<Tcp>() as u16).to_be();
        ip.next_header = PROTOCOL_TCP;
        ip.hop_limit = HOP_LIMIT;
        ip.source = self.source;
        ip.destination = self.destination;
        let mut addresses = 0;
        for i in 0..4 {
            addresses += self.source[i] as u64 + self.destination[i] as u64;
        }
        let offset = size_of::<Ethernet>() + size_of::<Ipv6>();
        self.write_tcp(ctx, offset, addresses)?;
        Ok(offset + size_of::<Tcp>())
    }
}
