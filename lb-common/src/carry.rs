//! What the program `carry` is asked to put into the tables: flows and counters that the tables of another
//! layout held. Each is the frame of one run; the program overwrites its first word with one of
//! [`outcome`].

use crate::{
    Address,
    backend::BackendStats,
    flow::{Flow, FlowKey},
};

/// What a frame holds: its first word.
pub mod what {
    /// [`super::CarriedFlow`] of IPv4.
    pub const FLOW4: u32 = 4;
    /// [`super::CarriedFlow`] of IPv6.
    pub const FLOW6: u32 = 6;
    /// [`super::CarriedStats`].
    pub const STATS: u32 = 1;
    /// [`super::CarriedCount`].
    pub const COUNT: u32 = 2;
}

/// What became of it.
pub mod outcome {
    /// The tables hold it now.
    pub const DONE: u32 = 100;
    /// They held the same flow already, as it is now or was later.
    pub const THERE: u32 = 101;
    /// There was no place among the confirmed flows: it lies among the half-open ones.
    pub const FULL: u32 = 102;
    /// Another flow has its key.
    pub const TAKEN: u32 = 103;
}

/// One direction of a flow. 72 bytes for IPv4, 120 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedFlow<A: Address> {
    /// [`what::FLOW4`] or [`what::FLOW6`].
    pub what: u32,
    /// 1 for a confirmed flow, else 0.
    pub confirmed: u32,
    pub key: FlowKey<A>,
    pub flow: Flow<A>,
}
const _: () = assert!(size_of::<CarriedFlow<crate::V4>>() == 72);
const _: () = assert!(size_of::<CarriedFlow<crate::V6>>() == 120);

/// Counters to be added to those of a backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedStats {
    /// [`what::STATS`].
    pub what: u32,
    pub backend_idx: u32,
    pub stats: BackendStats,
}
const _: () = assert!(size_of::<CarriedStats>() == 48);

/// A number to be added to the count of a reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedCount {
    /// [`what::COUNT`].
    pub what: u32,
    /// Index into `reasons`.
    pub reason: u32,
    pub count: u64,
}
const _: () = assert!(size_of::<CarriedCount>() == 16);
