//! The program `sweep`, run over the flow tables as the daemon runs it.

use std::net::{IpAddr, SocketAddr};

use aya::{
    maps::Array,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use lb_common::{
    MAX_BACKENDS, hash, names,
    table::{FlowHead, Place, sweep},
};

use super::{
    Rig, Verdict,
    entry::{Family as _, Table, by_family, key},
};

/// Buckets of one run. It divides no table's length, so that the last run is a shorter one.
const STRETCH: u32 = 100;

impl Rig {
    /// Sweeps one table of the family that `family` is of. Returns how many flows are left and how
    /// many were removed.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sweep(&mut self, family: IpAddr, table: Table) -> (u32, u32) {
        let buckets = self.buckets(family, table);
        let (mut flows, mut removed) = (0, 0);
        for first in (0..buckets).step_by(STRETCH as usize) {
            let result = self.sweep_stretch(family, table, first, STRETCH.min(buckets - first));
            flows += result.0;
            removed += result.1;
        }
        (flows, removed)
    }

    /// The same for no more than the bucket where an entry for TCP packets from `source` to
    /// `destination` lies.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sweep_bucket_of(
        &mut self,
        table: Table,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> (u32, u32) {
        let buckets = self.buckets(source.ip(), table);
        let key_hash = by_family!(source, A => hash::flow(&key::<A>(source, destination)));
        let bucket_idx = Place::of(key_hash, buckets).bucket_idx;
        self.sweep_stretch(source.ip(), table, bucket_idx, 1)
    }

    /// Entries that refer to a backend, as counted by all sweeps since the last
    /// [`Self::forget_backend_flows`].
    ///
    /// # Panics
    /// When there is no such backend.
    #[must_use]
    pub fn backend_flows(&self, backend_idx: u32) -> u64 {
        let map = self.ebpf.map(names::BACKEND_FLOWS).expect("the map exists");
        Array::<_, u64>::try_from(map)
            .expect("it is an array")
            .get(&backend_idx, 0)
            .expect("it is within bounds")
    }

    /// Sets the counts by backend to 0, as the daemon does before each pass.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn forget_backend_flows(&mut self) {
        let mut counts: Array<_, u64> = self.array(names::BACKEND_FLOWS);
        for backend_idx in 0..MAX_BACKENDS {
            counts.set(backend_idx, 0, 0).expect("counts are taken");
        }
    }

    fn buckets(&self, family: IpAddr, table: Table) -> u32 {
        // The heads of either table are one cache line each, so that one type does for both.
        by_family!(family, A => self.read::<FlowHead>(A::heads(table)).len())
    }

    /// The same for some buckets of a table, from the first one on.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn sweep_stretch(
        &mut self,
        family: IpAddr,
        table: Table,
        first_bucket: u32,
        buckets: u32,
    ) -> (u32, u32) {
        let table = match (table, family) {
            (Table::Confirmed, IpAddr::V4(_)) => sweep::FLOWS4,
            (Table::Confirmed, IpAddr::V6(_)) => sweep::FLOWS6,
            (Table::HalfOpen, IpAddr::V4(_)) => sweep::HALF_OPEN4,
            (Table::HalfOpen, IpAddr::V6(_)) => sweep::HALF_OPEN6,
        };
        // A `SweepRequest`, over which a `SweepResult` is written.
        let request = [table, first_bucket, buckets, 0].map(u32::to_ne_bytes);
        let mut result = [0; 16];
        let run = self
            .sweeper()
            .test_run(TestRunOptions {
                data_in: Some(request.as_flattened()),
                data_out: Some(&mut result),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("a sweep of {buckets} buckets: {error}"));
        assert_eq!(Verdict::from(run.return_value), Verdict::Pass);
        let (words, _) = result.as_chunks();
        (u32::from_ne_bytes(words[0]), u32::from_ne_bytes(words[1]))
    }

    /// The program, loaded by the first test that sweeps.
    fn sweeper(&mut self) -> &Xdp {
        let program: &mut Xdp = self
            .ebpf
            .program_mut(names::SWEEP)
            .expect("the object holds the program")
            .try_into()
            .expect("which is of type XDP");
        if program.fd().is_err() {
            program
                .load()
                .unwrap_or_else(|error| panic!("cannot load the program: {error:?}"));
        }
        program
    }
}
