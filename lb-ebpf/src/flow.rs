//! Tracked flows: finding them, and what each TCP segment does to their state.
//!
//! Confirmed entries are changed in place, without locks. Both directions of a flow may pass on two
//! CPUs at once; each writes its own entry, and what one writes into its twin (state, next hop) are
//! single bytes or values that the next packet writes again. Half-open entries are read and written
//! through `half_open`, as copies.

use aya_ebpf::bindings::BPF_NOEXIST;
use lb_common::{
    Address as _, PROTOCOL_TCP,
    flow::{Flow, FlowKey, flag, side, state},
    hash,
    reason::Reason,
    service::Timeouts,
};

use crate::{
    family::Family,
    half_open::{Table, part},
    maps,
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
    /// In place where the flow is confirmed, else a copy.
    pub entry: &'static mut Flow<F::Address>,
    pub confirmed: bool,
    /// Parts of a copy that were changed: bits of [`part`].
    changed: u64,
}

/// Copies of entries of the half-open table, and the twin's key. They lie in a per-CPU map, because
/// the stack of 512 bytes has no room for them.
#[repr(C)]
pub struct Copies<A> {
    found: Flow<A>,
    twin: Flow<A>,
    twin_key: FlowKey<A>,
}

/// What a segment means for its flow.
pub enum Progress<F: Family> {
    /// It goes on, by this entry.
    On(Found<F>),
    /// The flow is no more, and its entries are removed: the segment stands alone.
    Over,
}

/// The confirmed flow of this 5-tuple.
#[inline(always)]
pub fn confirmed<F: Table>(key: &FlowKey<F::Address>) -> Option<Found<F>> {
    Some(Found {
        entry: lookup::<F>(key)?,
        confirmed: true,
        changed: 0,
    })
}

/// The half-open flow of this 5-tuple, which has this hash, unless its time is over.
#[inline(always)]
pub fn half_open<F: Table>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    now_ns: u64,
) -> Option<Found<F>> {
    let entry = &mut copies::<F>()?.found;
    if !F::read(key, key_hash, entry) {
        return None;
    }
    let found = Found {
        entry,
        confirmed: false,
        changed: 0,
    };
    (!is_over(key, &found, now_ns)).then_some(found)
}

/// A half-open flow whose timer ran out in both directions, or whose backend's entry is another
/// backend's by now: nobody removes it from its table, so whoever finds it has to ask.
#[inline(always)]
fn is_over<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>, now_ns: u64) -> bool {
    let entry = &*found.entry;
    let Some(backend) = maps::BACKENDS.get(entry.backend_idx) else {
        return true;
    };
    let (address, port_be) = if entry.side == side::CLIENT {
        (entry.destination, entry.destination_port_be)
    } else {
        (key.source, key.source_port_be)
    };
    if port_be != backend.port_be || !address.same(F::backend_address(backend)) {
        return true;
    }
    let Some(service) = maps::SERVICES.get(backend.service_idx) else {
        return true;
    };
    let time_ns = service.timeouts.of_ns(entry.state);
    if now_ns.saturating_sub(entry.last_seen_ns) <= time_ns {
        return false;
    }
    match twin::<F>(key, found) {
        Some(twin) => now_ns.saturating_sub(twin.last_seen_ns) > time_ns,
        None => true,
    }
}

#[inline(always)]
fn lookup<F: Table>(key: &FlowKey<F::Address>) -> Option<&'static mut Flow<F::Address>> {
    // SAFETY: entries stay mapped while the program runs (RCU); the module says who writes them.
    F::flows()
        .get_ptr_mut(key)
        .map(|entry| unsafe { &mut *entry })
}

#[inline(always)]
fn copies<F: Table>() -> Option<&'static mut Copies<F::Address>> {
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself. `found`
    // and `twin` are borrowed apart: the first by `half_open` alone, the second by `twin`.
    F::copies().map(|copies| unsafe { &mut *copies })
}

#[inline(always)]
fn remove<F: Table>(key: &FlowKey<F::Address>, confirmed: bool) {
    if confirmed {
        // That it is gone already is no error.
        let _ = F::flows().remove(key);
    } else {
        F::remove(key);
    }
}

/// The key of an entry's twin.
#[inline(always)]
fn twin_key<F: Table>(found: &Found<F>) -> Option<&'static FlowKey<F::Address>> {
    let key = &mut copies::<F>()?.twin_key;
    let entry = &*found.entry;
    key.source = entry.destination.copied();
    key.destination = entry.source.copied();
    key.source_port_be = entry.destination_port_be;
    key.destination_port_be = entry.source_port_be;
    key.protocol = PROTOCOL_TCP as u32;
    Some(key)
}

/// The twin of an entry, unless it was displaced or its key now belongs to another flow. As
/// [`Found::entry`], it is a copy where the flow is half-open.
#[inline(always)]
fn twin<F: Table>(
    key: &FlowKey<F::Address>,
    found: &Found<F>,
) -> Option<&'static mut Flow<F::Address>> {
    let twin_key = twin_key(found)?;
    let twin = if found.confirmed {
        lookup::<F>(twin_key)?
    } else {
        let copy = &mut copies::<F>()?.twin;
        if !F::read(twin_key, hash::flow(twin_key), copy) {
            return None;
        }
        copy
    };
    twin.twin_key(PROTOCOL_TCP as u32).same(key).then_some(twin)
}

/// Writes parts of a half-open flow's twin back.
#[inline(always)]
fn write_twin<F: Table>(found: &Found<F>, twin: &Flow<F::Address>, parts: u64) {
    if !found.confirmed
        && let Some(twin_key) = twin_key(found)
    {
        F::write(twin_key, twin, parts);
    }
}

