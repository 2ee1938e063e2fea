//! Which backend a new flow goes to: by the service's scheduler, and its backends' limits.

use core::ffi::c_void;

use aya_ebpf::helpers::{self, bpf_get_prandom_u32, bpf_loop};
use lb_common::{
    Budgeted, NO_BACKEND, RING_CHUNK, RING_CHUNKS, RING_SLOTS,
    backend::{self, Backend},
    flow::flag as flow_flag,
    hash,
    reason::Reason,
    ring_position,
    service::{Service, flag, scheduler},
};

use crate::{budget, load, maps};

/// Slots that are tried while the ring still names backends that just went down, or that are full. After
/// them the ring is walked.
const SLOT_ATTEMPTS: u32 = 8;
/// Chunks of the ring that any flow's walk may visit; the others are visited within a budget.
const NEAR_CHUNKS: u32 = 64;
/// Draws of a second backend, to compare with the first.
const DRAWS: u32 = 8;

/// Where a new flow goes.
pub struct Choice {
    pub service: &'static Service,
    pub backend_idx: u32,
    pub backend: &'static Backend,
    /// Of the client's key.
    pub hash: u64,
    /// Of the flow's entries: bits of [`flow_flag`].
    pub flags: u8,
}

impl Choice {
    /// This backend for a flow of this service; its index, or [`NONE`] or [`FULL`], was returned by a
    /// function of this file.
    #[inline(always)]
    pub fn of(service: &'static Service, chosen: u64, key_hash: u64) -> Result<Self, Reason> {
        const SHIFT: u32 = flow_flag::COUNTED.trailing_zeros() - flag::COUNTED.trailing_zeros();
        if chosen == FULL {
            return Err(Reason::BackendsFull);
        }
        let backend_idx = chosen as u32;
        Ok(Self {
            service,
            backend_idx,
            // Nor is there one where none was chosen.
            backend: maps::BACKENDS.get(backend_idx).ok_or(Reason::NoBackend)?,
            hash: key_hash,
            // A branch would double what the verifier has to look at from here on.
            flags: (service.flags & flag::COUNTED) << SHIFT,
        })
    }

    /// The flow is open. One that goes by its hash because it need not have been opened here counts from
    /// now on, the others do already.
    #[inline(always)]
    pub fn keep(&self, opens: bool) {
        if !opens && self.service.flags & flag::COUNTED != 0 {
            load::enter(self.backend_idx, 0);
        }
    }

    /// The flow could not be opened.
    #[inline(always)]
    pub fn give_back(&self, opens: bool) {
        if opens && self.service.flags & flag::COUNTED != 0 {
            load::leave(self.backend_idx);
        }
    }
}

/// The index of the backend of a new flow with this hash, or [`NONE`] or [`FULL`]. With `opens` false the
/// flow may be one that another balancer opened: it goes by its hash, whatever scheduler and limits say.
#[inline(always)]
pub fn index(service_idx: u32, service: &Service, flow_hash: u64, opens: bool) -> u64 {
    if service.eligible == 0 {
        return NONE;
    }
    let plain = service.flags & flag::COUNTED == 0 && service.scheduler == scheduler::MAGLEV;
    if plain || !opens {
        let half = service.ring_half as u32;
        // The first slot will do unless its backend just went down.
        let first = at_slot(service_idx, half, hash::slot(flow_hash));
        if is_up(first as u32) {
            return first;
        }
        select_hashed(service_idx, half, flow_hash)
    } else {
        select_scheduled(service_idx, flow_hash)
    }
}

/// Instead of a backend's index: none is up.
pub const NONE: u64 = NO_BACKEND as u64;
/// Those that are up have as many flows as they may.
const FULL: u64 = 1 << 32;

/// The backend that the service's ring has for a hash, or [`NONE`] where none that is up was found. As in
/// `table`, global functions are checked once by the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn select_hashed(service_idx: u32, half: u32, flow_hash: u64) -> u64 {
    let mut slot_hash = flow_hash;
    for _ in 0..SLOT_ATTEMPTS {
        let backend_idx = at_slot(service_idx, half, hash::slot(slot_hash));
        let Some(backend) = maps::BACKENDS.get(backend_idx as u32) else {
            return NONE;
        };
        if backend.state == backend::state::UP {
            return backend_idx;
        }
        slot_hash = hash::mix(slot_hash);
    }
    select_walk(service_idx, half, slot_hash, 0)
}

