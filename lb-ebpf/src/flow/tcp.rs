//! The life of a TCP flow: what each segment means for its state, and when it is confirmed.

use lb_common::{
    Budgeted,
    flow::{FlowKey, flag, side, state},
    reason::Reason,
};

use super::{
    Found,
    life::{Life, Progress, confirm, confirm_one_way, retry_is_due},
    once::Before,
    remove_pair, reset, twin,
};
use crate::{
    budget,
    family::Family,
    load,
    packet::{Segment, Tcp, tcp_flag},
    select,
    table::{Table, part},
};

/// How far beyond the SYN-ACK's sequence number the confirming acknowledgement may lie: a client
/// that uses TCP Fast Open (RFC 7413) may acknowledge data with it. A blind guess succeeds once in
/// 65,536 tries.
const CONFIRM_WINDOW: u32 = 1 << 16;

impl Life for Tcp {
    /// A SYN opens a flow.
    #[inline(always)]
    fn opens<F: Family>(segment: &Segment<'_, F, Self>) -> bool {
        segment.is_syn()
    }

    /// Any segment may belong to a flow that another balancer opened; a reset ends what it belongs to.
    #[inline(always)]
    fn opens_one_way<F: Family>(segment: &Segment<'_, F, Self>) -> bool {
        !segment.has(tcp_flag::RST)
    }

    #[inline(always)]
    fn refusal(reason: Reason) -> Reason {
        reason
    }

    #[inline(always)]
    fn is_steady<S: Family, F: Family>(segment: &Segment<'_, S, Self>, found: &Found<F>) -> bool {
        use tcp_flag::{FIN, RST, SYN};
        found.confirmed && found.entry.state == state::ESTABLISHED && !segment.has(SYN | FIN | RST)
    }

    #[inline(always)]
    fn advance<S: Family, F: Table>(
        segment: &Segment<'_, S, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
        now_ns: u64,
    ) -> Progress {
        let signal = Signal::of(segment);
        let before = Before::of(found);
        F::advance_tcp(&signal, key, found.entry, before, now_ns).take(key, found)
    }

    #[inline(always)]
    fn advance_one_way<F: Table>(
        segment: &Segment<'_, F, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
        now_ns: u64,
    ) -> Progress {
        advance_one_way(&Signal::of(segment), key, found, now_ns)
    }

    /// A SYN stands alone and goes to another backend, a reset is forwarded, anything else is answered
    /// with one.
    #[inline(always)]
    fn give_up<S: Family, F: Table>(
        segment: &Segment<'_, S, Self>,
        key: &FlowKey<F::Address>,
        found: &mut Found<F>,
    ) -> Result<Progress, Reason> {
        if segment.is_syn() && found.entry.side == side::CLIENT {
            remove_pair::<F>(key, found);
            return Ok(Progress::Over);
        }
        if !segment.has(tcp_flag::RST) {
            reset::<F>(key, found);
            return Err(Reason::BackendDown);
        }
        Ok(Progress::On)
    }
}

/// What of a segment bears on its flow's state, in host byte order.
#[repr(C)]
pub struct Signal {
    /// Bits of [`tcp_flag`].
    flags: u32,
    payload: u32,
    sequence: u32,
    acknowledgement: u32,
}

impl Signal {
    #[inline(always)]
    fn of<F: Family>(segment: &Segment<'_, F, Tcp>) -> Self {
        Self {
            flags: segment.transport.flags as u32,
            payload: segment.payload,
            sequence: u32::from_be(segment.transport.sequence_be),
            acknowledgement: u32::from_be(segment.transport.acknowledgement_be),
        }
    }

    /// Any of these [`tcp_flag`]s is set.
    #[inline(always)]
    fn has(&self, flags: u8) -> bool {
        self.flags & flags as u32 != 0
    }

    #[inline(always)]
    fn is_syn(&self) -> bool {
        tcp_flag::is_syn(self.flags as u8)
    }
}

/// Carries out what a segment means for its flow's state.
#[inline(always)]
pub fn advance<F: Table>(
    signal: &Signal,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    let before = found.entry.state;
    let progress = carry_out(signal, key, found, now_ns);
    if progress == Progress::On {
        load::follow(found.entry, before);
    }
    progress
}

