//! The clock of the programs: they count the kernel's ticks, and here they are told how long one is and
//! what `CLOCK_MONOTONIC` says.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::LazyLock,
    time::Duration,
};

use aya::{Ebpf, EbpfLoader};
use lb_common::names;
use nix::time::{ClockId, clock_getres, clock_gettime};

use super::{error::DatapathError, program_mut, sys};

/// Nanoseconds of a tick: what the kernel gives as the resolution of the clocks that it sets with each.
static TICK_NS: LazyLock<u64> = LazyLock::new(|| {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).expect("every Linux has this clock");
    u64::try_from(tick.tv_nsec()).expect("a time is not less than 0")
});

/// The clock that the programs go by.
#[must_use]
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    Duration::from(now)
}

/// Sets the clock that the programs of one loaded object share.
pub struct Clock {
    program: OwnedFd,
}

impl Clock {
    /// Nanoseconds of the kernel's tick. The programs' clock is right within two of them.
    #[must_use]
    pub fn tick_ns() -> u64 {
        *TICK_NS
    }

    /// Tells programs that are to be loaded how long a tick is.
    pub fn apply(loader: &mut EbpfLoader<'_>) {
        loader.override_global(names::TICK_NS, &*TICK_NS, true);
    }

    /// Sets the clock for the first time. Until then the programs' times are others than those in the
    /// tables.
    ///
    /// # Errors
    /// When the kernel does not load or run the program that sets it.
    pub fn start(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let program = program_mut(ebpf, names::CLOCK);
        program.load().map_err(super::error::while_verifying)?;
        let program = super::own_fd(program, names::CLOCK)?;
        let clock = Self { program };
        clock.set()?;
        Ok(clock)
    }

    /// Another one that sets the same clock.
    ///
    /// # Errors
    /// When there are too many open files.
    pub(super) fn again(&self) -> Result<Self, DatapathError> {
        let program = (self.program.try_clone()).map_err(|source| DatapathError::Run {
            name: names::CLOCK,
            source,
        })?;
        Ok(Self { program })
    }

    /// Sets the clock if it is more than two ticks off.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn set(&self) -> Result<(), DatapathError> {
        /// The shortest frame that a test run takes has 14 bytes.
        const FRAME: [u64; 2] = [0; 2];
        let run = sys::run_program::<_, [u64; 2]>(self.program.as_fd(), &FRAME);
        run.map(drop).map_err(|source| DatapathError::Run {
            name: names::CLOCK,
            source,
        })
    }
}
