//! Tracked flows: finding them, and what each TCP segment does to their state.
//!
//! The entries of hash maps are changed in place, without locks. Both directions of a flow may
//! pass on two CPUs at once; each writes its own entry, and what one writes into its twin (state,
//! next hop) are single bytes or values that the next packet writes again.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use lb_common::{
    PROTOCOL_TCP,
    flow::{Flow, FlowKey, flag, side, state},
    reason::Reason,
};

use crate::{
    family::Family,
    packet::{Segment, copy_mac, same_mac, tcp_flag},
    stats,
};

/// How far beyond the SYN-ACK's sequence number the confirming acknowledgement may lie: a client
/// that uses TCP Fast Open (RFC 7413) may acknowledge data with it. A blind guess succeeds once in
/// 65,536 tries.
const CONFIRM_WINDOW: u32 = 1 << 16;
/// Nanoseconds of about a second, as a shift.
const SECOND_SHIFT: u64 = 30;

/// An entry and the table that holds it.
pub struct Found<F: Family> {
    pub entry: &'static mut Flow<F::Address>,
    pub confirmed: bool,
}

/// What a segment means for its flow.
pub enum Progress<F: Family> {
    /// It goes on, by this entry.
    On(&'static mut Flow<F::Address>),
    /// The flow is no more, and its entries are removed: the segment stands alone.
    Over,
}

/// The flow of this 5-tuple, confirmed or half-open.
#[inline(always)]
pub fn find<F: Family>(key: &FlowKey<F::Address>) -> Option<Found<F>> {
    match lookup::<F>(key, true) {
        Some(entry) => Some(Found {
            entry,
            confirmed: true,
        }),
        None => lookup::<F>(key, false).map(|entry| Found {
            entry,
            confirmed: false,
        }),
    }
}

/// The confirmed flow that holds a source port, or else, if asked for, the half-open one.
#[inline(always)]
pub fn holder<F: Family>(key: &FlowKey<F::Address>, half_open_too: bool) -> Option<Found<F>> {
    if half_open_too {
        return find(key);
    }
    lookup::<F>(key, true).map(|entry| Found {
        entry,
        confirmed: true,
    })
}

#[inline(always)]
fn lookup<F: Family>(
    key: &FlowKey<F::Address>,
    confirmed: bool,
) -> Option<&'static mut Flow<F::Address>> {
    let entry = if confirmed {
        F::flows().get_ptr_mut(key)
    } else {
        F::half_open().get_ptr_mut(key)
    };
    // SAFETY: entries stay mapped while the program runs (RCU); the module says who writes them.
    entry.map(|entry| unsafe { &mut *entry })
}

#[inline(always)]
fn remove<F: Family>(key: &FlowKey<F::Address>, confirmed: bool) {
    // That it is gone already is no error.
    let _ = if confirmed {
        F::flows().remove(key)
    } else {
        F::half_open().remove(key)
    };
}

/// The twin of an entry, unless it was evicted or its key now belongs to another flow.
#[inline(always)]
fn twin<F: Family>(
    key: &FlowKey<F::Address>,
    found: &Found<F>,
) -> Option<&'static mut Flow<F::Address>> {
    let twin = lookup::<F>(&found.entry.twin_key(PROTOCOL_TCP as u32), found.confirmed)?;
    twin.twin_key(PROTOCOL_TCP as u32).same(key).then_some(twin)
}

/// Removes an entry, and its twin where that is still its own.
#[inline(always)]
pub fn remove_pair<F: Family>(key: &FlowKey<F::Address>, found: &Found<F>) {
    if twin::<F>(key, found).is_some() {
        remove::<F>(&found.entry.twin_key(PROTOCOL_TCP as u32), found.confirmed);
    }
    remove::<F>(key, found.confirmed);
}

/// Marks both directions as reset.
#[inline(always)]
pub fn reset<F: Family>(key: &FlowKey<F::Address>, found: &mut Found<F>) {
    found.entry.state = state::RESET;
    if let Some(twin) = twin::<F>(key, found) {
        twin.state = state::RESET;
    }
}

/// An established flow that this segment does not change: nothing to look up but its own entry.
#[inline(always)]
pub fn is_steady<F: Family>(segment: &Segment<'_, F>, found: &Found<F>) -> bool {
    use tcp_flag::{FIN, RST, SYN};
    found.confirmed && found.entry.state == state::ESTABLISHED && !segment.has(SYN | FIN | RST)
}

