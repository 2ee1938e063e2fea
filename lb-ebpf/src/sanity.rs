//! Packets that no honest sender makes: one for a vip or of a flow is dropped, and counted by what is wrong
//! with it. What is for others is theirs to judge, and passes.

use core::hint::cold_path;

use aya_ebpf::programs::XdpContext;
use lb_common::{
    Address as _, hash,
    reason::Reason,
    service::{Service, flag, mode},
};

use crate::{
    family::Family,
    flow::Life,
    fragment, maps,
    packet::{IpHeader as _, Segment, Transport},
    select, sources,
    table::Table,
};

/// Looks at a packet of ours: frames for many receivers, a wrong header checksum (RFC 1122, section
/// 3.2.1.2), no hop left, TCP flags that no state of a connection sends.
#[inline(always)]
pub fn check<F: Family, T: Transport>(
    ctx: &XdpContext,
    segment: &Segment<'_, F, T>,
) -> Result<(), Reason> {
    if segment.ethernet.destination[0] & 1 != 0 {
        cold_path();
        return Err(Reason::NotUnicast);
    }
    if !segment.ip.is_right(ctx) {
        cold_path();
        return Err(Reason::BadChecksum);
    }
    if segment.ip.hop_limit() == 0 {
        cold_path();
        return Err(Reason::TtlZero);
    }
    if !segment.transport.is_possible() {
        cold_path();
        return Err(Reason::BadFlags);
    }
    Ok(())
}

/// Whether a packet for a vip, of no known flow, may open one or be answered: it is in order, and of a source
/// that the service takes.
#[inline(always)]
pub fn admit<F: Family, T: Life>(
    ctx: &XdpContext,
    segment: &Segment<'_, F, T>,
    service_idx: u32,
    service: &Service,
) -> Result<(), Reason> {
    check(ctx, segment)?;
    let source = &segment.ip.source();
    if !F::is_host(source) {
        return Err(Reason::Martian);
    }
    if source.same(segment.ip.destination()) {
        return Err(Reason::Land);
    }
    if service.flags & flag::SOURCES != 0 && sources::deny::<F>(service_idx, source) {
        return Err(Reason::SourceDenied);
    }
    if !mode::is_one_way(service.mode) && !T::opens(segment) {
        return Err(Reason::NoFlow);
    }
    Ok(())
}

/// What becomes of a packet whose headers announce more than the frame holds, or contradict one another.
/// If it is the first fragment of a datagram, its sender hides the rest of the header from who looks at
/// first fragments only (RFC 1858, section 3).
#[inline(never)]
pub fn malformed<F: Table>(ctx: &XdpContext) -> Reason {
    let Some(settings) = maps::SETTINGS.get(0) else {
        return Reason::TableError;
    };
    let Ok(fragment) = fragment::scratch::<F>() else {
        return Reason::TableError;
    };
    match F::read_ports(ctx, fragment) {
        Ok(false) => {
            let key = &fragment.key;
            if select::service::<F>(settings, key).is_none()
                && F::find(key, hash::flow(key)).is_none()
            {
                return Reason::Truncated;
            }
            if fragment.is_first() {
                Reason::BadFragment
            } else {
                Reason::BadLength
            }
        }
        Err(Reason::BadLength)
            if select::is_vip_address::<F>(settings, &fragment.datagram.destination) =>
        {
            Reason::BadLength
        }
        Ok(true) | Err(_) => Reason::Truncated,
    }
}
