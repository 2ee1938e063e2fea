//! When the entries of removed backends may be given away.

use std::collections::BTreeSet;

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
