//! A clock that moves only when the test says so: the programs count ticks of no length from a time that
//! is written into their memory.

use super::{Capacity, LOG_NOTHING, Rig, pool::Make};

/// The map that holds the programs' variables: the clock's, and two that are 0 while no router speaks of an MTU.
const VARIABLES: &str = ".bss";
pub(super) type Variables = [u64; 3];

impl Rig {
    /// As [`Self::load`], with a clock that stands still until [`Self::set_clock`].
    ///
    /// # Panics
    /// As [`Self::load`].
    #[must_use]
    pub fn load_with_still_clock(sizes: Capacity) -> Self {
        Self::of(Make {
            sizes,
            log_level: LOG_NOTHING,
            trace_every: None,
            ticking: false,
        })
    }

    /// Makes it this time for the programs.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn set_clock(&mut self, now_ns: u64) {
        let mut map = self.array::<Variables>(VARIABLES);
        let variables = map.get(&0, 0).expect("programs have variables");
        // It has been set before.
        let changed = variables.map(|variable| match variable {
            0 => 0,
            _ => 0_u64.wrapping_sub(now_ns),
        });
        map.set(0, changed, 0).expect("the clock is set");
    }
}
