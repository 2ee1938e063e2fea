//! Datagrams in fragments. Only the first has ports: it goes the way of any packet, and its ports are
//! remembered under what it has in common with the others. By them the others find their flow; they are
//! given its addresses, and go where the first went. The transport's checksum is in the first alone and
//! covers all.
//!
//! Nothing is held back: a fragment that comes before its first is lost where it can be nobody's but a
//! vip's, and the kernel's anywhere else.

use aya_ebpf::{
    bindings::{bpf_fib_lookup as FibLookup, xdp_md},
    helpers::bpf_fib_lookup,
    programs::XdpContext,
};
use lb_common::{
    Address as _, PROTOCOL_TCP, PROTOCOL_UDP, backend::flows, flow::side, fragment::LIFE_NS, hash,
    reason::Reason, service::mode,
};

use crate::{
    clock::now_ns,
    family::{Family, Inet, Inet6},
    flow, forward, maps, mtu,
    packet::{Fragment, IpHeader as _, Segment, Transport, rest},
    rewrite::{self, Readdress},
    sanity, select, stats,
    table::Table,
};

/// Remembers the ports of a first fragment, if it may be for a vip or of a flow of ours, or its address is
/// a vip's: then it tells of the others that they are not ours.
#[inline(always)]
pub fn first<F: Family, T: Transport>(ctx: &XdpContext, segment: &Segment<'_, F, T>) {
    let source_be = segment.transport.source_port_be() as u64;
    let destination_be = segment.transport.destination_port_be() as u64;
    F::note_first(
        ctx,
        source_be | destination_be << 16 | (T::PROTOCOL as u64) << 32,
    );
}

/// Functions that the verifier knows as global, as those of [`crate::table`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fragment_first4(ctx: *mut xdp_md, ports: u64) -> u64 {
    note::<Inet>(&XdpContext::new(ctx), ports).is_ok() as u64
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fragment_first6(ctx: *mut xdp_md, ports: u64) -> u64 {
    note::<Inet6>(&XdpContext::new(ctx), ports).is_ok() as u64
}

#[inline(always)]
fn note<F: Family>(ctx: &XdpContext, ports: u64) -> Result<(), Reason> {
    let fragment = scratch::<F>()?;
    F::read_fragment(ctx, fragment)?;
    let protocol = (ports >> 32) as u8;
    tell_ports::<F>(fragment, ports as u16, (ports >> 16) as u16, protocol);
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    if !select::can_be_ours(settings, &fragment.key)
        && !select::is_vip_address::<F>(settings, &fragment.datagram.destination)
    {
        return Ok(());
    }
    fragment.first.seen_ns = now_ns();
    fragment.first.source_port_be = fragment.key.source_port_be;
    fragment.first.destination_port_be = fragment.key.destination_port_be;
    fragment.first.length = fragment.length as u16;
    fragment.first.protocol = protocol;
    fragment.first.pad = 0;
    // What finds no room is not remembered: the other fragments are lost.
    let _ = F::fragments().insert(&fragment.datagram, &fragment.first, 0);
    Ok(())
}

/// A fragment that is not the first.
#[inline(never)]
pub fn later<F: Readdress + Table>(ctx: &XdpContext) -> Result<u32, Reason> {
    let fragment = scratch::<F>()?;
    if F::read_fragment(ctx, fragment).is_err() {
        return Err(Reason::LaterFragment);
    }
    let now_ns = now_ns();
    if !recall::<F>(fragment, now_ns) {
        return Err(of_unseen::<F>(ctx, fragment));
    }
    let key = &fragment.key;
    let key_hash = hash::flow(key);
    let Some(mut found) = flow::find::<F>(key, key_hash, now_ns) else {
        return Err(of_no_flow::<F>(fragment));
    };
    // It would change what the first one said (RFC 1858, section 4; RFC 5722).
    if fragment.offset < fragment.first.length as u32 {
        return Err(Reason::BadFragment);
    }
    if found.is_special() && !found.is_one_way() {
        return Err(Reason::FragmentCrossed);
    }
    let backend_idx = found.entry.backend_idx;
    let backend = maps::BACKENDS.get(backend_idx).ok_or(Reason::TableError)?;
    let from = found.entry.side;
    // Then the first was answered.
    if backend.flows == flows::RESET && from == side::CLIENT {
        return Err(Reason::FragmentUnknown);
    }
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let mut segment = rest::<F>(ctx)?;
    sanity::check(ctx, &segment)?;
    if found.is_one_way() {
        forward::can_go(ctx, settings, &segment, backend)?;
        flow::seen(key, &mut found, now_ns);
        return forward::past_us(ctx, &mut segment, (backend_idx, backend), key_hash);
    }
    if segment.ip.hop_limit() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let fits = mtu::fits(ctx, settings, &segment, 0, || {
        mtu::way_of(found.entry, backend)
    })?;
    flow::seen(key, &mut found, now_ns);
    let entry = &*found.entry;
    stats::packet(backend_idx, from, segment.frame_length);
    rewrite::readdress(&mut segment, entry);
    if !fits {
        return Err(Reason::ToFragment);
    }
    if from == side::CLIENT {
        forward::to_backend(ctx, settings, &mut segment, backend)
    } else {
        Ok(forward::to_client(ctx, settings, &mut segment, entry))
    }
}

