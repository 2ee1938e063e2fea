//! Errors about flows between the address families: each becomes the error of the other family that says the
//! same (RFC 7915, sections 4.2 and 5.2), about the packet that its receiver sent. It is made anew, with as
//! much of that packet as errors quote at least: its IP header and 8 bytes (RFC 792).

use core::hint::black_box;

use aya_ebpf::{
    helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use lb_common::{
    Address as _, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP, V4, V6,
    backend::flows,
    flow::{FlowKey, flag, side},
    hash, mapped,
    reason::Reason,
};

use super::{
    Header, Icmp,
    error::{QUOTED, is_orphan},
};
use crate::{
    clock::now_ns,
    family::{Inet, Inet6},
    flow, forward, maps,
    mtu::LEAST6,
    own_error,
    packet::{Ethernet, IpHeader as _, Ipv4, Ipv6, Udp, copy_mac, frame_length, view},
    rewrite::{Difference, fold},
    stats,
    translate::{Kept, Translate},
};

/// Type, code, and the four bytes behind the checksum in host byte order.
type News = (u8, u8, u32);

/// Bytes by which an IPv6 header is longer than one of IPv4.
const LONGER: u32 = (size_of::<Ipv6>() - size_of::<Ipv4>()) as u32;

/// An address family whose errors are translated.
pub trait Across: Icmp + Translate {
    /// An address as the table of IPv6 has it.
    fn wide(address: &Self::Address) -> V6;
    /// What an error of this family is in the other one; `None` where it has none.
    fn translated(news: News) -> Option<News>;
    /// IP protocol number of the other family's ICMP.
    const PROTOCOL_THERE: u8;
    /// What a checksum there covers beside the message, so many bytes long.
    fn pseudo_header(ctx: &XdpContext, length: u32) -> u64;
}

impl Across for Inet {
    const PROTOCOL_THERE: u8 = PROTOCOL_ICMPV6;

    #[inline(always)]
    fn wide(address: &V4) -> V6 {
        mapped(*address)
    }

    /// RFC 7915, section 4.2. What a parameter problem points at is ours.
    #[inline(always)]
    fn translated((kind, code, rest): News) -> Option<News> {
        const MTU: u32 = 0xffff;
        match (kind, code) {
            (3, 2) => Some((4, 1, 6)),
            (3, 3) => Some((1, 4, 0)),
            (3, 4) => {
                let mtu = (rest & MTU) + LONGER;
                Some((2, 0, if mtu < LEAST6 { LEAST6 } else { mtu }))
            }
            (3, 9 | 10 | 13 | 15) => Some((1, 1, 0)),
            (3, 0..=12) => Some((1, 0, 0)),
            (11, code) => Some((3, code, 0)),
            _ => None,
        }
    }

    /// RFC 8200, section 8.1.
    #[inline(always)]
    fn pseudo_header(ctx: &XdpContext, length: u32) -> u64 {
        const ADDRESSES_AT: usize = size_of::<Ethernet>() + 8;
        const WORDS: u32 = 8;
        own_error::sum(ctx, ADDRESSES_AT, WORDS)
            + length.to_be() as u64
            + (PROTOCOL_ICMPV6 as u32).to_be() as u64
    }
}

impl Across for Inet6 {
    const PROTOCOL_THERE: u8 = PROTOCOL_ICMP;

    #[inline(always)]
    fn wide(address: &V6) -> V6 {
        address.copied()
    }

    /// RFC 7915, section 5.2.
    #[inline(always)]
    fn translated((kind, code, rest): News) -> Option<News> {
        match (kind, code) {
            (1, 1) => Some((3, 10, 0)),
            (1, 4) => Some((3, 3, 0)),
            (1, 0 | 2 | 3) => Some((3, 1, 0)),
            (2, _) => {
                let mtu = if rest < LEAST6 { LEAST6 } else { rest };
                Some((3, 4, (mtu - LONGER) & 0xffff))
            }
            (3, code) => Some((11, code, 0)),
            (4, 1) => Some((3, 2, 0)),
            _ => None,
        }
    }

    #[inline(always)]
    fn pseudo_header(_ctx: &XdpContext, _length: u32) -> u64 {
        0
    }
}

/// Sends an error on in the other family. What is about no such flow ends for the reason given.
#[inline(never)]
pub fn send_on<F: Across>(ctx: &XdpContext, reason: Reason) -> Result<u32, Reason> {
    // Views are taken from the frame's start on, as in `error`.
    let ethernet: &Ethernet = view(ctx, 0)?;
    let mut macs = [[0; 6]; 2];
    copy_mac(&mut macs[0], &ethernet.destination);
    copy_mac(&mut macs[1], &ethernet.source);
    let message = F::message(ctx)?;
    let ip: &F::Header = view(ctx, size_of::<Ethernet>())?;
    let quoted = F::quoted(ctx, &message)?;
    let inner: &F::Header = view(ctx, message.quote())?;
    let ports: &Udp = view(ctx, quoted.at)?;
    let key = &FlowKey {
        source: F::wide(&inner.destination()),
        destination: F::wide(&inner.source()),
        source_port_be: ports.destination_port_be,
        destination_port_be: ports.source_port_be,
        protocol: quoted.protocol as u32,
    };
    let key = black_box(key);
    let found = flow::find::<Inet6>(key, hash::flow(key), now_ns()).ok_or(reason)?;
    if found.entry.flags & flag::CROSSED == 0 {
        return Err(reason);
    }
    let backend_idx = found.entry.backend_idx;
    let backend = maps::BACKENDS.get(backend_idx).ok_or(Reason::TableError)?;
    if backend.flows == flows::RESET {
        return Err(Reason::IcmpBackendDown);
    }
    if is_orphan::<Inet6>(key, &found) {
        return Err(Reason::IcmpNoFlow);
    }
    let header: &Header = view(ctx, message.at)?;
    let news = F::translated((header.kind, header.code, u32::from_be(header.rest_be)))
        .ok_or(Reason::IcmpCrossed)?;
    if ip.hop_limit() <= 1 {
        return Err(Reason::IcmpUndeliverable);
    }
    let to_client = found.entry.side == side::BACKEND;
    let resolved = to_client || backend.ifindex != 0;
    let mut outer = <F as Translate>::kept(ip);
    // Else the kernel takes the hop off, as in `forward::to_backend`.
    outer.hop_limit -= resolved as u8;

    let content = F::length(inner).wrapping_sub((quoted.at - message.quote()) as u32);
    let quote = Quote {
        kept: <F as Translate>::kept(inner),
        protocol: quoted.protocol,
        length: content,
        // Of TCP its sequence number, which has no port in it.
        rest: [ports.length_be, ports.checksum_be],
    };
    let entry = &*found.entry;
    let pseudo = F::exchanged(inner, entry)
        .half(ports.source_port_be, entry.destination_port_be)
        .half(ports.destination_port_be, entry.source_port_be);
    let quote = quote.with(pseudo);
    make_room::<F>(ctx, &macs)?;
    F::write_header(
        ctx,
        size_of::<Ethernet>(),
        &outer,
        (F::PROTOCOL_THERE, MESSAGE::<F>()),
        (&entry.source, &entry.destination),
    )?;
    let at = size_of::<Ethernet>() + F::HEADER;
    F::write_header(
        ctx,
        at + size_of::<Header>(),
        &quote.kept,
        (quote.protocol, quote.length),
        (&entry.destination, &entry.source),
    )?;
    let ports: &mut Udp = view(ctx, at + size_of::<Header>() + F::HEADER)?;
    ports.source_port_be = entry.destination_port_be;
    ports.destination_port_be = entry.source_port_be;
    [ports.length_be, ports.checksum_be] = quote.rest;
    let header: &mut Header = view(ctx, at)?;
    (header.kind, header.code) = (news.0, news.1);
    header.checksum_be = 0;
    header.rest_be = news.2.to_be();
    let length = MESSAGE::<F>();
    let sum = own_error::sum(ctx, at, length / 4) + F::pseudo_header(ctx, length);
    let header: &mut Header = view(ctx, at)?;
    header.checksum_be = !fold(sum);

    stats::count(Reason::IcmpError);
    if !resolved {
        return Err(Reason::NextHopUnknown);
    }
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    if to_client {
        return forward::by_flow(ctx, settings, entry);
    }
    forward::by_backend(ctx, settings, backend)
}

/// What is quoted, beside addresses and ports.
struct Quote {
    kept: Kept,
    protocol: u8,
    /// Bytes behind the IP header, of the packet that is quoted.
    length: u32,
    /// What follows the ports.
    rest: [u16; 2],
}

impl Quote {
    /// With the checksum that is right for other addresses and ports, where it is quoted.
    #[inline(always)]
    fn with(mut self, pseudo: Difference) -> Self {
        if self.protocol == PROTOCOL_UDP {
            self.rest[1] = match pseudo.apply(self.rest[1]) {
                0 => u16::MAX,
                other => other,
            };
        }
        self
    }
}

/// Bytes of the message in the other family.
#[inline(always)]
#[expect(non_snake_case, reason = "a constant, but of a type parameter")]
const fn MESSAGE<F: Across>() -> u32 {
    (size_of::<Header>() + F::HEADER + QUOTED) as u32
}

/// Makes the frame as long as the new one, its MAC addresses where they belong.
#[inline(always)]
fn make_room<F: Across>(ctx: &XdpContext, macs: &[[u8; 6]; 2]) -> Result<(), Reason> {
    // What every such error has here.
    let least = size_of::<Ethernet>() + 2 * size_of::<F::Header>() + size_of::<Header>() + QUOTED;
    let new = size_of::<Ethernet>() + F::HEADER + MESSAGE::<F>() as usize;
    let excess = frame_length(ctx) as i32 - least as i32;
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    let resized = unsafe {
        bpf_xdp_adjust_tail(ctx.ctx, -excess) == 0
            && bpf_xdp_adjust_head(ctx.ctx, least as i32 - new as i32) == 0
    };
    if !resized {
        return Err(Reason::TableError);
    }
    let ethernet: &mut Ethernet = view(ctx, 0)?;
    copy_mac(&mut ethernet.destination, &macs[0]);
    copy_mac(&mut ethernet.source, &macs[1]);
    ethernet.ethertype_be = F::ETHERTYPE_THERE_BE;
    Ok(())
}
