//! Tracked flows: finding them, and what each TCP segment does to their state.
//!
//! Confirmed entries are changed in place, without locks. Both directions of a flow may pass on two
//! CPUs at once; each writes its own entry, and what one writes into its twin (state, next hop) are
//! single bytes or values that the next packet writes again. Half-open entries are read and written
//! through `half_open`, as copies.

use lb_common::{
    Address as _, PROTOCOL_TCP,
    flow::{Flow, FlowKey, flag, side, state},
    hash,
    reason::Reason,
};

use crate::{
    family::Family,
    maps,
    packet::{Segment, copy_mac, same_mac, tcp_flag},
    stats,
    table::{Inserted, Table, part},
};

/// How far beyond the SYN-ACK's sequence number the confirming acknowledgement may lie: a client
/// that uses TCP Fast Open (RFC 7413) may acknowledge data with it. A blind guess succeeds once in
/// 65,536 tries.
const CONFIRM_WINDOW: u32 = 1 << 16;
/// Nanoseconds of about a second, as a shift.
const SECOND_SHIFT: u64 = 30;

/// An entry, and of which kind it is.
pub struct Found<F: Family> {
    /// In place where the flow is confirmed, else a copy.
    pub entry: &'static mut Flow<F::Address>,
    pub confirmed: bool,
    /// Parts of a copy that were changed: bits of [`part`].
    changed: u64,
}

/// Copies of half-open entries, and the twin's key. They lie in a per-CPU map, because
/// the stack of 512 bytes has no room for them.
#[repr(C)]
pub struct Copies<A> {
    found: Flow<A>,
    twin: Flow<A>,
    twin_key: FlowKey<A>,
}

/// What a segment means for its flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    On,
    /// The flow is no more, and its entries are removed: the segment stands alone.
    Over,
}

/// What of a segment bears on its flow's state, in host byte order.
pub struct Signal {
    /// Bits of [`tcp_flag`].
    flags: u8,
    payload: u32,
    sequence: u32,
    acknowledgement: u32,
}

impl Signal {
    #[inline(always)]
    pub fn of<F: Family>(segment: &Segment<'_, F>) -> Self {
        Self {
            flags: segment.tcp.flags,
            payload: segment.payload,
            sequence: u32::from_be(segment.tcp.sequence_be),
            acknowledgement: u32::from_be(segment.tcp.acknowledgement_be),
        }
    }

    /// Any of these [`tcp_flag`]s is set.
    #[inline(always)]
    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// The flow of this 5-tuple, which has this hash; not a half-open one whose time is over.
#[inline(always)]
pub fn find<F: Table>(key: &FlowKey<F::Address>, key_hash: u64, now_ns: u64) -> Option<Found<F>> {
    held::<F>(key, key_hash).filter(|found| found.confirmed || !is_over::<F>(key, found, now_ns))
}

/// What the table holds under this key, whether its time is over or not.
#[inline(always)]
pub fn held<F: Table>(key: &FlowKey<F::Address>, key_hash: u64) -> Option<Found<F>> {
    let position = F::find(key, key_hash)?;
    if position.is_confirmed() {
        return Some(Found {
            entry: F::at(position)?,
            confirmed: true,
            changed: 0,
        });
    }
    let entry = &mut copies::<F>()?.found;
    F::read(key, key_hash, entry).then_some(Found {
        entry,
        confirmed: false,
        changed: 0,
    })
}

/// A flow whose timer ran out in both directions, or whose backend's entry is another backend's by
/// now. The sweeper comes by about once a second, or never while no daemon runs: who finds a
/// half-open flow asks.
#[inline(never)]
pub fn is_over<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>, now_ns: u64) -> bool {
    let entry = &*found.entry;
    let Some(backend) = maps::BACKENDS.get(entry.backend_idx) else {
        return true;
    };
    let (address, port_be) = if entry.side == side::CLIENT {
        (&entry.destination, entry.destination_port_be)
    } else {
        (&key.source, key.source_port_be)
    };
    if port_be != backend.port_be || !address.same(F::backend_address(backend)) {
        return true;
    }
    is_quiet(entry, now_ns) && twin::<F>(key, found).is_none_or(|twin| is_quiet(twin.entry, now_ns))
}

