//! What each CPU may do only so often: token buckets.

/// What each CPU may do only so often in a second: the index into `budgets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Budgeted {
    /// Sending a reset.
    Reset,
    /// Confirming a flow when nothing proves that the client's packets come from where they say: those
    /// of which only these packets are seen, and all of UDP.
    UnprovenFlow,
    /// Answering an echo request.
    Echo,
    /// Sending an ICMP error about a packet whose hops are used up.
    TimeExceeded,
    /// Sending one about a packet that is too big. Apart from the former, which anybody may provoke.
    TooBig,
    /// Walking along the whole of a service's ring for a backend that is up and takes flows.
    RingWalk,
}

impl Budgeted {
    /// Length of the map `budgets`.
    pub const COUNT: u32 = 6;

    /// How often in a second, which is also the burst that may be saved up.
    #[inline(always)]
    #[must_use]
    pub const fn per_second(self) -> u64 {
        match self {
            Self::Reset | Self::Echo => 10_000,
            Self::UnprovenFlow => 50_000,
            Self::TimeExceeded | Self::TooBig | Self::RingWalk => 1_000,
        }
    }
}

/// Token bucket of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub tokens: u64,
    pub refilled_ns: u64,
}
const _: () = assert!(size_of::<Budget>() == 16);
