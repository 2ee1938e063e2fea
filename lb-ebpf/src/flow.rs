//! Tracked flows: finding them with their twins, and what is written into both.
//!
//! Confirmed entries are changed in place, without locks. Both directions of a flow may pass on two
//! CPUs at once; each writes its own entry, and what one writes into its twin (state, next hop) are
//! single bytes or values that the next packet writes again. Half-open entries are read and written
//! as copies. [`life`] tells what each packet does to a flow's state.

mod life;
mod once;
mod tcp;
mod udp;

use lb_common::{
    Address as _,
    flow::{Flow, FlowKey, flag, side, state},
    hash,
    reason::Reason,
};

use crate::{
    clock::now_ns,
    family::Family,
    load, maps,
    packet::{Ethernet, copy_mac, same_mac},
    table::{Inserted, Position, Table, part},
};

pub use self::{
    life::{Life, Progress},
    once::Once,
};

/// An entry, and of which kind it is.
pub struct Found<F: Family> {
    /// In place where the flow is confirmed, else a copy.
    pub entry: &'static mut Flow<F::Address>,
    pub confirmed: bool,
    /// Of its key.
    pub key_hash: u64,
    /// Parts of a copy that were changed: bits of [`part`].
    changed: u64,
}

impl<F: Family> Found<F> {
    /// It is none of those whose packets are rewritten in place.
    #[inline(always)]
    pub fn is_special(&self) -> bool {
        self.entry.flags & (flag::ONE_WAY | flag::CROSSED) != 0
    }

    /// The balancer sees the client's packets only.
    #[inline(always)]
    pub fn is_one_way(&self) -> bool {
        self.entry.flags & flag::ONE_WAY != 0
    }
}

/// Copies of half-open entries, and the twin's key. They lie in a per-CPU map, because
/// the stack of 512 bytes has no room for them.
#[repr(C)]
pub struct Copies<A> {
    found: Flow<A>,
    twin: Flow<A>,
    twin_key: FlowKey<A>,
}

/// The flow of this 5-tuple, which has this hash; not a half-open one whose time is over.
#[inline(always)]
pub fn find<F: Table>(key: &FlowKey<F::Address>, key_hash: u64, now_ns: u64) -> Option<Found<F>> {
    live::<F>(key, key_hash, F::find(key, key_hash)?, now_ns)
}

/// The same without a call, for the way of every packet.
#[inline(always)]
pub fn find_in_line<F: Table>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    now_ns: u64,
) -> Option<Found<F>> {
    live::<F>(key, key_hash, F::find_in_line(key, key_hash)?, now_ns)
}

#[inline(always)]
fn live<F: Table>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    position: Position,
    now_ns: u64,
) -> Option<Found<F>> {
    held_at::<F>(key, key_hash, position)
        .filter(|found| found.confirmed || !is_over::<F>(key, found, now_ns))
}

/// What the table holds under this key, whether its time is over or not.
#[inline(always)]
pub fn held<F: Table>(key: &FlowKey<F::Address>, key_hash: u64) -> Option<Found<F>> {
    held_at::<F>(key, key_hash, F::find(key, key_hash)?)
}

#[inline(always)]
fn held_at<F: Table>(
    key: &FlowKey<F::Address>,
    key_hash: u64,
    position: Position,
) -> Option<Found<F>> {
    if position.is_confirmed() {
        return Some(Found {
            entry: F::at(position)?,
            confirmed: true,
            key_hash,
            changed: 0,
        });
    }
    let entry = &mut copies::<F>()?.found;
    F::read(key, key_hash, entry).then_some(Found {
        entry,
        confirmed: false,
        key_hash,
        changed: 0,
    })
}

/// A flow whose timer ran out in both directions, or whose backend's entry is another backend's by
/// now. The sweeper comes by about once a second, or never while no daemon runs: who finds a
/// half-open flow asks.
#[inline(always)]
pub fn is_over<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>, now_ns: u64) -> bool {
    F::is_over(key, found.entry, now_ns)
}

#[inline(always)]
fn try_is_over<F: Table>(key: &FlowKey<F::Address>, entry: &Flow<F::Address>, now_ns: u64) -> bool {
    let Some(backend) = maps::BACKENDS.get(entry.backend_idx) else {
        return true;
    };
    let (address, port_be) = if entry.side == side::CLIENT {
        (&entry.destination, entry.destination_port_be)
    } else {
        (&key.source, key.source_port_be)
    };
    let its_port = backend.port_be == 0 || port_be == backend.port_be;
    if !its_port || !address.same(F::backend_address(backend)) {
        return true;
    }
    is_quiet(entry, now_ns) && twin::<F>(key, entry).is_none_or(|twin| is_quiet(twin.entry, now_ns))
}

/// No packet came this way for the time of the flow's state.
#[inline(always)]
pub fn is_quiet<A>(flow: &Flow<A>, now_ns: u64) -> bool {
    let service = maps::BACKENDS
        .get(flow.backend_idx)
        .and_then(|backend| maps::SERVICES.get(backend.service_idx as u32));
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
    // and `twin` are borrowed apart: the first by `held` alone, the second by `twin`.
    F::copies().map(|copies| unsafe { &mut *copies })
}

