//! The walk through a backend's source addresses and ports, for one that a new flow may have.

use core::ffi::c_void;

use lb_common::{
    Address as _, PROTOCOL_TCP, PROTOCOL_UDP,
    flow::{
        self as shared, FlowKey, PORT_ATTEMPTS_FRESH, PORT_ATTEMPTS_QUIET, REUSE_QUIET_NS,
        REUSE_TIME_WAIT_NS, state,
    },
    hash,
    reason::Reason,
};

use super::{Draft, draft};
use crate::{
    flow, maps, stats,
    table::{Inserted, Table},
};

/// Steps of the walk through the source ports. Primes above the greatest number of (address, port)
/// pairs that a backend can have (256 x 65,535) share no factor with any, so that each step visits
/// all of them; several, so that flows with the same start part ways.
pub const STEPS: [u32; 8] = [
    16_777_259, 16_777_289, 16_777_291, 16_777_331, 16_777_333, 16_777_337, 16_777_381, 16_777_421,
];

/// Makes the next pair the one that is tried. False when there is none.
#[inline(always)]
pub fn take_pair<F: Table>(draft: &mut Draft<F::Address>) -> bool {
    draft.attempts += 1;
    let port_count = draft.port_count;
    let position = draft.position;
    if port_count == 0 {
        return false;
    }
    let Some(address) = maps::SNAT.get(draft.snat_first + position / port_count) else {
        return false;
    };
    draft.replies_key.destination = F::snat_address(address);
    draft.replies_key.destination_port_be =
        ((draft.port_min + position % port_count) as u16).to_be();
    draft.position += draft.step;
    if draft.position >= draft.pairs {
        draft.position -= draft.pairs;
    }
    true
}

/// Tries the next pair: 1 ends the loop, 0 goes on.
pub extern "C" fn try_pair<F: Table>(_index: u32, _context: *mut c_void) -> i64 {
    const ON: i64 = 0;
    const DONE: i64 = 1;

    let Ok(draft) = draft::<F>() else {
        return DONE;
    };
    let attempt = draft.attempts;
    if !take_pair::<F>(draft) {
        return DONE;
    }

    // A key that is taken is told by the insert, in one look: most tries find it free.
    let key = &draft.replies_key;
    let key_hash = hash::flow(key);
    let mut inserted = F::claim(key, &draft.replies, &draft.timeouts, 1);
    let first_reusable = match inserted {
        Inserted::HalfOpenThere if key.protocol == PROTOCOL_TCP as u32 => PORT_ATTEMPTS_QUIET,
        Inserted::ConfirmedThere | Inserted::HalfOpenThere => PORT_ATTEMPTS_FRESH,
        Inserted::Yes | Inserted::Never => u32::MAX,
    };
    if attempt >= first_reusable
        && let Some(holder) = flow::held::<F>(key, key_hash)
        && is_reusable::<F>(key, &holder, attempt, draft.now_ns)
    {
        flow::remove_pair::<F>(key, &holder);
        stats::count(Reason::PortReused);
        inserted = F::insert(key, key_hash, &draft.replies, Some(&draft.timeouts));
    }
    if inserted != Inserted::Yes {
        return ON;
    }
    draft.claimed = 1;
    DONE
}

/// The holder of a source port is over and quiet, so that a new flow may have its port.
#[inline(always)]
fn is_reusable<F: Table>(
    key: &FlowKey<F::Address>,
    holder: &flow::Found<F>,
    attempt: u32,
    now_ns: u64,
) -> bool {
    let quiet_ns = flow::quiet_ns(key, holder, now_ns);
    let time_wait = holder.entry.flags & shared::flag::BACKEND_CLOSED_FIRST != 0;
    match holder.entry.state {
        state::CLOSED if time_wait && attempt < PORT_ATTEMPTS_QUIET => {
            quiet_ns >= REUSE_TIME_WAIT_NS
        }
        state::CLOSED | state::RESET => quiet_ns >= REUSE_QUIET_NS,
        // Most exchanges over UDP are a question and its answer.
        state::ANSWERED if key.protocol == PROTOCOL_UDP as u32 => {
            !holder.confirmed && quiet_ns >= REUSE_QUIET_NS
        }
        state::HALF_OPEN | state::SYN_ACKED => {
            !holder.confirmed && attempt >= PORT_ATTEMPTS_QUIET && quiet_ns >= REUSE_QUIET_NS
        }
        _ => false,
    }
}

/// Claims for the replies of a flow of mode `route` the client's own address and port.
#[inline(always)]
pub fn claim_own<F: Table>(
    key: &FlowKey<F::Address>,
    draft: &mut Draft<F::Address>,
) -> Result<(), Reason> {
    draft.replies_key.destination = key.source.copied();
    draft.replies_key.destination_port_be = key.source_port_be;
    let replies_key = &draft.replies_key;
    let key_hash = hash::flow(replies_key);
    if F::insert(replies_key, key_hash, &draft.replies, Some(&draft.timeouts)) == Inserted::Yes {
        return Ok(());
    }
    // The client itself gives the port to another connection: what it had is over for it. Or the holder
    // is what was left of this very flow when its other entry was displaced.
    if let Some(holder) = flow::held::<F>(replies_key, key_hash)
        && (matches!(holder.entry.state, state::CLOSED | state::RESET)
            || holder.entry.twin_key(key.protocol).same(key)
            || flow::is_over::<F>(replies_key, &holder, draft.now_ns))
    {
        flow::remove_pair::<F>(replies_key, &holder);
        stats::count(Reason::PortReused);
        if F::insert(replies_key, key_hash, &draft.replies, Some(&draft.timeouts)) == Inserted::Yes
        {
            return Ok(());
        }
    }
    Err(Reason::FlowConflict)
}
