//! The program `sweep`, run over the flow tables as the daemon runs it.

use std::net::{IpAddr, SocketAddr};

use aya::{
    maps::Array,
    programs::{TestRun as _, TestRunOptions},
};
use lb_common::{
    names,
    table::{Head, Place, SweepRequest, SweepResult, task},
};

use super::{
    Rig, Verdict,
    entry::{Family as _, Table, by_family, key_hash},
};

/// Buckets of one run. It divides no table's length, so that the last run is a shorter one.
const STRETCH: u32 = 100;

impl Rig {
    /// Sweeps the family that `family` is of. Returns how many flows of the given kind are left, and
    /// how many of either kind were removed.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sweep(&mut self, family: IpAddr, table: Table) -> (u32, u32) {
        self.sweep_pass += 1;
        let buckets = self.buckets(family);
        let (mut flows, mut removed) = (0, 0);
        for first in (0..buckets).step_by(STRETCH as usize) {
            let found = self.sweep_stretch(family, first, STRETCH.min(buckets - first));
            flows += match table {
                Table::Confirmed => found.flows,
                Table::HalfOpen => found.half_open,
            };
            removed += found.removed;
        }
        (flows, removed)
    }

    /// Sweeps no more than the bucket where an entry for TCP packets from `source` to `destination`
    /// lies.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sweep_bucket_of(&mut self, source: SocketAddr, destination: SocketAddr) -> SweepResult {
        let buckets = self.buckets(source.ip());
        let bucket_idx = Place::of(key_hash(source, destination), buckets).bucket_idx;
        self.sweep_stretch(source.ip(), bucket_idx, 1)
    }

    /// Whether the last [`Self::sweep`] met a flow of this backend.
    ///
    /// # Panics
    /// When there is no such backend.
    #[must_use]
    pub fn backend_seen(&self, backend_idx: u32) -> bool {
        let map = self
            .loaded
            .ebpf
            .map(names::BACKENDS_SEEN)
            .expect("the map exists");
        Array::<_, u64>::try_from(map)
            .expect("it is an array")
            .get(&backend_idx, 0)
            .expect("it is within bounds")
            == self.sweep_pass
    }

    pub(super) fn buckets(&self, family: IpAddr) -> u32 {
        by_family!(family, A => self.read::<Head>(A::HEADS).len())
    }

    /// Sweeps some buckets, from the first one on.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sweep_stretch(
        &mut self,
        family: IpAddr,
        first_bucket: u32,
        buckets: u32,
    ) -> SweepResult {
        let request = SweepRequest {
            family: if family.is_ipv4() { 4 } else { 6 },
            first_bucket,
            buckets,
            task: task::SWEEP,
            pass_ns: self.sweep_pass,
        };
        self.sweep_request(&request)
    }

    pub(super) fn sweep_request(&mut self, request: &SweepRequest) -> SweepResult {
        let mut bytes = Vec::new();
        let SweepRequest {
            family,
            first_bucket,
            buckets,
            task,
            ..
        } = *request;
        for word in [family, first_bucket, buckets, task] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(request.pass_ns.to_ne_bytes());
        let mut result = [0; size_of::<SweepResult>()];
        let run = self
            .beside(names::SWEEP)
            .test_run(TestRunOptions {
                data_in: Some(&bytes),
                data_out: Some(&mut result),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("a sweep of {buckets} buckets: {error}"));
        assert_eq!(Verdict::from(run.return_value), Verdict::Pass);
        let (words, _) = result.as_chunks();
        let [flows, half_open, removed] = [0, 1, 2].map(|at| u32::from_ne_bytes(words[at]));
        SweepResult {
            flows,
            half_open,
            removed,
            pad: [0; 3],
        }
    }
}