/// The key of an entry's twin.
#[inline(always)]
fn twin_key<F: Table>(
    entry: &Flow<F::Address>,
    protocol: u32,
) -> Option<&'static FlowKey<F::Address>> {
    let key = &mut copies::<F>()?.twin_key;
    key.source = entry.destination.copied();
    key.destination = entry.source.copied();
    key.source_port_be = entry.destination_port_be;
    key.destination_port_be = entry.source_port_be;
    key.protocol = protocol;
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

    /// Notes in the twin of a half-open entry that a packet of the flow passed, with what of its state
    /// changed: each of the two gives way to newer flows by its own age, and they shall stay together.
    #[inline(always)]
    fn seen(&mut self, found: &Found<F>, now_ns: u64) {
        if !self.confirmed {
            self.entry.last_seen_ns = now_ns;
            self.write(part::LAST_SEEN | found.changed & part::STATE);
        }
    }

    /// Gives an entry's twin its next hop.
    #[inline(always)]
    fn take_next_hop(key: &FlowKey<F::Address>, entry: &Flow<F::Address>) {
        if let Some(twin) = twin::<F>(key, entry) {
            twin.entry.ifindex = entry.ifindex;
            copy_mac(&mut twin.entry.peer_mac, &entry.peer_mac);
            copy_mac(&mut twin.entry.local_mac, &entry.local_mac);
            twin.write(part::NEXT_HOP);
        }
    }
}

/// The twin of an entry, unless it was displaced or its key now belongs to another flow.
#[inline(always)]
fn twin<F: Table>(key: &FlowKey<F::Address>, entry: &Flow<F::Address>) -> Option<Twin<F>> {
    if entry.flags & flag::ONE_WAY != 0 {
        return None;
    }
    let twin_key = twin_key::<F>(entry, key.protocol)?;
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
    entry.twin_key(key.protocol).same(key).then_some(Twin {
        key: twin_key,
        entry,
        confirmed,
    })
}

/// The other direction has an entry too.
#[inline(always)]
pub fn has_twin<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) -> bool {
    F::has_twin(key, found.entry)
}

/// Notes that a packet of the flow passed, and keeps what it changed.
#[inline(always)]
pub fn seen<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>, now_ns: u64) {
    found.entry.last_seen_ns = now_ns;
    if !found.confirmed {
        F::write(key, found.entry, found.changed | part::LAST_SEEN);
    }
}

/// How long neither direction saw a packet.
#[inline(always)]
pub fn quiet_ns<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>, now_ns: u64) -> u64 {
    F::quiet_ns(key, found.entry, now_ns)
}

#[inline(always)]
fn try_quiet_ns<F: Table>(key: &FlowKey<F::Address>, entry: &Flow<F::Address>, now_ns: u64) -> u64 {
    let mut last_seen_ns = entry.last_seen_ns;
    if let Some(twin) = twin::<F>(key, entry)
        && twin.entry.last_seen_ns > last_seen_ns
    {
        last_seen_ns = twin.entry.last_seen_ns;
    }
    // Another CPU may have noted a packet since this one read its clock.
    now_ns.saturating_sub(last_seen_ns)
}

/// Removes an entry, and its twin where that is still its own: true then.
#[inline(always)]
pub fn remove_pair<F: Table>(key: &FlowKey<F::Address>, found: &Found<F>) -> bool {
    F::remove_pair(key, found.entry)
}

#[inline(always)]
fn try_remove_pair<F: Table>(key: &FlowKey<F::Address>, entry: &Flow<F::Address>) -> bool {
    let twin = twin::<F>(key, entry);
    if let Some(twin) = &twin {
        F::remove(twin.key);
    }
    F::remove(key);
    if twin.is_some() || entry.side == side::CLIENT {
        load::end(entry);
    }
    twin.is_some()
}

/// Marks both directions as reset, from now on: more packets that were on their way are of this flow.
#[inline(never)]
pub fn reset<F: Table>(key: &FlowKey<F::Address>, found: &mut Found<F>) {
    let before = found.entry.state;
    found.entry.state = state::RESET;
    found.changed |= part::STATE;
    load::follow(found.entry, before);
    let now_ns = now_ns();
    if let Some(mut twin) = twin::<F>(key, found.entry) {
        twin.entry.state = state::RESET;
        twin.seen(found, now_ns);
    }
    seen(key, found, now_ns);
}

/// Notes the next hop that the client's packets come by, for those that go back to it. Both lie in
/// the entry at hand, so that the twin is looked up only when they change.
#[inline(always)]
pub fn learn_next_hop<F: Table>(
    ethernet: &Ethernet,
    key: &FlowKey<F::Address>,
    found: &mut Found<F>,
    ifindex: u32,
) {
    let entry = &mut *found.entry;
    if entry.ifindex == ifindex && same_mac(&entry.peer_mac, &ethernet.source) {
        return;
    }
    entry.ifindex = ifindex;
    copy_mac(&mut entry.peer_mac, &ethernet.source);
    copy_mac(&mut entry.local_mac, &ethernet.destination);
    found.changed |= part::NEXT_HOP;
    F::tell_twin_next_hop(key, found.entry);
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
