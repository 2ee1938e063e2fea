//! When the entries of removed backends may be given away, and giving them away.

use std::collections::BTreeSet;

use lb_common::backend::state;
use tokio::task::block_in_place;
use tracing::error;

use super::Control;
use crate::{datapath::Report, tables::diff::Changes};

/// Indices of removed backends that the last sweep found without flows.
#[derive(Default)]
pub(super) struct Unused(BTreeSet<u32>);

impl Unused {
    /// Takes in what another sweep found unused; returns what it found for the second time in a row.
    /// A sweep that began before a backend was removed may have missed a flow, so one is not enough.
    pub(super) fn swept(&mut self, unused: BTreeSet<u32>) -> Vec<u32> {
        let free = unused.intersection(&self.0).copied().collect();
        self.0 = unused;
        free
    }
}

impl Control {
    /// Frees what removed backends and services leave, once no flow refers to them.
    pub(super) fn note_report(&mut self, report: Report) {
        let unused: BTreeSet<u32> = (self.applied.backends.iter())
            .filter(|(_, backend)| backend.state == state::REMOVED)
            .map(|(idx, _)| *idx)
            // One that cannot be read is left as it is.
            .filter(|idx| {
                (self.datapath.backend_seen_ns(*idx)).is_ok_and(|seen| seen < report.pass_ns)
            })
            .collect();
        let free = self.unused.swept(unused);
        self.report = report;
        if free.is_empty() {
            return;
        }
        let changes = Changes {
            backends: free.iter().map(|idx| (*idx, None)).collect(),
            tunnels: (free.iter())
                .filter(|idx| self.applied.tunnels.contains_key(idx))
                .map(|idx| (*idx, None))
                .collect(),
            ..Changes::default()
        };
        match block_in_place(|| self.datapath.write(&changes)) {
            Ok(()) => {
                for idx in &free {
                    self.applied.backends.remove(idx);
                    self.applied.tunnels.remove(idx);
                }
                let applied = &self.applied;
                self.ids.retain(
                    |idx| applied.backends.contains_key(&idx),
                    |idx| applied.services.contains_key(&idx),
                );
            }
            Err(error) => error!("entries of removed backends could not be freed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sweeps_in_a_row_free_an_entry() {
        let mut unused = Unused::default();
        let mut swept = |found: &[u32]| unused.swept(found.iter().copied().collect());
        assert!(swept(&[1, 2]).is_empty());
        assert_eq!(swept(&[2, 3]), [2], "a flow of 1 was met meanwhile");
        assert_eq!(swept(&[1, 3]), [3]);
        assert_eq!(swept(&[1]), [1]);
    }
}