/// No packet came this way for the time of the flow's state.
#[inline(always)]
pub fn is_quiet<A>(flow: &Flow<A>, now_ns: u64) -> bool {
    let service = maps::BACKENDS
        .get(flow.backend_idx)
        .and_then(|backend| maps::SERVICES.get(backend.service_idx));
    match service {
        // Another CPU may have noted a packet since this one read its clock.
        Some(service) => {
            now_ns.saturating_sub(flow.last_seen_ns) > service.timeouts.of_ns(flow.state)
        }
        None => true,
    }
}

#[inline(always)]
fn copies<F: Table>() -> Option<&'static mut Copies<F::Address>> {
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself. `found`
    // and `twin` are borrowed apart: the first by `half_open` alone, the second by `twin`.
    F::copies().map(|copies| unsafe { &mut *copies })
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

/// The other direction's entry.
struct Twin<F: Family> {
    key: &'static FlowKey<F::Address>,
    /// As [`Found::entry`].
    entry: &'static mut Flow<F::Address>,
    confirmed: bool,
}

impl<F: Table> Twin<F> {
    /// Keeps what was changed.
    #[inline(always)]
    fn write(&self, parts: u64) {
        if !self.confirmed {
            F::write(self.key, self.entry, parts);
        }
    }
}

/// The twin of an entry, unless it was displaced or its key now belongs to another flow.
#[inline(always)]
fn twin<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) -> Option<Twin<F>> {
    let twin_key = twin_key(found)?;
    let twin_hash = hash::flow(twin_key);
    let position = F::find(twin_key, twin_hash)?;
    let confirmed = position.is_confirmed();
    let entry = if confirmed {
        F::at(position)?
    } else {
        let copy = &mut copies::<F>()?.twin;
        if !F::read(twin_key, twin_hash, copy) {
            return None;
        }
        copy
    };
    entry
        .twin_key(PROTOCOL_TCP as u32)
        .same(key)
        .then_some(Twin {
            key: twin_key,
            entry,
            confirmed,
        })
}

/// Notes that a packet of the flow passed, and keeps what it changed.
#[inline(always)]
pub fn seen<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>, now_ns: u64) {
    found.entry.last_seen_ns = now_ns;
    if !found.confirmed {
        F::write(key, found.entry, found.changed | part::LAST_SEEN);
    }
}

/// Removes an entry, and its twin where that is still its own: true then.
#[inline(never)]
pub fn remove_pair<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) -> bool {
    let twin = twin::<F>(key, found);
    if let Some(twin) = &twin {
        F::remove(twin.key);
    }
    F::remove(key);
    twin.is_some()
}

/// Marks both directions as reset.
#[inline(never)]
pub fn reset<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>) {
    found.entry.state = state::RESET;
    if !found.confirmed {
        F::write(key, found.entry, part::STATE);
    }
    if let Some(twin) = twin::<F>(key, found) {
        twin.entry.state = state::RESET;
        twin.write(part::STATE);
    }
}

/// An established flow that this segment does not change: nothing to look up but its own entry.
#[inline(always)]
pub fn is_steady<F: Family>(segment: &Segment<'_, F>, found: &Found<F>) -> bool {
    use tcp_flag::{FIN, RST, SYN};
    found.confirmed && found.entry.state == state::ESTABLISHED && !segment.has(SYN | FIN | RST)
}

