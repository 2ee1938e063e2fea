//! Errors about flows (RFC 792; RFC 4443, section 3): each quotes a packet that its sender got, and goes
//! where the packets of the other direction go. What it quotes becomes what the receiver knows of it
//! (RFC 5508, section 4.2, says the same of address translators).
//!
//! No error opens a flow, or changes one: who sends it proves nothing.

use core::hint::black_box;

use aya_ebpf::programs::XdpContext;
use lb_common::{
    Address as _, NO_BACKEND, PROTOCOL_TCP, PROTOCOL_UDP,
    backend::{self, Backend},
    flow::{Flow, FlowKey, flag, side},
    hash,
    reason::Reason,
    service::{self, Settings, mode},
};

use super::{Header, Icmp, Message};
use crate::{
    clock::now_ns,
    flow::{self, Found},
    forward, maps,
    packet::{Ethernet, IpHeader as _, Udp, view},
    rewrite::Difference,
    select, sources, stats,
    table::Table,
    tunnel,
};

/// Where a quoted packet's transport header lies in the frame, at least its first 8 bytes, and of which
/// protocol it is: TCP or UDP.
pub struct Quoted {
    pub at: usize,
    pub protocol: u8,
}

/// Bytes of a transport header that each error quotes (RFC 792).
pub const QUOTED: usize = 8;
const _: () = assert!(size_of::<Udp>() == QUOTED);

impl Quoted {
    /// The transport header behind so many bytes of a packet that claims to be `length` long, and of which
    /// this much of the message is there.
    #[inline(always)]
    pub fn behind(
        message: &Message,
        protocol: u8,
        header: usize,
        length: usize,
    ) -> Result<Self, Reason> {
        const TCP_HEADER: usize = 20;
        let least = match protocol {
            PROTOCOL_TCP => TCP_HEADER,
            PROTOCOL_UDP => QUOTED,
            _ => return Err(Reason::NotOurs),
        };
        let at = message.quote() + header;
        if header + least > length || at + QUOTED > message.end {
            return Err(Reason::IcmpMalformed);
        }
        Ok(Self { at, protocol })
    }
}

/// Sends an error on, if it is about a flow.
#[inline(never)]
pub fn send_on<F: Icmp>(ctx: &XdpContext) -> Result<u32, Reason> {
    let message = F::message(ctx)?;
    if message.fragment {
        return Err(Reason::IcmpFragment);
    }
    if message.quote() + size_of::<F::Header>() > message.end {
        return Err(Reason::IcmpMalformed);
    }
    // Views are taken from the frame's start on, here and below: the optimizer leaves out a comparison that
    // a farther one implies, which the verifier does not know.
    let ip: &F::Header = view(ctx, size_of::<Ethernet>())?;
    let quoted = F::quoted(ctx, &message)?;
    let inner: &F::Header = view(ctx, message.quote())?;
    let ports: &Udp = view(ctx, quoted.at)?;
    if !ip.destination().same(inner.source()) {
        return Err(Reason::IcmpMalformed);
    }
    let key = &FlowKey {
        source: inner.destination(),
        destination: inner.source(),
        source_port_be: ports.destination_port_be,
        destination_port_be: ports.source_port_be,
        protocol: quoted.protocol as u32,
    };
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    if !select::can_be_ours(settings, key) {
        return Err(Reason::NotOurs);
    }
    let key_hash = hash::flow(key);
    let key = black_box(key);
    let Some(found) = flow::find::<F>(key, key_hash, now_ns()) else {
        let backend_idx = by_ring::<F>(settings, key, key_hash)?;
        return past_us::<F>(ctx, settings, backend_idx, key_hash);
    };
    let backend = maps::BACKENDS
        .get(found.entry.backend_idx)
        .ok_or(Reason::TableError)?;
    if backend.flows == backend::flows::RESET {
        return Err(Reason::IcmpBackendDown);
    }
    if found.is_one_way() {
        return past_us::<F>(ctx, settings, found.entry.backend_idx, key_hash);
    }
    if found.entry.flags & flag::CROSSED != 0 {
        return Err(Reason::IcmpCrossed);
    }
    if is_orphan::<F>(key, &found) {
        return Err(Reason::IcmpNoFlow);
    }
    if ip.hop_limit() <= 1 {
        return Err(Reason::IcmpUndeliverable);
    }
    rewrite::<F>(ctx, &message, &quoted, key, found.entry)?;
    stats::count(Reason::IcmpError);
    let ip: &mut F::Header = view(ctx, size_of::<Ethernet>())?;
    let entry = &*found.entry;
    if entry.side == side::BACKEND {
        F::decrement_hops(ip);
        return forward::by_flow(ctx, settings, entry);
    }
    // The kernel takes the hop off, as in `forward::to_backend`.
    if backend.ifindex == 0 {
        return Err(Reason::NextHopUnknown);
    }
    F::decrement_hops(ip);
    forward::by_backend(ctx, settings, backend)
}

/// The source port of a half-open flow whose replies have no entry any more may be another flow's.
#[inline(always)]
pub fn is_orphan<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) -> bool {
    found.entry.side == side::CLIENT && !found.confirmed && !flow::has_twin::<F>(key, found)
}