#[inline(always)]
fn is_up(backend_idx: u32) -> bool {
    maps::BACKENDS
        .get(backend_idx)
        .is_some_and(|backend| backend.state == backend::state::UP)
}

/// What became of an attempt to give a flow to a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Done,
    Down,
    Full,
}

/// Gives the flow to a backend, if that is up and has room.
#[inline(always)]
pub fn attempt(service: &Service, backend_idx: u32) -> Attempt {
    let Some(backend) = maps::BACKENDS.get(backend_idx) else {
        return Attempt::Down;
    };
    if backend.state != backend::state::UP {
        return Attempt::Down;
    }
    if service.flags & flag::COUNTED != 0 && !load::enter(backend_idx, backend.max_flows) {
        return Attempt::Full;
    }
    Attempt::Done
}

/// Chooses by the service's scheduler and adds the flow to the backend's live ones where they are
/// counted. Returns the backend's index, [`NONE`] or [`FULL`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn select_scheduled(service_idx: u32, flow_hash: u64) -> u64 {
    let Some(service) = maps::SERVICES.get(service_idx) else {
        return NONE;
    };
    let half = service.ring_half as u32;
    let mut slot_hash = flow_hash;
    for _ in 0..SLOT_ATTEMPTS {
        let slot = match service.scheduler {
            scheduler::ROUND_ROBIN => take_turn(service_idx),
            scheduler::RANDOM | scheduler::LEAST_CONN => random_slot(),
            _ => hash::slot(slot_hash),
        };
        let first = select_at(service_idx, half, slot);
        if first == NONE {
            return NONE;
        }
        let mut backend_idx = first as u32;
        if service.scheduler == scheduler::LEAST_CONN && service.eligible > 1 {
            backend_idx = select_lighter(service_idx, half, backend_idx) as u32;
        }
        match attempt(service, backend_idx) {
            Attempt::Done => return backend_idx as u64,
            Attempt::Full | Attempt::Down => {}
        }
        slot_hash = hash::mix(slot_hash);
    }
    select_walk(service_idx, half, slot_hash, service.flags as u32)
}

/// A walk along a ring, for a backend that is up and has room.
#[repr(C)]
struct Walk {
    service_idx: u32,
    /// Of the ring's map, where this half begins.
    first_chunk: u32,
    /// From there on, which is next.
    chunk: u32,
    /// Bits of the service's [`flag`]s.
    flags: u32,
    /// A backend, [`NONE`], or [`FULL`] where one was up.
    found: u64,
}

/// Walks along the ring from where a hash leads to, so that each flow has its own next backend, and all
/// balancers the same for it. Returns what [`Walk::found`] says.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn select_walk(service_idx: u32, half: u32, slot_hash: u64, flags: u32) -> u64 {
    let mut walk = Walk {
        service_idx,
        first_chunk: ring_position((half & 1) as u8, 0).0,
        chunk: hash::slot(slot_hash) / RING_CHUNK,
        flags,
        found: NONE,
    };
    walk_along(&mut walk, NEAR_CHUNKS);
    if walk.found >= NONE && budget::spend(Budgeted::RingWalk) {
        walk_along(&mut walk, RING_CHUNKS - NEAR_CHUNKS);
    }
    walk.found
}

/// Walks along so many chunks, or until a backend takes the flow.
#[inline(always)]
fn walk_along(walk: &mut Walk, chunks: u32) {
    // SAFETY: the callback has the signature that the helper asks for, and `walk` outlives it.
    unsafe {
        bpf_loop(chunks, walk_on as *mut c_void, (&raw mut *walk).cast(), 0);
    }
    if walk.found >= NONE || walk.flags & flag::COUNTED as u32 == 0 {
        return;
    }
    let backend_idx = walk.found as u32;
    let most = (maps::BACKENDS.get(backend_idx)).map_or(0, |backend| backend.max_flows);
    // Another CPU may have taken the last place since the walk saw it.
    if !load::enter(backend_idx, most) {
        walk.found = FULL;
    }
}