/// Carries out what a segment means for its flow's state. Not a part of the steady packet's path,
/// so it has a stack frame of its own.
#[inline(never)]
pub fn advance<F: Table>(
    signal: &Signal,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    now_ns: u64,
) -> Progress {
    let from = found.entry.side;
    let mut twin = twin::<F>(key, found);

    if from == side::CLIENT {
        // A half-open entry whose twin is gone would send packets from a source port that may be
        // another flow's by now.
        let orphan = !found.confirmed && twin.is_none();
        let renewed = tcp_flag::is_syn(signal.flags) && found.entry.state >= state::FIN;
        if orphan || renewed {
            remove_pair::<F>(key, found);
            return Progress::Over;
        }
        if confirms(signal, found, now_ns)
            && let Some(twin_now) = &mut twin
        {
            if confirm::<F>(key, found, twin_now, now_ns) == Progress::Over {
                return Progress::Over;
            }
            twin = self::twin::<F>(key, found);
        }
    } else if tcp_flag::is_syn_ack(signal.flags)
        && !found.confirmed
        && found.entry.state != state::ESTABLISHED
    {
        // Even after a RST: that may have been the answer to a straggler of the connection before.
        found.entry.state = state::SYN_ACKED;
        found.changed |= part::STATE;
        if let Some(client) = &mut twin {
            client.entry.state = state::SYN_ACKED;
            client.entry.pending = signal.sequence.wrapping_add(1);
            client.write(part::STATE);
        }
    }

    let entry = &mut *found.entry;
    if signal.has(tcp_flag::RST) {
        entry.state = state::RESET;
    } else if signal.has(tcp_flag::FIN) && entry.state >= state::ESTABLISHED {
        if entry.closed_by == 0 && from == side::BACKEND {
            entry.flags |= flag::BACKEND_CLOSED_FIRST;
        }
        entry.closed_by |= from;
        entry.state = closing_state(entry.closed_by);
    } else if entry.state == state::RESET && found.confirmed && signal.payload > 0 {
        // Whoever sends data did not take the reset for valid (RFC 5961, section 3.2).
        entry.state = closing_state(entry.closed_by);
    } else {
        return Progress::On;
    }
    found.changed |= part::STATE;
    if let Some(twin) = twin {
        twin.entry.state = found.entry.state;
        twin.entry.closed_by = found.entry.closed_by;
        twin.entry.flags |= found.entry.flags & flag::BACKEND_CLOSED_FIRST;
        twin.write(part::STATE);
    }
    Progress::On
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
    match found.entry.state {
        state::SYN_ACKED => {
            signal.acknowledgement.wrapping_sub(found.entry.pending) < CONFIRM_WINDOW
        }
        state::ESTABLISHED => found.entry.pending != (now_ns >> SECOND_SHIFT) as u32,
        _ => false,
    }
}

/// Makes a flow a confirmed one. Where a bucket has no room it stays half-open, is counted once, and
/// tries again about every second.
#[inline(always)]
fn confirm<F: Table>(
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    twin: &mut Twin<F>,
    now_ns: u64,
) -> Progress {
    found.entry.state = state::ESTABLISHED;
    twin.entry.state = state::ESTABLISHED;
    if F::confirm(twin.key, twin.entry) {
        if F::confirm(key, found.entry) {
            stats::count(Reason::FlowConfirmed);
            return match held::<F>(key, hash::flow(key)) {
                Some(now) => {
                    *found = now;
                    Progress::On
                }
                // Somebody removed it meanwhile.
                None => Progress::Over,
            };
        }
        F::demote(twin.key);
    }
    found.entry.pending = (now_ns >> SECOND_SHIFT) as u32;
    if found.entry.flags & flag::REFUSED == 0 {
        found.entry.flags |= flag::REFUSED;
        stats::count(Reason::FlowTableFull);
    }
    found.changed |= part::STATE;
    twin.write(part::STATE);
    Progress::On
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
    tell_twin_next_hop(key, found);
}

#[inline(never)]
fn tell_twin_next_hop<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) {
    if let Some(twin) = twin::<F>(key, found) {
        twin.entry.ifindex = found.entry.ifindex;
        copy_mac(&mut twin.entry.peer_mac, &found.entry.peer_mac);
        copy_mac(&mut twin.entry.local_mac, &found.entry.local_mac);
        twin.write(part::NEXT_HOP);
    }
}

/// Inserts the client's side of a new flow, whose replies have this key.
#[inline(always)]
pub fn insert_client<F: Table>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    entry: &Flow<F::Address>,
    replies_key: &FlowKey<F::Address>,
) -> Result<(), Reason> {
    if F::insert(key, key_hash, entry, None) != Inserted::Yes {
        F::remove(replies_key);
        return Err(Reason::TableError);
    }
    Ok(())
}
