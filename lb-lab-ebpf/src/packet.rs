//! Bounds-checked views of a frame's headers, and what both families' outer headers have in common.

use core::hint::black_box;

use aya_ebpf::programs::XdpContext;

const ETHERTYPE_IPV4_BE: u16 = 0x0800_u16.to_be();
const ETHERTYPE_IPV6_BE: u16 = 0x86dd_u16.to_be();
/// IPv4: "more fragments" and the offset (RFC 791, section 3.1).
const FRAGMENT_MASK_BE: u16 = 0x3fff_u16.to_be();
const FRAGMENT_OFFSET_MASK_BE: u16 = 0x1fff_u16.to_be();
/// Words of 16 bits in the longest IPv4 header.
const IPV4_WORDS_MAX: usize = 30;

/// Why a packet is not taken out.
pub enum Refusal {
    /// It is none that a tunnel ends with.
    NoTunnel,
    /// It is one, and wrong.
    Malformed,
}

#[derive(Clone, Copy)]
pub enum Family {
    V4 = 0,
    V6 = 1,
}

impl Family {
    #[inline(always)]
    pub fn ethertype_be(self) -> u16 {
        match self {
            Self::V4 => ETHERTYPE_IPV4_BE,
            Self::V6 => ETHERTYPE_IPV6_BE,
        }
    }
}

#[repr(C)]
pub struct Ethernet {
    /// Destination and source, three words each.
    pub macs: [u16; 6],
    pub ethertype_be: u16,
}

#[repr(C)]
pub struct Ipv4 {
    pub version_ihl: u8,
    tos: u8,
    total_length_be: u16,
    id_be: u16,
    fragment_be: u16,
    ttl: u8,
    protocol: u8,
    checksum_be: u16,
    source: u32,
    destination: u32,
}

#[repr(C)]
pub struct Ipv6 {
    version_class_label_be: u32,
    payload_length_be: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

#[repr(C)]
pub struct Udp {
    pub source_port_be: u16,
    pub destination_port_be: u16,
    pub length_be: u16,
    checksum_be: u16,
}

/// What both families' outer headers say.
pub struct Outer {
    pub family: Family,
    /// Four words in network byte order, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u32; 4],
    pub protocol: u8,
    /// Where it ends in the frame.
    pub end: usize,
    /// Bytes behind it, by its length field.
    pub payload: usize,
    /// It is a fragment, and not the first of its packet.
    pub later_fragment: bool,
    fragment: bool,
}

impl Outer {
    /// The header behind Ethernet's. Extension headers of IPv6 are protocols that carry no tunnel.
    #[inline(always)]
    pub fn read(ctx: &XdpContext, ethertype_be: u16) -> Result<Self, Refusal> {
        match ethertype_be {
            ETHERTYPE_IPV4_BE => Self::read4(ctx),
            ETHERTYPE_IPV6_BE => Self::read6(ctx),
            _ => None,
        }
        .ok_or(Refusal::NoTunnel)
    }

    #[inline(always)]
    fn read4(ctx: &XdpContext) -> Option<Self> {
        let ip: &Ipv4 = view(ctx, size_of::<Ethernet>())?;
        let header_length = (ip.version_ihl & 0x0f) as usize * 4;
        if ip.version_ihl >> 4 != 4 || header_length < size_of::<Ipv4>() {
            return None;
        }
        Some(Self {
            family: Family::V4,
            source: [0, 0, 0xffff_u32.to_be(), ip.source],
            protocol: ip.protocol,
            end: size_of::<Ethernet>() + header_length,
            payload: ip.total_length().saturating_sub(header_length),
            later_fragment: ip.fragment_be & FRAGMENT_OFFSET_MASK_BE != 0,
            fragment: ip.fragment_be & FRAGMENT_MASK_BE != 0,
        })
    }

    #[inline(always)]
    fn read6(ctx: &XdpContext) -> Option<Self> {
        let ip: &Ipv6 = view(ctx, size_of::<Ethernet>())?;
        if ip.version() != 6 {
            return None;
        }
        let [a, b, c, d] = ip.source;
        Some(Self {
            family: Family::V6,
            source: [a, b, c, d],
            protocol: ip.next_header,
            end: size_of::<Ethernet>() + size_of::<Ipv6>(),
            payload: ip.total_length() - size_of::<Ipv6>(),
            later_fragment: false,
            fragment: false,
        })
    }

    /// The packet is whole, and its header as it was sent.
    #[inline(always)]
    pub fn check(&self, ctx: &XdpContext) -> Result<(), Refusal> {
        let frame_length = ctx.data_end() - ctx.data();
        if self.fragment || self.end + self.payload > frame_length {
            return Err(Refusal::Malformed);
        }
        match self.family {
            Family::V4 => self.check_sum(ctx),
            Family::V6 => Ok(()),
        }
    }

    /// RFC 1071: all words of the header add up to ones.
    #[inline(always)]
    fn check_sum(&self, ctx: &XdpContext) -> Result<(), Refusal> {
        let mut sum = 0_u32;
        for word in 0..IPV4_WORDS_MAX {
            let at = size_of::<Ethernet>() + word * 2;
            if at >= self.end {
                break;
            }
            let word: &u16 = view(ctx, at).ok_or(Refusal::Malformed)?;
            sum += *word as u32;
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        if sum != 0xffff {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }
}

impl Ipv4 {
    /// Bytes of the packet, this header's included.
    #[inline(always)]
    pub fn total_length(&self) -> usize {
        u16::from_be(self.total_length_be) as usize
    }
}

impl Ipv6 {
    #[inline(always)]
    pub fn version(&self) -> u8 {
        (u32::from_be(self.version_class_label_be) >> 28) as u8
    }

    /// See [`Ipv4::total_length`].
    #[inline(always)]
    pub fn total_length(&self) -> usize {
        size_of::<Self>() + u16::from_be(self.payload_length_be) as usize
    }
}

/// The header at `offset`, if the frame reaches its end.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "the context only points at the frame")]
pub fn view<T>(ctx: &XdpContext, offset: usize) -> Option<&mut T> {
    let start = ctx.data() + offset;
    // Unknown to the optimizer, which in a loop would move the comparison by adding to the end: the
    // verifier forbids arithmetic on that pointer.
    let end = black_box(ctx.data_end());
    if start + size_of::<T>() > end {
        return None;
    }
    // SAFETY: the bytes lie within the frame, which nobody else touches while the program runs,
    // and every header is made of integers only. No caller writes to one while it holds another.
    // eBPF loads and stores have no alignment on the machines that compile them to plain ones.
    Some(unsafe { &mut *(start as *mut T) })
}