/// Notes that a packet of the flow passed, and keeps what it changed.
#[inline(always)]
pub fn seen<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>, now_ns: u64) {
    found.entry.last_seen_ns = now_ns;
    if !found.confirmed {
        F::write(key, found.entry, found.changed | part::LAST_SEEN);
    }
}

/// Removes an entry, and its twin where that is still its own.
#[inline(always)]
pub fn remove_pair<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) {
    if twin::<F>(key, found).is_some()
        && let Some(twin_key) = twin_key(found)
    {
        remove::<F>(twin_key, found.confirmed);
    }
    remove::<F>(key, found.confirmed);
}

/// Marks both directions as reset.
#[inline(always)]
pub fn reset<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>) {
    found.entry.state = state::RESET;
    if !found.confirmed {
        F::write(key, found.entry, part::STATE);
    }
    if let Some(twin) = twin::<F>(key, found) {
        twin.state = state::RESET;
        write_twin(found, twin, part::STATE);
    }
}

/// An established flow that this segment does not change: nothing to look up but its own entry.
#[inline(always)]
pub fn is_steady<F: Table>(segment: &Segment<'_, F>, found: &Found<F>) -> bool {
    use tcp_flag::{FIN, RST, SYN};
    found.confirmed && found.entry.state == state::ESTABLISHED && !segment.has(SYN | FIN | RST)
}

/// Carries out what a segment means for its flow's state.
#[inline(always)]
pub fn advance<F: Table>(
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
        if confirms(segment, &found, now_ns)
            && let Some(twin_now) = twin
        {
            let Some(now) = confirm::<F>(key, found, twin_now, now_ns) else {
                return Progress::Over;
            };
            found = now;
            twin = self::twin::<F>(key, &found);
        }
    } else if segment.is_syn_ack() && !found.confirmed && found.entry.state != state::ESTABLISHED {
        // Even after a RST: that may have been the answer to a straggler of the connection before.
        found.entry.state = state::SYN_ACKED;
        found.changed |= part::STATE;
        if let Some(client) = &mut twin {
            client.state = state::SYN_ACKED;
            client.pending = u32::from_be(segment.tcp.sequence_be).wrapping_add(1);
            write_twin(&found, client, part::STATE);
        }
    }

    let entry = &mut *found.entry;
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
        return Progress::On(found);
    }
    found.changed |= part::STATE;
    if let Some(twin) = twin {
        twin.state = found.entry.state;
        twin.closed_by = found.entry.closed_by;
        twin.flags |= found.entry.flags & flag::BACKEND_CLOSED_FIRST;
        write_twin(&found, twin, part::STATE);
    }
    Progress::On(found)
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
fn confirms<F: Table>(segment: &Segment<'_, F>, found: &Found<F>, now_ns: u64) -> bool {
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
/// is counted once, and tries again about every second. `None` when somebody removed it meanwhile.
#[inline(always)]
fn confirm<F: Table>(
    key: &FlowKey<F::Address>,
    mut found: Found<F>,
    twin: &mut Flow<F::Address>,
    now_ns: u64,
) -> Option<Found<F>> {
    let twin_key = twin_key(&found)?;
    found.entry.state = state::ESTABLISHED;
    twin.state = state::ESTABLISHED;

    // Into the new table before out of the old one: whoever allocates a source port looks here
    // last, so that a port is at no time in neither.
    if F::flows()
        .insert(twin_key, &*twin, BPF_NOEXIST as u64)
        .is_ok()
    {
        let entry = &*found.entry;
        if F::flows().insert(key, entry, BPF_NOEXIST as u64).is_ok() {
            remove::<F>(twin_key, false);
            remove::<F>(key, false);
            stats::count(Reason::FlowConfirmed);
            return confirmed(key);
        }
        remove::<F>(twin_key, true);
    }
    found.entry.pending = (now_ns >> SECOND_SHIFT) as u32;
    if found.entry.flags & flag::REFUSED == 0 {
        found.entry.flags |= flag::REFUSED;
        stats::count(Reason::FlowTableFull);
    }
    found.changed |= part::STATE;
    write_twin(&found, twin, part::STATE);
    Some(found)
}

/// Notes the next hop that the client's packets come by, for those that go back to it. Both lie in
/// the entry at hand, so that the twin is looked up only when they change.
#[inline(always)]
pub fn learn_next_hop<F: Table>(
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
    found.changed |= part::NEXT_HOP;
    if let Some(twin) = twin::<F>(key, found) {
        twin.ifindex = ifindex;
        copy_mac(&mut twin.peer_mac, &segment.ethernet.source);
        copy_mac(&mut twin.local_mac, &segment.ethernet.destination);
        write_twin(found, twin, part::NEXT_HOP);
    }
}

/// Takes a source port: inserts the backend's side of a new flow under `key` if no flow, half-open
/// or confirmed, has that key. `timeouts` are those by which a half-open one is over.
#[inline(always)]
pub fn claim<F: Table>(
    key: &FlowKey<F::Address>,
    entry: &Flow<F::Address>,
    timeouts: &Timeouts,
) -> bool {
    if !F::insert(key, hash::flow(key), entry, Some(timeouts)) {
        return false;
    }
    // Between the caller's look and this insert the key's holder may have been confirmed, which
    // moves it. It is inserted there before it is removed here, so this second look finds it.
    if lookup::<F>(key).is_some() {
        remove::<F>(key, false);
        return false;
    }
    true
}

/// Inserts the client's side of a new flow, whose replies have this key.
#[inline(always)]
pub fn insert_client<F: Table>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    entry: &Flow<F::Address>,
    replies_key: &FlowKey<F::Address>,
) -> Result<(), Reason> {
    if !F::insert(key, key_hash, entry, None) {
        remove::<F>(replies_key, false);
        return Err(Reason::TableError);
    }
    Ok(())
}