/// Gives the message the addresses that the flow's packets have, as if the end that the receiver knows
/// had sent it: addresses of one side mean nothing on the other, and what comes from there may be
/// filtered. Only a router between client and balancer stays the sender where backends know clients.
///
/// In the quoted packet each address and port becomes what it is on the other side. Its length, hop limit
/// and all else stay.
#[inline(always)]
fn rewrite<F: Icmp>(
    ctx: &XdpContext,
    message: &Message,
    quoted: &Quoted,
    key: &FlowKey<F::Address>,
    entry: &Flow<F::Address>,
) -> Result<(), Reason> {
    /// Of TCP's checksum in its header.
    const CHECKSUM_AT: usize = 16;
    let ip: &mut F::Header = view(ctx, size_of::<Ethernet>())?;
    let header: &mut Header = view(ctx, message.at)?;
    let inner: &mut F::Header = view(ctx, message.quote())?;
    let before = F::header_checksum(inner);
    let addresses = F::readdress(inner, &entry.destination, &entry.source);
    // What the message's checksum covers, and what the quoted one does.
    let covered = addresses.half(before, F::header_checksum(inner));

    let ports: &mut Udp = view(ctx, quoted.at)?;
    let changed = Difference::NONE
        .half(ports.source_port_be, entry.destination_port_be)
        .half(ports.destination_port_be, entry.source_port_be);
    ports.source_port_be = entry.destination_port_be;
    ports.destination_port_be = entry.source_port_be;
    let mut covered = covered.and(changed);
    let pseudo = addresses.and(changed);
    if quoted.protocol == PROTOCOL_UDP {
        // 0 says that there is none, and never comes out.
        if ports.checksum_be != 0 {
            let checksum_be = match pseudo.apply(ports.checksum_be) {
                0 => u16::MAX,
                other => other,
            };
            covered = covered.half(ports.checksum_be, checksum_be);
            ports.checksum_be = checksum_be;
        }
    } else if quoted.at + CHECKSUM_AT + size_of::<u16>() <= message.end {
        let tcp_checksum_be: &mut u16 = view(ctx, quoted.at + CHECKSUM_AT)?;
        let checksum_be = pseudo.apply(*tcp_checksum_be);
        covered = covered.half(*tcp_checksum_be, checksum_be);
        *tcp_checksum_be = checksum_be;
    }

    let keeps_sender = entry.side == side::CLIENT && entry.source.same(key.source);
    let source = if keeps_sender {
        ip.source()
    } else {
        entry.source.copied()
    };
    let outer = F::readdress(ip, &source, &entry.destination);
    if F::VERSION == 6 {
        // Its pseudo header (RFC 4443, section 2.3).
        covered = covered.and(outer);
    }
    header.checksum_be = covered.apply(header.checksum_be);
    Ok(())
}

/// The backend that gets the packets of this client, of which there is no flow here. It may be one that
/// another balancer opened, where backends answer their clients themselves.
#[inline(never)]
fn by_ring<F: Icmp>(
    settings: &Settings,
    key: &FlowKey<F::Address>,
    key_hash: u64,
) -> Result<u32, Reason> {
    let service_idx = select::service::<F>(settings, key).ok_or(Reason::NotOurs)?;
    let service = maps::SERVICES.get(service_idx).ok_or(Reason::TableError)?;
    if !mode::is_one_way(service.mode) {
        // Such flows of IPv4 packets lie in the other family's table.
        let crosses = service.version != F::VERSION;
        return Err(if crosses {
            Reason::IcmpCrossed
        } else {
            Reason::IcmpNoFlow
        });
    }
    if service.flags & service::flag::SOURCES != 0 && sources::deny::<F>(service_idx, &key.source) {
        return Err(Reason::SourceDenied);
    }
    let hash = if service.flags & service::flag::AFFINITY == 0 {
        key_hash
    } else {
        hash::client(key.source.masked(F::client_bits(service)))
    };
    let backend_idx = select::index(service_idx, service, hash, false) as u32;
    if backend_idx == NO_BACKEND {
        return Err(Reason::IcmpNoFlow);
    }
    Ok(backend_idx)
}

/// Sends the message as it is to a backend that answers its clients itself, the way of the flow with this
/// hash.
#[inline(always)]
fn past_us<F: Icmp>(
    ctx: &XdpContext,
    settings: &Settings,
    backend_idx: u32,
    key_hash: u64,
) -> Result<u32, Reason> {
    let backend: &Backend = maps::BACKENDS.get(backend_idx).ok_or(Reason::TableError)?;
    if backend.mode == mode::DSR {
        if backend.ifindex == 0 {
            return Err(Reason::IcmpUndeliverable);
        }
    } else {
        let ip: &F::Header = view(ctx, size_of::<Ethernet>())?;
        if ip.hop_limit() <= 1 {
            return Err(Reason::IcmpUndeliverable);
        }
        tunnel::wrap(ctx, (backend_idx, backend), key_hash)
            .map_err(|_| Reason::IcmpUndeliverable)?;
    }
    stats::count(Reason::IcmpError);
    if backend.ifindex == 0 {
        return Err(Reason::NextHopUnknown);
    }
    forward::by_backend(ctx, settings, backend)
}
