//! Reading what the program counts: packets of backends, and reasons.

use aya::maps::{MapData, PerCpuArray};
use lb_common::{backend::BackendStats, names, reason::Reason};

use super::{
    error::DatapathError,
    pins::Pins,
    store::{at, typed},
};

/// The counters, for use by another thread: ten thousand backends take as many system calls.
pub struct Counters {
    backend_stats: PerCpuArray<MapData, BackendStats>,
    reasons: PerCpuArray<MapData, u64>,
}

impl Counters {
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            backend_stats: typed(pins, names::BACKEND_STATS)?,
            reasons: typed(pins, names::REASONS)?,
        })
    }

    /// A backend's counters, summed over CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn backend(&self, idx: u32) -> Result<BackendStats, DatapathError> {
        let per_cpu = (self.backend_stats)
            .get(&idx, 0)
            .map_err(at(names::BACKEND_STATS))?;
        Ok(per_cpu
            .iter()
            .fold(BackendStats::default(), |sum, cpu| BackendStats {
                flows: sum.flows + cpu.flows,
                packets_in: sum.packets_in + cpu.packets_in,
                bytes_in: sum.bytes_in + cpu.bytes_in,
                packets_out: sum.packets_out + cpu.packets_out,
                bytes_out: sum.bytes_out + cpu.bytes_out,
            }))
    }

    /// How often each reason occurred, summed over CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>, DatapathError> {
        Reason::ALL
            .iter()
            .map(|reason| {
                let per_cpu = (self.reasons)
                    .get(&(*reason as u32), 0)
                    .map_err(at(names::REASONS))?;
                Ok((*reason, per_cpu.iter().sum()))
            })
            .collect()
    }
}
