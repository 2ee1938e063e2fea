//! How many flows the backends of a service have, and whose turn it is: what CPUs share when they choose
//! a backend. Kept for services that ask for it.

use crate::{flow::state, table::bpf_spin_lock};

/// The flows of one backend: the value of `backend_loads`. What stands after `changes` is the sweeper's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub lock: bpf_spin_lock,
    /// Live flows.
    pub live: u32,
    /// How often a flow came to live or ceased to; wraps.
    pub changes: u32,
    /// Live flows that this pass met so far.
    pub met: u32,
    /// `live` and `changes` as the pass began.
    pub live_before: u32,
    pub changes_before: u32,
    /// The pass, as [`crate::table::SweepRequest::pass_ns`] names it.
    pub pass_ns: u64,
}
const _: () = assert!(size_of::<Load>() == 32);

impl Load {
    /// What has to be added to `live` once a pass has met all flows. 0 as long as opening and closing
    /// since the pass began explains the difference.
    ///
    /// A flow that was live all the time is met once; one that came or went meanwhile is met or not. So
    /// there must be between `live_before` less those that went and `live_before` and those that came.
    /// Beyond that, flows were lost or counted twice for certain. Within it they may have been, and if
    /// the difference is more than what the pass began and ended with, an eighth of it is made good: chance
    /// goes both ways, a lost flow does not.
    #[inline(always)]
    #[must_use]
    pub const fn correction(&self) -> i64 {
        const EIGHTH: u32 = 3;
        let (before, now) = (self.live_before as i64, self.live as i64);
        // Twice each, to stay with whole numbers.
        let missing = 2 * self.met as i64 - (before + now);
        let explained = self.changes.wrapping_sub(self.changes_before) as i64;
        let size = missing.unsigned_abs() as i64;
        let part = if size > explained {
            size >> 1
        } else if size > 2 * (now - before).unsigned_abs() as i64 {
            size >> 1 >> EIGHTH
        } else {
            0
        };
        if missing < 0 { -part } else { part }
    }
}

/// A flow in this state counts among its backend's live ones: all but those that both ends have closed
/// and those that were reset.
#[inline(always)]
#[must_use]
pub const fn is_live(flow_state: u8) -> bool {
    flow_state < state::CLOSED
}

/// Whose turn it is in a service of scheduler `round_robin`: the value of `turns`, by service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub lock: bpf_spin_lock,
    /// The ring's next slot.
    pub slot: u32,
}
const _: () = assert!(size_of::<Turn>() == 8);