/// What becomes of a packet with a source route: it passes if it is not for us.
#[inline(never)]
pub fn refuse_source_route<F: Table>(ctx: &XdpContext) -> Reason {
    match is_of_ours::<F>(ctx) {
        Ok(true) => Reason::SourceRouted,
        Ok(false) => Reason::NotOurs,
        Err(reason) => reason,
    }
}

/// The packet has ports, whole or not, and is for a vip or of a flow of ours.
#[inline(always)]
fn is_of_ours<F: Table>(ctx: &XdpContext) -> Result<bool, Reason> {
    let fragment = scratch::<F>()?;
    F::read_fragment(ctx, fragment)?;
    if !is_balanced(fragment.protocol) {
        return Err(Reason::OtherProtocol);
    }
    let ports = fragment.ports(ctx)?;
    let (source_be, destination_be) = (ports.source_be, ports.destination_be);
    let protocol = fragment.protocol as u8;
    tell_ports::<F>(fragment, source_be, destination_be, protocol);
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let key = &fragment.key;
    Ok(select::service::<F>(settings, key).is_some() || F::find(key, hash::flow(key)).is_some())
}

/// Completes the 5-tuple by what is remembered of the first fragment. False if it was not seen, or too long
/// ago.
#[inline(always)]
fn recall<F: Family>(fragment: &mut Fragment<F::Address>, now_ns: u64) -> bool {
    let Some(first) = F::fragments().get_ptr(&fragment.datagram) else {
        return false;
    };
    // SAFETY: an LRU hash may give an entry to another datagram at any time. Its ports are then another's,
    // which lead to no flow with these addresses, or to one of the same two hosts.
    fragment.first = unsafe { *first };
    let first = fragment.first;
    tell_ports::<F>(
        fragment,
        first.source_port_be,
        first.destination_port_be,
        first.protocol,
    );
    // Another CPU may have noted it since this one read its clock.
    now_ns.saturating_sub(first.seen_ns) < LIFE_NS
}

#[inline(always)]
fn tell_ports<F: Family>(
    fragment: &mut Fragment<F::Address>,
    source_be: u16,
    destination_be: u16,
    protocol: u8,
) {
    fragment.key.source = fragment.datagram.source.copied();
    fragment.key.destination = fragment.datagram.destination.copied();
    fragment.key.source_port_be = source_be;
    fragment.key.destination_port_be = destination_be;
    fragment.key.protocol = protocol as u32;
}

/// A fragment whose first was seen, but has no flow. If the first was for a vip, it was not forwarded.
#[inline(always)]
fn of_no_flow<F: Family>(fragment: &Fragment<F::Address>) -> Reason {
    let Some(settings) = maps::SETTINGS.get(0) else {
        return Reason::TableError;
    };
    let Some(service_idx) = select::service::<F>(settings, &fragment.key) else {
        return Reason::LaterFragment;
    };
    match maps::SERVICES.get(service_idx) {
        Some(service) if service.version != F::VERSION && !mode::is_one_way(service.mode) => {
            Reason::FragmentCrossed
        }
        _ => Reason::FragmentUnknown,
    }
}

/// A fragment whose first was not seen. The kernel gets it, but where its address is a vip's and not the
/// host's: there the kernel would send it on.
#[inline(always)]
fn of_unseen<F: Family>(ctx: &XdpContext, fragment: &Fragment<F::Address>) -> Reason {
    let Some(settings) = maps::SETTINGS.get(0) else {
        return Reason::TableError;
    };
    if is_balanced(fragment.protocol)
        && select::is_vip_address::<F>(settings, &fragment.datagram.destination)
        && kernel_forwards::<F>(ctx, fragment)
    {
        Reason::FragmentUnknown
    } else {
        Reason::LaterFragment
    }
}

#[inline(always)]
fn is_balanced(protocol: u32) -> bool {
    protocol == PROTOCOL_TCP as u32 || protocol == PROTOCOL_UDP as u32
}

/// The host does not keep what comes for this address, but forwards it. The kernel's own tables answer, so
/// that nobody has to keep a list of the host's addresses.
#[inline(never)]
fn kernel_forwards<F: Family>(ctx: &XdpContext, fragment: &Fragment<F::Address>) -> bool {
    /// include/uapi/linux/bpf.h, `BPF_FIB_LKUP_RET_*`: what becomes of a packet that is sent on.
    const SUCCESS: i64 = 0;
    const TUNNELED: i64 = 6;
    const NO_NEIGHBOUR: i64 = 7;
    const TOO_LONG: i64 = 8;

    // SAFETY: it is made of integers.
    let mut request: FibLookup = unsafe { core::mem::zeroed() };
    F::ask_route(&mut request, &fragment.datagram);
    request.l4_protocol = fragment.protocol as u8;
    request.ifindex = ctx.ingress_ifindex() as u32;
    // SAFETY: the context is the one this program was started with, and the request is as long as told.
    let answer = unsafe {
        bpf_fib_lookup(
            ctx.ctx.cast(),
            &mut request,
            size_of::<FibLookup>() as i32,
            0,
        )
    } as i64;
    matches!(answer, SUCCESS | TUNNELED | NO_NEIGHBOUR | TOO_LONG)
}

/// This CPU's scratch.
#[inline(always)]
pub fn scratch<F: Family>() -> Result<&'static mut Fragment<F::Address>, Reason> {
    let fragment = F::fragment().ok_or(Reason::TableError)?;
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself. Nobody takes it
    // while another has it.
    Ok(unsafe { &mut *fragment })
}
