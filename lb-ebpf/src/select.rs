//! What is ours, and for a new flow: its service, its backend and its source port. [`choose`] tells how
//! the backend is chosen.

mod choose;
mod pair;

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use aya_log_ebpf::{
    debug,
    macro_support::{self, Level},
};
use lb_common::{
    Address as _,
    flow::{Flow, FlowKey, PORT_ATTEMPTS, side, state},
    hash,
    reason::Reason,
    service::{Settings, Timeouts, VipKey, mode, setting},
};

use crate::{
    family::Family,
    flow,
    packet::{Ethernet, copy_mac},
    ports, stats,
    table::{Inserted, Table},
};

use self::pair::{STEPS, claim_own, take_pair, try_pair};

pub use self::choose::{Attempt, Choice, NONE, attempt, index};

/// Cheap and without a table: a packet for which this is false is none of ours. True promises
/// nothing.
#[inline(always)]
pub fn can_be_ours<A: lb_common::Address>(settings: &Settings, key: &FlowKey<A>) -> bool {
    let vip = hash::vip_bit(key.destination, key.destination_port_be, key.protocol as u8);
    if admitted(settings, vip) {
        return true;
    }
    let port = u16::from_be(key.destination_port_be);
    if port >= settings.reply_port_min
        && port <= settings.reply_port_max
        && admitted(settings, hash::snat_bit(key.destination))
    {
        return true;
    }
    settings.flags & (setting::ROUTE | setting::RANGES) != 0 && ports::can_be_ours(settings, key)
}

#[inline(always)]
pub fn admitted(settings: &Settings, bit: usize) -> bool {
    settings.filter[bit / 64] >> (bit % 64) & 1 == 1
}

/// Some vip has this address, whatever its port and protocol.
#[inline(always)]
pub fn is_vip_address<F: Family>(settings: &Settings, address: &F::Address) -> bool {
    let vip = VipKey::of_address(address);
    admitted(
        settings,
        hash::vip_bit(vip.address, vip.port_be, vip.protocol),
    ) && F::vips().get_ptr(&vip).is_some()
}

/// The service whose vip this packet is for: a vip of this very port, or else the smallest range with it.
#[inline(always)]
pub fn service<F: Family>(settings: &Settings, key: &FlowKey<F::Address>) -> Option<u32> {
    let vip = VipKey {
        address: key.destination.copied(),
        port_be: key.destination_port_be,
        protocol: key.protocol as u8,
        pad: 0,
    };
    if let Some(idx) = F::vips().get_ptr(&vip) {
        // SAFETY: the value is one word, read once.
        return Some(unsafe { *idx });
    }
    ports::service::<F>(settings, key)
}

/// A new flow in the making, with the walk through its backend's source addresses and ports. It
/// lies in a per-CPU map, because the stack of 512 bytes has no room for it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Draft<A> {
    /// Hash of the key of the packet that is looked at.
    pub key_hash: u64,
    /// The client's entry; its source is chosen by the walk.
    pub client: Flow<A>,
    /// The entry for the backend's replies, the same whichever source is chosen.
    replies: Flow<A>,
    /// The key of that entry; its destination is the pair being tried.
    replies_key: FlowKey<A>,
    now_ns: u64,
    snat_first: u32,
    port_min: u32,
    port_count: u32,
    /// Which pair comes next, of how many, and how far the one after.
    position: u32,
    pairs: u32,
    step: u32,
    /// Pairs tried so far.
    attempts: u32,
    claimed: u32,
    /// The source that the client's flow had before it was reset, if it is opened again by the same
    /// packet: when that was noted, its port, its backend and its address.
    before_ns: u64,
    before_port_be: u32,
    before_backend_idx: u32,
    before_source: A,
    /// By which a half-open flow in the way is over.
    timeouts: Timeouts,
}

/// This CPU's draft.
#[inline(always)]
pub fn draft<F: Family>() -> Result<&'static mut Draft<F::Address>, Reason> {
    let draft = F::draft().ok_or(Reason::TableError)?;
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself. `open`
    // and its callback take turns.
    Ok(unsafe { &mut *draft })
}

/// Notes the source of a flow that was reset and is about to be opened again. A backend in TIME-WAIT
/// may refuse a reused port; the client's reset ends that, so that this port is the one which works now.
#[inline(always)]
pub fn note_before<F: Family>(entry: &Flow<F::Address>, now_ns: u64) {
    if entry.state == state::RESET
        && let Ok(draft) = draft::<F>()
    {
        draft.before_ns = now_ns;
        draft.before_port_be = entry.source_port_be as u32;
        draft.before_backend_idx = entry.backend_idx;
        draft.before_source = entry.source.copied();
    }
}

