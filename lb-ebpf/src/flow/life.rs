//! What the packets of a protocol mean for their flows, and how a flow becomes a confirmed one.

use lb_common::{
    flow::{FlowKey, flag, state},
    hash,
    reason::Reason,
};

use super::{Found, Twin, held};
use crate::{
    family::Family,
    packet::{Segment, Transport},
    stats,
    table::{Table, part},
};

/// Nanoseconds of about a second, as a shift.
const SECOND_SHIFT: u64 = 30;

/// What a packet means for its flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    On,
    /// The flow is no more, and its entries are removed: the packet stands alone.
    Over,
}

/// The life of a protocol's flows.
pub trait Life: Transport {
    /// A packet of no known flow opens one.
    fn opens<F: Family>(segment: &Segment<'_, F, Self>) -> bool;

    /// The same where backends answer their clients themselves.
    fn opens_one_way<F: Family>(segment: &Segment<'_, F, Self>) -> bool;

    /// What becomes of a packet that would open a flow but cannot, for this reason.
    fn refusal(reason: Reason) -> Reason;

    /// A confirmed flow that this packet does not change: nothing to look up but its own entry.
    fn is_steady<S: Family, F: Family>(segment: &Segment<'_, S, Self>, found: &Found<F>) -> bool;

    /// Carries out what a packet means for its flow's state.
    fn advance<S: Family, F: Table>(
        segment: &Segment<'_, S, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
        now_ns: u64,
    ) -> Progress;

    /// The same for a flow of which the balancer sees the client's packets only.
    fn advance_one_way<F: Table>(
        segment: &Segment<'_, F, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
        now_ns: u64,
    ) -> Progress;

    /// What becomes of a packet whose flow's backend is gone.
    fn give_up<S: Family, F: Table>(
        segment: &Segment<'_, S, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
    ) -> Result<Progress, Reason>;
}

/// The flow was confirmed before but found the table full, and its next attempt is due.
#[inline(always)]
pub fn retry_is_due<F: Family>(found: &Found<F>, now_ns: u64) -> bool {
    found.entry.pending != (now_ns >> SECOND_SHIFT) as u32
}

/// As [`confirm`], for a flow without twin.
#[inline(always)]
pub fn confirm_one_way<F: Table>(
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    found.entry.state = state::ESTABLISHED;
    if F::confirm(key, found.entry) {
        return confirmed(key, found);
    }
    refused(found, now_ns);
    Progress::On
}

/// Takes the flow's entry from among the confirmed ones.
#[inline(always)]
fn confirmed<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>) -> Progress {
    stats::count(Reason::FlowConfirmed);
    match held::<F>(key, hash::flow(key)) {
        Some(now) => {
            *found = now;
            Progress::On
        }
        // Somebody removed it meanwhile.
        None => Progress::Over,
    }
}

/// Notes that a flow found no room among the confirmed ones.
#[inline(always)]
fn refused<F: Family>(found: &mut Found<F>, now_ns: u64) {
    found.entry.pending = (now_ns >> SECOND_SHIFT) as u32;
    if found.entry.flags & flag::REFUSED == 0 {
        found.entry.flags |= flag::REFUSED;
        stats::count(Reason::FlowTableFull);
    }
    found.changed |= part::STATE;
}

/// Makes a flow a confirmed one. Where a bucket has no room it stays half-open, is counted once, and
/// tries again about every second.
#[inline(always)]
pub fn confirm<F: Table>(
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    twin: &mut Twin<F>,
    now_ns: u64,
) -> Progress {
    found.entry.state = state::ESTABLISHED;
    twin.entry.state = state::ESTABLISHED;
    if F::confirm(twin.key, twin.entry) {
        if F::confirm(key, found.entry) {
            return confirmed(key, found);
        }
        F::demote(twin.key);
    }
    refused(found, now_ns);
    twin.seen(found, now_ns);
    Progress::On
}
