//! Removing flows whose timers ran out. The program `sweep` does it in the kernel, under the locks
//! of the tables' buckets; here it is run on one stretch of a table after the other.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{maps::MapData, programs::Xdp};
use lb_common::{
    MAX_BACKENDS, names,
    table::{SweepRequest, SweepResult, sweep},
};

use super::{Capacity, error::DatapathError, pins::Pins, store, sys};

/// Buckets that one run looks at. The kernel handles no packets on this CPU meanwhile: a full
/// bucket of 28 takes some microseconds.
const STRETCH: u32 = 128;

/// What a pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Backends that some entry still refers to.
    pub backends_in_use: BTreeSet<u32>,
    /// Flows that are left, confirmed and half-open, both families together.
    pub flows: u64,
    pub half_open: u64,
    /// Flows removed by this pass.
    pub removed: u64,
}

/// Sweeps the flow tables; for use by a thread of its own.
pub struct Sweeper {
    program: OwnedFd,
    backend_flows: MapData,
    capacity: Capacity,
}

impl Sweeper {
    pub(super) fn new(
        program: &Xdp,
        pins: &Pins,
        capacity: Capacity,
    ) -> Result<Self, DatapathError> {
        let program = program
            .fd()
            .and_then(|fd| Ok(fd.as_fd().try_clone_to_owned()?));
        Ok(Self {
            program: program.map_err(DatapathError::Sweep)?,
            backend_flows: store::data(pins, names::BACKEND_FLOWS)?,
            capacity,
        })
    }

    /// One pass over all four tables.
    ///
    /// # Errors
    /// When the kernel does not run the program, or a table cannot be read.
    pub fn sweep(&self) -> Result<Report, DatapathError> {
        let at = |source| DatapathError::MapCall {
            map: names::BACKEND_FLOWS,
            source,
        };
        sys::write_array(
            self.backend_flows.fd().as_fd(),
            &[0_u64; MAX_BACKENDS as usize],
        )
        .map_err(at)?;

        let mut report = Report::default();
        let Capacity {
            flow_buckets,
            half_open_buckets,
            ..
        } = self.capacity;
        for table in [sweep::FLOWS4, sweep::FLOWS6] {
            report.flows += self.table(table, flow_buckets, &mut report.removed)?;
        }
        for table in [sweep::HALF_OPEN4, sweep::HALF_OPEN6] {
            report.half_open += self.table(table, half_open_buckets, &mut report.removed)?;
        }

        sys::for_each(
            self.backend_flows.fd().as_fd(),
            |backend_idx: &u32, entries: &u64| {
                if *entries > 0 {
                    report.backends_in_use.insert(*backend_idx);
                }
            },
        )
        .map_err(at)?;
        Ok(report)
    }

    /// Sweeps one table; returns how many flows it still holds.
    fn table(&self, table: u32, buckets: u32, removed: &mut u64) -> Result<u64, DatapathError> {
        let mut flows = 0;
        for first_bucket in (0..buckets).step_by(STRETCH as usize) {
            let request = SweepRequest {
                table,
                first_bucket,
                buckets: STRETCH.min(buckets - first_bucket),
                pad: 0,
            };
            let (_, result): (u32, SweepResult) = sys::run_program(self.program.as_fd(), &request)
                .map_err(DatapathError::SweepRun)?;
            flows += u64::from(result.flows);
            *removed += u64::from(result.removed);
        }
        Ok(flows)
    }
}