/// Looks at one chunk: 1 ends the loop, 0 goes on.
extern "C" fn walk_on(_index: u32, context: *mut c_void) -> i64 {
    const ON: i64 = 0;
    const DONE: i64 = 1;

    // SAFETY: `select_walk` gave this context, and nobody else uses it meanwhile.
    let walk = unsafe { &mut *context.cast::<Walk>() };
    let chunk = walk.chunk;
    walk.chunk = if chunk + 1 >= RING_CHUNKS {
        0
    } else {
        chunk + 1
    };
    let Some(slots) = maps::RINGS.get_value(walk.service_idx, &(walk.first_chunk + chunk)) else {
        return DONE;
    };
    for slot in slots {
        let backend_idx = *slot;
        let Some(backend) = maps::BACKENDS.get(backend_idx) else {
            continue;
        };
        if backend.state != backend::state::UP {
            continue;
        }
        if walk.flags & flag::COUNTED as u32 != 0 && !takes_flows(backend, load::live(backend_idx))
        {
            walk.found = FULL;
            continue;
        }
        walk.found = backend_idx as u64;
        return DONE;
    }
    ON
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn select_at(service_idx: u32, half: u32, slot: u32) -> u64 {
    at_slot(service_idx, half, slot)
}

/// The backend in a slot of the service's ring.
#[inline(always)]
fn at_slot(service_idx: u32, half: u32, slot: u32) -> u64 {
    let (chunk, place) = ring_position((half & 1) as u8, slot);
    match maps::RINGS.get_value(service_idx, &chunk) {
        Some(chunk) => chunk[place] as u64,
        None => NONE,
    }
}

/// Of this backend and another one drawn by chance, the one that may take flows and has fewer for its
/// weight; this one where they are alike. With a few backends a draw may hit the same one again and again:
/// the worse of two with equal weights is chosen once in 512 times.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn select_lighter(service_idx: u32, half: u32, first_idx: u32) -> u64 {
    let mut second_idx = first_idx;
    for _ in 0..DRAWS {
        second_idx = select_at(service_idx, half, random_slot()) as u32;
        if second_idx != first_idx {
            break;
        }
    }
    let Some(second) = maps::BACKENDS.get(second_idx) else {
        return first_idx as u64;
    };
    let Some(first) = maps::BACKENDS.get(first_idx) else {
        return second_idx as u64;
    };
    let (first_live, second_live) = (load::live(first_idx), load::live(second_idx));
    let lighter = if !takes_flows(second, second_live) {
        first_idx
    } else if !takes_flows(first, first_live)
        || (second_live as u64 * first.weight as u64) < first_live as u64 * second.weight as u64
    {
        second_idx
    } else {
        first_idx
    };
    lighter as u64
}

/// With so many flows a backend takes another one, as far as can be seen without its lock.
#[inline(always)]
fn takes_flows(backend: &Backend, live: u32) -> bool {
    backend.state == backend::state::UP && (backend.max_flows == 0 || live < backend.max_flows)
}

#[inline(always)]
fn random_slot() -> u32 {
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    hash::slot((random as u64) << 32)
}

/// The slot whose turn it is, and the next one's turn from then on.
#[inline(always)]
fn take_turn(service_idx: u32) -> u32 {
    let Some(turn) = maps::TURNS.get_ptr_mut(service_idx) else {
        return 0;
    };
    // SAFETY: the lock lies in a live map value, and guards the slot.
    unsafe {
        helpers::bpf_spin_lock((&raw mut (*turn).lock).cast());
        let slot = (*turn).slot;
        let next = slot + 1;
        (*turn).slot = if next >= RING_SLOTS { 0 } else { next };
        helpers::bpf_spin_unlock((&raw mut (*turn).lock).cast());
        // Whatever the map held.
        if slot >= RING_SLOTS { 0 } else { slot }
    }
}