/// Carries out what a segment means for its flow's state.
#[inline(always)]
pub fn advance<F: Family>(
    segment: &Segment<'_, F>,
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    now_ns: u64,
) -> Progress<F> {
    let from = found.entry.side;
    let mut twin = twin::<F>(key, &found);

    if from == side::CLIENT {
        // A half-open entry whose twin is gone would send packets from a source port that may be
        // another flow's by now.
        let orphan = !found.confirmed && twin.is_none();
        let renewed = segment.is_syn() && found.entry.state >= state::FIN;
        if orphan || renewed {
            remove_pair::<F>(key, &found);
            return Progress::Over;
        }
        if confirms(segment, &found, now_ns) && confirm::<F>(key, &mut found, now_ns) {
            let Some(entry) = lookup::<F>(key, true) else {
                return Progress::Over;
            };
            twin = lookup::<F>(&entry.twin_key(PROTOCOL_TCP as u32), true);
            found = Found {
                entry,
                confirmed: true,
            };
        }
    } else if segment.is_syn_ack() && !found.confirmed && found.entry.state != state::ESTABLISHED {
        // Even after a RST: that may have been the answer to a straggler of the connection before.
        found.entry.state = state::SYN_ACKED;
        if let Some(client) = &mut twin {
            client.state = state::SYN_ACKED;
            client.pending = u32::from_be(segment.tcp.sequence_be).wrapping_add(1);
        }
    }

    let entry = found.entry;
    if segment.has(tcp_flag::RST) {
        entry.state = state::RESET;
    } else if segment.has(tcp_flag::FIN) && entry.state >= state::ESTABLISHED {
        if entry.closed_by == 0 && from == side::BACKEND {
            entry.flags |= flag::BACKEND_CLOSED_FIRST;
        }
        entry.closed_by |= from;
        entry.state = closing_state(entry.closed_by);
    } else if entry.state == state::RESET && found.confirmed && segment.payload > 0 {
        // Whoever sends data did not take the reset for valid (RFC 5961, section 3.2).
        entry.state = closing_state(entry.closed_by);
    } else {
        return Progress::On(entry);
    }
    if let Some(twin) = twin {
        twin.state = entry.state;
        twin.closed_by = entry.closed_by;
        twin.flags |= entry.flags & flag::BACKEND_CLOSED_FIRST;
    }
    Progress::On(entry)
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
fn confirms<F: Family>(segment: &Segment<'_, F>, found: &Found<F>, now_ns: u64) -> bool {
    if found.confirmed || !segment.has(tcp_flag::ACK) || segment.has(tcp_flag::SYN | tcp_flag::RST)
    {
        return false;
    }
    match found.entry.state {
        state::SYN_ACKED => {
            let acknowledged = u32::from_be(segment.tcp.acknowledgement_be);
            acknowledged.wrapping_sub(found.entry.pending) < CONFIRM_WINDOW
        }
        state::ESTABLISHED => found.entry.pending != (now_ns >> SECOND_SHIFT) as u32,
        _ => false,
    }
}

/// Moves a flow into the table of confirmed flows. When that is full the flow stays where it is,
/// is counted once, and tries again about every second.
#[inline(always)]
fn confirm<F: Family>(key: &FlowKey<F::Address>, found: &mut Found<F>, now_ns: u64) -> bool {
    let twin_key = found.entry.twin_key(PROTOCOL_TCP as u32);
    let Some(twin) = lookup::<F>(&twin_key, false) else {
        return false;
    };
    let entry = &mut *found.entry;
    entry.state = state::ESTABLISHED;
    twin.state = state::ESTABLISHED;

    // Into the new table before out of the old one: whoever allocates a source port looks here
    // last, so that a port is at no time in neither.
    if F::flows()
        .insert(&twin_key, &*twin, BPF_NOEXIST as u64)
        .is_ok()
    {
        if F::flows().insert(key, &*entry, BPF_NOEXIST as u64).is_ok() {
            remove::<F>(&twin_key, false);
            remove::<F>(key, false);
            stats::count(Reason::FlowConfirmed);
            return true;
        }
        remove::<F>(&twin_key, true);
    }
    entry.pending = (now_ns >> SECOND_SHIFT) as u32;
    if entry.flags & flag::REFUSED == 0 {
        entry.flags |= flag::REFUSED;
        stats::count(Reason::FlowTableFull);
    }
    false
}

/// Notes the next hop that the client's packets come by, for those that go back to it. Both lie in
/// the entry at hand, so that the twin is looked up only when they change.
#[inline(always)]
pub fn learn_next_hop<F: Family>(
    segment: &Segment<'_, F>,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    ifindex: u32,
) {
    let entry = &mut *found.entry;
    if entry.ifindex == ifindex && same_mac(&entry.peer_mac, &segment.ethernet.source) {
        return;
    }
    entry.ifindex = ifindex;
    copy_mac(&mut entry.peer_mac, &segment.ethernet.source);
    copy_mac(&mut entry.local_mac, &segment.ethernet.destination);
    if let Some(twin) = twin::<F>(key, found) {
        twin.ifindex = ifindex;
        copy_mac(&mut twin.peer_mac, &segment.ethernet.source);
        copy_mac(&mut twin.local_mac, &segment.ethernet.destination);
    }
}

/// Takes a source port: inserts the backend's side of a new flow under `key` if no flow, half-open
/// or confirmed, has that key.
#[inline(always)]
pub fn claim<F: Family>(key: &FlowKey<F::Address>, entry: &Flow<F::Address>) -> bool {
    if F::half_open()
        .insert(key, entry, BPF_NOEXIST as u64)
        .is_err()
    {
        return false;
    }
    // Between the caller's look and this insert the key's holder may have been confirmed, which
    // moves it. It is inserted there before it is removed here, so this second look finds it.
    if lookup::<F>(key, true).is_some() {
        remove::<F>(key, false);
        return false;
    }
    true
}

/// Inserts the client's side of a new flow, whose replies have this key.
#[inline(always)]
pub fn insert_client<F: Family>(
    key: &FlowKey<F::Address>,
    entry: &Flow<F::Address>,
    replies_key: &FlowKey<F::Address>,
) -> Result<(), Reason> {
    if F::half_open().insert(key, entry, BPF_ANY as u64).is_err() {
        remove::<F>(replies_key, false);
        return Err(Reason::TableError);
    }
    Ok(())
}
