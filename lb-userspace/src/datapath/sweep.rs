//! Removing flows whose timers ran out, and counting what live flows each backend has. The program `sweep` does it in the kernel, under the locks
//! of the tables' buckets; here it is run on one stretch of a table after the other.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::Xdp;
use lb_common::{
    names,
    table::{SweepRequest, SweepResult, task},
};

use super::{Capacity, Clock, error::DatapathError, own_fd, sys};

/// Buckets that one run looks at. The kernel handles no packets on this CPU meanwhile.
const STRETCH: u32 = 512;

/// What a pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When it began, `CLOCK_MONOTONIC`: what [`super::Datapath::backend_seen_ns`] is at least, for
    /// a backend that some entry still refers to.
    pub pass_ns: u64,
    /// Flows that are left, confirmed and half-open, both families together.
    pub flows: u64,
    pub half_open: u64,
    /// Flows removed by this pass.
    pub removed: u64,
}

/// Sweeps the flow tables; for use by a thread of its own.
pub struct Sweeper {
    program: OwnedFd,
    clock: Clock,
    buckets: u32,
}

impl Sweeper {
    pub(super) fn new(
        program: &Xdp,
        clock: Clock,
        capacity: Capacity,
    ) -> Result<Self, DatapathError> {
        Ok(Self {
            program: own_fd(program, names::SWEEP)?,
            clock,
            buckets: capacity.buckets,
        })
    }

    /// One pass over both tables, which begins now, by `CLOCK_MONOTONIC`. The programs' clock is set
    /// before it, in case the kernel lost ticks.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn sweep(&self, now_ns: u64) -> Result<Report, DatapathError> {
        self.clock.set()?;
        let mut report = Report {
            pass_ns: now_ns,
            ..Report::default()
        };
        let pass = SweepRequest {
            pass_ns: now_ns,
            ..SweepRequest::default()
        };
        let counted = self.run(SweepRequest {
            task: task::BEGIN,
            ..pass
        })?;
        let task = match counted.flows {
            0 => task::SWEEP,
            _ => task::SWEEP_AND_MEET,
        };
        for family in [4, 6] {
            for first_bucket in (0..self.buckets).step_by(STRETCH as usize) {
                let found = self.run(SweepRequest {
                    family,
                    first_bucket,
                    buckets: STRETCH.min(self.buckets - first_bucket),
                    task,
                    ..pass
                })?;
                report.flows += u64::from(found.flows);
                report.half_open += u64::from(found.half_open);
                report.removed += u64::from(found.removed);
            }
        }
        if task == task::SWEEP_AND_MEET {
            self.run(SweepRequest {
                task: task::END,
                ..pass
            })?;
        }
        Ok(report)
    }

    fn run(&self, request: SweepRequest) -> Result<SweepResult, DatapathError> {
        let run = sys::run_program(self.program.as_fd(), &request);
        run.map(|(_, found)| found)
            .map_err(|source| DatapathError::Run {
                name: names::SWEEP,
                source,
            })
    }
}