#[inline(always)]
fn carry_out<F: Table>(
    signal: &Signal,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    let from = found.entry.side;
    let mut twin = twin::<F>(key, found.entry);

    if from == side::CLIENT {
        // A half-open entry whose twin is gone would send packets from a source port that may be
        // another flow's by now.
        let orphan = !found.confirmed && twin.is_none();
        let renewed = signal.is_syn() && found.entry.state >= state::FIN;
        if orphan || renewed {
            select::note_before::<F>(found.entry, now_ns);
            remove_pair::<F>(key, found);
            return Progress::Over;
        }
        if confirms(signal, found, now_ns)
            && let Some(twin_now) = &mut twin
        {
            if confirm::<F>(key, found, twin_now, now_ns) == Progress::Over {
                return Progress::Over;
            }
            twin = super::twin::<F>(key, found.entry);
        }
    } else if tcp_flag::is_syn_ack(signal.flags as u8)
        && !found.confirmed
        && !(state::ESTABLISHED..=state::CLOSED).contains(&found.entry.state)
    {
        // Even after a RST: that may have been the answer to a straggler of the connection before.
        found.entry.state = state::SYN_ACKED;
        found.changed |= part::STATE;
        if let Some(client) = &mut twin {
            client.entry.pending = signal.sequence.wrapping_add(1);
        }
    }
    end(signal, found);
    if let Some(twin) = &mut twin {
        if found.changed & part::STATE != 0 {
            twin.entry.state = found.entry.state;
            twin.entry.closed_by = found.entry.closed_by;
            twin.entry.flags |= found.entry.flags & flag::BACKEND_CLOSED_FIRST;
        }
        twin.seen(found, now_ns);
    }
    Progress::On
}

/// What FIN, RST, and data after RST mean for a flow's state.
#[inline(always)]
fn end<F: Family>(signal: &Signal, found: &mut Found<F>) {
    let from = found.entry.side;
    let entry = &mut *found.entry;
    if signal.has(tcp_flag::RST) {
        entry.state = state::RESET;
    } else if signal.has(tcp_flag::FIN) && can_close(entry.state, found.confirmed) {
        if entry.closed_by == 0 && from == side::BACKEND {
            entry.flags |= flag::BACKEND_CLOSED_FIRST;
        }
        entry.closed_by |= from;
        entry.state = closing_state(entry.closed_by);
    } else if entry.state == state::RESET && found.confirmed && signal.payload > 0 {
        // Whoever sends data did not take the reset for valid (RFC 5961, section 3.2).
        entry.state = closing_state(entry.closed_by);
    } else {
        return;
    }
    found.changed |= part::STATE;
}

/// The same for a flow of which the balancer sees the client's packets only.
#[inline(never)]
fn advance_one_way<F: Table>(
    signal: &Signal,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    if signal.is_syn() && found.entry.state >= state::FIN {
        load::end(found.entry);
        F::remove(key);
        return Progress::Over;
    }
    let before = found.entry.state;
    if confirms_one_way(signal, found, now_ns)
        && confirm_one_way::<F>(key, found, now_ns) == Progress::Over
    {
        return Progress::Over;
    }
    end(signal, found);
    load::follow(found.entry, before);
    Progress::On
}

/// A FIN in this state closes a direction: not where the flow was refused before it was open.
#[inline(always)]
fn can_close(flow_state: u8, confirmed: bool) -> bool {
    flow_state >= state::ESTABLISHED && (confirmed || flow_state != state::RESET)
}

#[inline(always)]
fn closing_state(closed_by: u8) -> u8 {
    match closed_by {
        0 => state::ESTABLISHED,
        side::CLIENT | side::BACKEND => state::FIN,
        _ => state::CLOSED,
    }
}

/// The client's segment proves that it got the backend's SYN-ACK; or the flow was confirmed before
/// but found the table full, and its next attempt is due.
#[inline(always)]
fn confirms<F: Family>(signal: &Signal, found: &Found<F>, now_ns: u64) -> bool {
    if found.confirmed || !signal.has(tcp_flag::ACK) || signal.has(tcp_flag::SYN | tcp_flag::RST) {
        return false;
    }
    let acknowledges = signal.acknowledgement.wrapping_sub(found.entry.pending) < CONFIRM_WINDOW;
    match found.entry.state {
        state::SYN_ACKED => acknowledges,
        // A forged reset came before it; the SYN-ACK was seen all the same.
        state::RESET => {
            found.entry.flags & flag::REFUSED == 0 && found.entry.pending != 0 && acknowledges
        }
        state::ESTABLISHED => retry_is_due(found, now_ns),
        _ => false,
    }
}

/// The client's segment follows its first: all that is seen of a flow whose replies go past the
/// balancer. Or the flow was confirmed before but found the table full, and its next attempt is due.
#[inline(always)]
fn confirms_one_way<F: Family>(signal: &Signal, found: &Found<F>, now_ns: u64) -> bool {
    if found.confirmed || signal.has(tcp_flag::SYN | tcp_flag::RST) {
        return false;
    }
    match found.entry.state {
        state::HALF_OPEN => budget::spend(Budgeted::UnprovenFlow),
        state::ESTABLISHED => retry_is_due(found, now_ns),
        _ => false,
    }
}