/// Opens a flow toward the chosen backend: claims a source port and inserts both entries. Returns
/// the client's.
#[inline(always)]
pub fn open<F: Table>(
    ethernet: &Ethernet,
    key: &FlowKey<F::Address>,
    settings: &Settings,
    choice: &Choice,
    ifindex: u32,
    now_ns: u64,
) -> Result<&'static Flow<F::Address>, Reason> {
    let draft = draft::<F>()?;
    let backend_address = F::backend_address(choice.backend);
    fill_client::<F>(&mut draft.client, ethernet, key, choice, ifindex, now_ns);
    fill(
        &mut draft.replies,
        side::BACKEND,
        ethernet,
        choice,
        ifindex,
        now_ns,
    );
    draft.replies.source = key.destination.copied();
    draft.replies.destination = key.source.copied();
    draft.replies.source_port_be = key.destination_port_be;
    draft.replies.destination_port_be = key.source_port_be;
    draft.replies_key.source = backend_address.copied();
    draft.replies_key.source_port_be = ports::backend_port_be(choice.backend, key);
    draft.replies_key.protocol = key.protocol;
    draft.now_ns = now_ns;
    draft.timeouts = choice.service.timeouts;
    if choice.backend.mode == mode::ROUTE {
        claim_own::<F>(key, draft)?;
        flow::insert_client::<F>(key, choice.hash, &draft.client, &draft.replies_key)?;
        stats::new_flow(choice.backend_idx);
        return Ok(&draft.client);
    }
    let port_count = settings.port_count as u32;
    let pairs = port_count * choice.backend.snat_count as u32;
    if pairs == 0 {
        return Err(Reason::PortsExhausted);
    }
    let low = choice.hash as u32;
    draft.snat_first = choice.backend.snat_first as u32;
    draft.port_min = settings.port_min as u32;
    draft.port_count = port_count;
    draft.position = ((low as u64 * pairs as u64) >> 32) as u32;
    draft.pairs = pairs;
    draft.step = STEPS[(low % STEPS.len() as u32) as usize] % pairs;
    draft.claimed = 0;
    if draft.before_ns == now_ns && draft.before_backend_idx == choice.backend_idx {
        draft.before_ns = 0;
        draft.replies_key.destination = draft.before_source.copied();
        draft.replies_key.destination_port_be = draft.before_port_be as u16;
        let key = &draft.replies_key;
        let inserted = F::insert(key, hash::flow(key), &draft.replies, Some(&draft.timeouts));
        draft.claimed = (inserted == Inserted::Yes) as u32;
    }
    draft.attempts = 0;
    // The first pair is free nearly always, and each call takes its time.
    if draft.claimed == 0 && take_pair::<F>(draft) {
        let key = &draft.replies_key;
        let crossed = settings.flags & setting::CROSSED;
        let inserted = F::claim(key, &draft.replies, &draft.timeouts, crossed);
        draft.claimed = (inserted == Inserted::Yes) as u32;
    }
    if draft.claimed == 0 {
        // SAFETY: the callback has the signature that the helper asks for and needs no context.
        // Since kernel 5.17.
        unsafe {
            bpf_loop(
                PORT_ATTEMPTS - 1,
                try_pair::<F> as *mut c_void,
                core::ptr::null_mut(),
                0,
            );
        }
    }
    if draft.claimed == 0 {
        return Err(Reason::PortsExhausted);
    }
    draft.client.source = draft.replies_key.destination.copied();
    draft.client.source_port_be = draft.replies_key.destination_port_be;
    if macro_support::level_enabled(Level::Debug) {
        tell::<F>();
    }
    flow::insert_client::<F>(key, choice.hash, &draft.client, &draft.replies_key)?;
    stats::new_flow(choice.backend_idx);
    Ok(&draft.client)
}

/// Opens a flow of which only the client's packets are seen.
#[inline(always)]
pub fn open_one_way<F: Table>(
    ethernet: &Ethernet,
    key: &FlowKey<F::Address>,
    choice: &Choice,
    ifindex: u32,
    now_ns: u64,
) -> Result<(), Reason> {
    let entry = &mut draft::<F>()?.client;
    fill_client::<F>(entry, ethernet, key, choice, ifindex, now_ns);
    if F::insert(key, choice.hash, entry, None) != Inserted::Yes {
        return Err(Reason::TableError);
    }
    stats::new_flow(choice.backend_idx);
    Ok(())
}

/// Fills in the client's entry of a new flow, as it is where the client's address stays.
#[inline(always)]
fn fill_client<F: Family>(
    entry: &mut Flow<F::Address>,
    ethernet: &Ethernet,
    key: &FlowKey<F::Address>,
    choice: &Choice,
    ifindex: u32,
    now_ns: u64,
) {
    fill(entry, side::CLIENT, ethernet, choice, ifindex, now_ns);
    entry.source = key.source.copied();
    entry.source_port_be = key.source_port_be;
    entry.destination = F::backend_address(choice.backend);
    entry.destination_port_be = ports::backend_port_be(choice.backend, key);
}

/// Fills in what both entries of a new flow have alike. Field by field: a whole entry written at
/// once would be built on the stack first.
#[inline(always)]
fn fill<A>(
    entry: &mut Flow<A>,
    side: u8,
    ethernet: &Ethernet,
    choice: &Choice,
    ifindex: u32,
    now_ns: u64,
) {
    entry.backend_idx = choice.backend_idx;
    entry.last_seen_ns = now_ns;
    entry.state = state::HALF_OPEN;
    entry.side = side;
    entry.closed_by = 0;
    entry.flags = choice.flags;
    entry.pending = 0;
    entry.ifindex = ifindex;
    copy_mac(&mut entry.peer_mac, &ethernet.source);
    copy_mac(&mut entry.local_mac, &ethernet.destination);
}

/// Tells of a new flow in the log. Never called unless the daemon asks for it when it loads the program:
/// the verifier then leaves the call out. Code of the log beside that of every packet would cost each 8 ns
/// even so.
#[inline(never)]
fn tell<F: Table>() {
    let Ok(draft) = draft::<F>() else {
        return;
    };
    debug!(
        (),
        "new flow from port {} to backend {}, as port {}",
        u16::from_be(draft.replies.destination_port_be),
        draft.client.backend_idx,
        u16::from_be(draft.replies_key.destination_port_be)
    );
}
