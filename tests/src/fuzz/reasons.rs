//! Sets of reasons.

use std::fmt;

use lb_common::reason::Reason;

/// Reasons of which one is counted for a packet, or of which several would be right.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Reasons(u64);

const _: () = assert!(Reason::ALL.len() <= 64);

impl Reasons {
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        Self(1 << reason as u32)
    }

    /// With this one, if it holds.
    #[must_use]
    pub const fn or(self, reason: Reason, holds: bool) -> Self {
        Self(self.0 | (holds as u64) << reason as u32)
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn has(self, reason: Reason) -> bool {
        self.0 >> reason as u32 & 1 != 0
    }

    /// It is the only one.
    #[must_use]
    pub const fn is_only(self, reason: Reason) -> bool {
        self.0 == Self::of(reason).0
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Reason::ALL.iter().filter(|reason| self.has(**reason));
        f.debug_set()
            .entries(all.map(|reason| reason.name()))
            .finish()
    }
}
