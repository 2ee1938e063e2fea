//! The traced form of the program: whatever it is given, it must treat as the plain form does, and tell of
//! it what was seen.

use std::{cell::Cell, num::NonZeroU32};

use aya::maps::RingBuf;
use lb_common::{
    names,
    reason::{Kind, Reason},
    trace::{Record, SNAP},
};

use super::{Rig, Verdict};

thread_local! {
    static EVERY: Cell<Option<NonZeroU32>> = const { Cell::new(None) };
}

/// Runs a test, all of whose rigs use the traced form of the program, which samples one packet of so many on
/// average. Where it samples each, its record is compared with what came out.
///
/// # Panics
/// When `every` is 0.
pub fn tracing<T>(every: u32, test: impl FnOnce() -> T) -> T {
    EVERY.set(Some(NonZeroU32::new(every).expect("one packet of some")));
    let result = test();
    EVERY.set(None);
    result
}

/// One packet of so many is traced by rigs of this thread.
pub(super) fn by_this_thread() -> Option<NonZeroU32> {
    EVERY.get()
}

/// What is not for us: nobody is told of it.
const UNTOLD: [Reason; 3] = [Reason::NotOurs, Reason::NotIp, Reason::OtherProtocol];

impl Rig {
    /// One packet of so many is traced, on average; `None` by the plain program.
    #[must_use]
    pub fn trace_every(&self) -> Option<u32> {
        self.loaded.make.trace_every.map(NonZeroU32::get)
    }

    /// The records that nobody has taken yet.
    ///
    /// # Panics
    /// When one is not of the length that both sides know.
    pub fn take_records(&mut self) -> Vec<Record> {
        let map = (self.loaded.ebpf)
            .map_mut(names::TRACE_RECORDS)
            .expect("the object has a ring buffer");
        let mut ring = RingBuf::try_from(map).expect("which is one");
        let mut records = Vec::new();
        while let Some(bytes) = ring.next() {
            records.push(Record::from_bytes(&bytes).expect("a record of the length that is known"));
        }
        records
    }

    /// Compares the record of a packet with what was seen, where every packet is traced.
    #[track_caller]
    pub(super) fn check_record(
        &mut self,
        arrived: &[u8],
        left: &[u8],
        verdict: Verdict,
        counted: &[(Reason, u64)],
    ) {
        if self.loaded.make.trace_every != Some(NonZeroU32::MIN) {
            return;
        }
        let records = self.take_records();
        let reasons: Vec<Reason> = (counted.iter().map(|(reason, _)| *reason))
            .filter(|reason| reason.kind() != Kind::Event)
            .collect();
        if reasons.iter().any(|reason| UNTOLD.contains(reason)) {
            assert_eq!(records, [], "told of a packet that is not for us");
            return;
        }
        let [record] = records.as_slice() else {
            panic!("{} records of one packet", records.len());
        };
        let told = record.reason.checked_sub(1).and_then(Reason::of_index);
        assert!(
            told.map_or(reasons.is_empty(), |told| reasons.contains(&told)),
            "the record says {told:?}, counted were {counted:?}"
        );
        assert_eq!(Verdict::from(record.action), verdict);
        assert_eq!(record.ifindex, super::INGRESS);
        assert_eq!(record.arrived_length as usize, arrived.len());
        let kept = arrived.len().min(SNAP);
        assert!(
            record.arrived[..kept] == arrived[..kept],
            "other bytes arrived"
        );
        let left = if verdict == Verdict::Drop { &[] } else { left };
        assert_eq!(record.left_length as usize, left.len());
        let kept = left.len().min(SNAP);
        assert!(record.left[..kept] == left[..kept], "other bytes left");
    }
}
