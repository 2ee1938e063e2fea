//! The program `carry`: puts what the tables of another layout held into these, one flow's entry or one
//! counter a run. No packet meets it; the daemon runs it by `BPF_PROG_TEST_RUN`, because only a program
//! can take a bucket's lock, or add to this CPU's counters while packets are counted there.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    carry::{CarriedCount, CarriedFlow, CarriedStats, outcome, what},
    flow::{flag, side},
    load::is_live,
    reason::Reason,
};

use crate::{
    family::{Inet, Inet6},
    load, maps,
    packet::view,
    table::Table,
};

/// Carries out the request that the frame holds, and writes over its first word what became of it.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> Result<(), Reason> {
    let done = match *view::<u32>(ctx, 0)? {
        what::FLOW4 => flow::<Inet>(ctx)?,
        what::FLOW6 => flow::<Inet6>(ctx)?,
        what::STATS => stats(ctx)?,
        what::COUNT => count(ctx)?,
        _ => return Err(Reason::TableError),
    };
    *view::<u32>(ctx, 0)? = done;
    Ok(())
}

#[inline(always)]
fn flow<F: Table>(ctx: &XdpContext) -> Result<u32, Reason> {
    let carried: &CarriedFlow<F::Address> = view(ctx, 0)?;
    let entry = &carried.flow;
    let backend_idx = entry.backend_idx;
    let is_counted =
        entry.side == side::CLIENT && entry.flags & flag::COUNTED != 0 && is_live(entry.state);
    let done = F::carry(&carried.key, entry, carried.confirmed);
    if is_counted && (done == outcome::DONE || done == outcome::FULL) {
        load::enter(backend_idx, 0);
    }
    Ok(done)
}

#[inline(always)]
fn stats(ctx: &XdpContext) -> Result<u32, Reason> {
    let carried: &CarriedStats = view(ctx, 0)?;
    let to = maps::BACKEND_STATS
        .get_ptr_mut(carried.backend_idx)
        .ok_or(Reason::TableError)?;
    // SAFETY: a per-CPU value, and no other program runs on this CPU meanwhile.
    let to = unsafe { &mut *to };
    to.flows += carried.stats.flows;
    to.packets_in += carried.stats.packets_in;
    to.bytes_in += carried.stats.bytes_in;
    to.packets_out += carried.stats.packets_out;
    to.bytes_out += carried.stats.bytes_out;
    Ok(outcome::DONE)
}

#[inline(always)]
fn count(ctx: &XdpContext) -> Result<u32, Reason> {
    let carried: &CarriedCount = view(ctx, 0)?;
    let to = maps::REASONS
        .get_ptr_mut(carried.reason)
        .ok_or(Reason::TableError)?;
    // SAFETY: as above.
    unsafe { *to += carried.count };
    Ok(outcome::DONE)
}
