//! How many live flows each backend has, for services with the flag `COUNTED`: those whose scheduler or
//! limits ask for it. A flow is added when its backend is chosen, under the lock that guards the limit,
//! and its entries are marked; what is not marked pays no more than the test of that mark.
//!
//! The count may drift: half-open flows are pushed out by newer ones, and two CPUs may end one flow at
//! once. [`sweep`](mod@crate::sweep) puts it right.

use aya_ebpf::helpers;
use lb_common::{
    flow::{Flow, flag},
    load::{Load, is_live},
};

use crate::maps;

/// Adds a flow to a backend that may have so many, 0 for any number. False when it has them.
#[inline(always)]
pub fn enter(backend_idx: u32, most: u32) -> bool {
    load_enter(backend_idx, most) != 0
}

/// Takes a flow off a backend.
#[inline(always)]
pub fn leave(backend_idx: u32) {
    load_leave(backend_idx);
}

/// A backend's live flows.
#[inline(always)]
pub fn live(backend_idx: u32) -> u32 {
    // SAFETY: one word of a live map value, which is only compared.
    (maps::BACKEND_LOADS.get_ptr(backend_idx)).map_or(0, |load| unsafe { (*load).live })
}

/// What a flow's new state means for its backend.
#[inline(always)]
pub fn follow<A>(flow: &Flow<A>, state_before: u8) {
    if flow.flags & flag::COUNTED == 0 {
        return;
    }
    match (is_live(state_before), is_live(flow.state)) {
        (true, false) => leave(flow.backend_idx),
        // Back to life: nobody asks whether the backend has room.
        (false, true) => {
            enter(flow.backend_idx, 0);
        }
        _ => {}
    }
}

/// A flow's entries are removed.
#[inline(always)]
pub fn end<A>(flow: &Flow<A>) {
    if flow.flags & flag::COUNTED != 0 && is_live(flow.state) {
        leave(flow.backend_idx);
    }
}

/// Runs `act` on a backend's load under its lock. No helper may be called meanwhile. `None` when there
/// is no such backend.
#[inline(always)]
pub fn locked<R>(backend_idx: u32, act: impl FnOnce(&mut Load) -> R) -> Option<R> {
    let load = maps::BACKEND_LOADS.get_ptr_mut(backend_idx)?;
    // SAFETY: the lock lies in a live map value; it is released below on the only way out.
    unsafe { helpers::bpf_spin_lock((&raw mut (*load).lock).cast()) };
    // SAFETY: whoever holds the lock is the only one to write.
    let result = act(unsafe { &mut *load });
    // SAFETY: as above.
    unsafe { helpers::bpf_spin_unlock((&raw mut (*load).lock).cast()) };
    Some(result)
}

/// Global functions, as in `table`: the verifier checks them once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn load_enter(backend_idx: u32, most: u32) -> u64 {
    locked(backend_idx, |load| {
        if most != 0 && load.live >= most {
            return 0;
        }
        load.live += 1;
        load.changes = load.changes.wrapping_add(1);
        1
    })
    .unwrap_or(0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn load_leave(backend_idx: u32) -> u64 {
    locked(backend_idx, |load| {
        // Below 0 only a count that drifted would go.
        if load.live > 0 {
            load.live -= 1;
            load.changes = load.changes.wrapping_add(1);
        }
        0
    })
    .unwrap_or(0)
}
