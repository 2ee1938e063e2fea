//! The far end of tunnels, for backends of the lab (of VLANs: [`vlan`]): takes the outer headers off, so that the host's
//! own stack finds the packet that was inside. A kernel may lack tunnel devices; it never lacks
//! this, and this is stricter: what a real tunnel would forgive is counted and dropped.
//!
//! `ipip` is IP in IP (RFC 2003, 2473, 4213). `gue` is Generic UDP Encapsulation
//! (draft-ietf-intarea-gue): variant 0 has a header of four bytes, variant 1 none.
//!
//! UDP checksums are not looked at: they cover the whole payload.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the signature that #[xdp] asks for"
)]

mod packet;
mod vlan;

use aya_ebpf::{
    Global,
    bindings::xdp_action,
    helpers::bpf_xdp_adjust_head,
    macros::{map, xdp},
    maps::{LruHashMap, PerCpuArray},
    programs::XdpContext,
};

use packet::{Ethernet, Family, Ipv4, Ipv6, Outer, Refusal, Udp, view};

/// The port that GUE is expected at.
#[unsafe(no_mangle)]
static GUE_PORT: Global<u16> = Global::new(6_080);

/// IP protocol numbers: what a tunnel carries, and what may carry it.
const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_IPV6: u8 = 41;
const PROTOCOL_UDP: u8 = 17;

/// Packets: slot `tunnel * 4 + outer * 2 + inner`, where an IPv6 header counts 1, and last those
/// that were malformed.
#[map(name = "counts")]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MALFORMED + 1, 0);
const IPIP: u32 = 0;
const GUE0: u32 = 1;
const GUE1: u32 = 2;
const MALFORMED: u32 = 12;

/// Outer sources of well-formed packets: four words of address in network byte order, IPv4 as
/// `::ffff:a.b.c.d`, and the UDP port, which is 0 for `ipip`.
#[map(name = "sources")]
static SOURCES: LruHashMap<[u32; 5], u32> = LruHashMap::with_max_entries(16_384, 0);

/// A tunnel's content.
struct Inner {
    tunnel: u32,
    family: Family,
    /// Where it begins in the frame.
    at: usize,
    /// Bytes that the outer headers leave it.
    length: usize,
    /// Port that the tunnel comes from.
    source_port: u16,
}

/// Takes a tunnel's packet out, and lets pass what is none.
#[xdp]
pub fn decap(ctx: XdpContext) -> u32 {
    match take(&ctx) {
        Ok(slot) => {
            count(slot);
            xdp_action::XDP_PASS
        }
        Err(Refusal::NoTunnel) => xdp_action::XDP_PASS,
        Err(Refusal::Malformed) => {
            count(MALFORMED);
            xdp_action::XDP_DROP
        }
    }
}

/// Returns the slot to count it in.
#[inline(always)]
fn take(ctx: &XdpContext) -> Result<u32, Refusal> {
    let ethernet: &Ethernet = view(ctx, 0).ok_or(Refusal::NoTunnel)?;
    let [a, b, c, d, e, f] = ethernet.macs;
    let outer = Outer::read(ctx, ethernet.ethertype_be)?;
    let inner = match outer.protocol {
        PROTOCOL_IPV4 => Inner::of_ipip(&outer, Family::V4),
        PROTOCOL_IPV6 => Inner::of_ipip(&outer, Family::V6),
        PROTOCOL_UDP => Inner::of_gue(ctx, &outer)?,
        _ => return Err(Refusal::NoTunnel),
    };
    outer.check(ctx)?;
    inner.check(ctx)?;
    let [s0, s1, s2, s3] = outer.source;
    let source = [s0, s1, s2, s3, inner.source_port as u32];
    // A full table forgets its oldest entry: there is always room.
    let _ = SOURCES.insert(source, 0, 0);

    let outer_headers = inner.at - size_of::<Ethernet>();
    // SAFETY: the context is the one that the kernel called with; views made before are not used
    // again.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, outer_headers as i32) } != 0 {
        return Err(Refusal::Malformed);
    }
    let ethernet: &mut Ethernet = view(ctx, 0).ok_or(Refusal::Malformed)?;
    ethernet.macs = [a, b, c, d, e, f];
    ethernet.ethertype_be = inner.family.ethertype_be();
    Ok(inner.tunnel * 4 + outer.family as u32 * 2 + inner.family as u32)
}

impl Inner {
    /// IP right behind IP.
    #[inline(always)]
    fn of_ipip(outer: &Outer, family: Family) -> Self {
        Self {
            tunnel: IPIP,
            family,
            at: outer.end,
            length: outer.payload,
            source_port: 0,
        }
    }

    /// IP behind UDP, with or without a header between them.
    #[inline(always)]
    fn of_gue(ctx: &XdpContext, outer: &Outer) -> Result<Self, Refusal> {
        if outer.later_fragment {
            return Err(Refusal::NoTunnel);
        }
        let udp: &Udp = view(ctx, outer.end).ok_or(Refusal::NoTunnel)?;
        if u16::from_be(udp.destination_port_be) != GUE_PORT.load() {
            return Err(Refusal::NoTunnel);
        }
        if u16::from_be(udp.length_be) as usize != outer.payload {
            return Err(Refusal::Malformed);
        }
        let payload_at = outer.end + size_of::<Udp>();
        let start: &[u8; 4] = view(ctx, payload_at).ok_or(Refusal::Malformed)?;
        // Variant 0: two bits of variant, the control bit, five bits of length beyond these four
        // bytes; the protocol; flags. Variant 1: the version of IP, whose second bit is set in both.
        let (tunnel, header, family) = match *start {
            [0, PROTOCOL_IPV4, 0, 0] => (GUE0, 4, Family::V4),
            [0, PROTOCOL_IPV6, 0, 0] => (GUE0, 4, Family::V6),
            [0x40..=0x4f, ..] => (GUE1, 0, Family::V4),
            [0x60..=0x6f, ..] => (GUE1, 0, Family::V6),
            _ => return Err(Refusal::Malformed),
        };
        Ok(Self {
            tunnel,
            family,
            at: payload_at + header,
            length: outer.payload.wrapping_sub(size_of::<Udp>() + header),
            source_port: u16::from_be(udp.source_port_be),
        })
    }

    /// It is the version that was announced and fills the tunnel's packet to its end.
    #[inline(always)]
    fn check(&self, ctx: &XdpContext) -> Result<(), Refusal> {
        let (is_announced, length) = match self.family {
            Family::V4 => {
                let ip: &Ipv4 = view(ctx, self.at).ok_or(Refusal::Malformed)?;
                (ip.version_ihl >> 4 == 4, ip.total_length())
            }
            Family::V6 => {
                let ip: &Ipv6 = view(ctx, self.at).ok_or(Refusal::Malformed)?;
                (ip.version() == 6, ip.total_length())
            }
        };
        if !is_announced || length != self.length {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }
}

#[inline(always)]
fn count(slot: u32) {
    if let Some(count) = COUNTS.get_ptr_mut(slot) {
        // SAFETY: the slot is this CPU's own, and XDP programs on it follow one another.
        unsafe { *count += 1 };
    }
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No path leads here: the verifier would refuse an endless loop.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
