//! The life of a UDP flow: a backend's answer and the client's next datagram confirm it; without
//! packets for the timeout's time it is over.

use lb_common::{
    Budgeted,
    flow::{FlowKey, side, state},
    reason::Reason,
};

use super::{
    Found,
    life::{Life, Progress, confirm, confirm_one_way, retry_is_due},
    once::Before,
    remove_pair, twin,
};
use crate::{
    budget,
    family::Family,
    packet::{Segment, Udp},
    table::{Table, part},
};

impl Life for Udp {
    #[inline(always)]
    fn opens<F: Family>(_segment: &Segment<'_, F, Self>) -> bool {
        true
    }

    #[inline(always)]
    fn opens_one_way<F: Family>(_segment: &Segment<'_, F, Self>) -> bool {
        true
    }

    #[inline(always)]
    fn refusal(reason: Reason) -> Reason {
        match reason {
            Reason::NoBackend | Reason::BackendsFull => Reason::Unanswered,
            other => other,
        }
    }

    #[inline(always)]
    fn is_steady<S: Family, F: Family>(_segment: &Segment<'_, S, Self>, found: &Found<F>) -> bool {
        found.confirmed
    }

    #[inline(always)]
    fn advance<S: Family, F: Table>(
        _segment: &Segment<'_, S, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
        now_ns: u64,
    ) -> Progress {
        let before = Before::of(found);
        F::advance_udp(key, found.entry, before, now_ns).take(key, found)
    }

    #[inline(always)]
    fn advance_one_way<F: Table>(
        _segment: &Segment<'_, F, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
        now_ns: u64,
    ) -> Progress {
        advance_one_way(key, found, now_ns)
    }

    /// A client's datagram stands alone and goes to another backend; what a backend still sends is
    /// forwarded.
    #[inline(always)]
    fn give_up<S: Family, F: Table>(
        _segment: &Segment<'_, S, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
    ) -> Result<Progress, Reason> {
        if found.entry.side == side::CLIENT {
            remove_pair::<F>(key, found);
            return Ok(Progress::Over);
        }
        Ok(Progress::On)
    }
}

/// Carries out what a datagram means for its flow's state.
#[inline(always)]
pub fn advance<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>, now_ns: u64) -> Progress {
    let twin = twin::<F>(key, found.entry);
    if found.entry.side == side::BACKEND {
        if found.entry.state == state::HALF_OPEN {
            found.entry.state = state::ANSWERED;
            found.changed |= part::STATE;
        }
        if let Some(mut client) = twin {
            client.entry.state = found.entry.state;
            client.seen(found, now_ns);
        }
        return Progress::On;
    }
    // Its source port may be another flow's by now.
    let Some(mut twin) = twin else {
        remove_pair::<F>(key, found);
        return Progress::Over;
    };
    if confirms(found, state::ANSWERED, now_ns) {
        return confirm::<F>(key, found, &mut twin, now_ns);
    }
    twin.seen(found, now_ns);
    Progress::On
}

/// The client's second datagram is all that is seen of a flow whose replies go past the balancer.
#[inline(never)]
fn advance_one_way<F: Table>(
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    if confirms(found, state::HALF_OPEN, now_ns) {
        return confirm_one_way::<F>(key, found, now_ns);
    }
    Progress::On
}

/// The client's datagram confirms a flow that is in this state; or it was confirmed before but found the
/// table full, and its next attempt is due.
#[inline(always)]
fn confirms<F: Family>(found: &Found<F>, ready: u8, now_ns: u64) -> bool {
    if found.entry.state == ready {
        return budget::spend(Budgeted::UnprovenFlow);
    }
    found.entry.state == state::ESTABLISHED && retry_is_due(found, now_ns)
}
