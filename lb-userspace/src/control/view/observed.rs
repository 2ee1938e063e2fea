//! All that can be said of the daemon at one time: its [`Status`], and what metrics and the page tell beyond that.

use std::time::SystemTime;

use super::Status;
use crate::health::Tally;

/// What there was to see.
#[derive(Clone, Debug)]
pub struct Observed {
    pub status: Status,
    /// Oldest first.
    pub changes: Vec<Change>,
    pub reloads: Reloads,
    /// How full the tables are, but those of flows.
    pub tables: Vec<Fill>,
    /// The same of flow tables, each family's.
    pub flow_tables: Vec<FlowFill>,
    /// What came of probes, by service.
    pub probes: Vec<(String, Tally)>,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From 1 on since the daemon started.
    pub number: u64,
    pub at: SystemTime,
    pub kind: ChangeKind,
    /// What and why.
    pub words: String,
}

/// What kind of change it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A backend came up, or is used again.
    Up,
    /// A backend went down, or too few are left.
    Down,
    /// The operator decided something over a backend.
    Operator,
    /// The file was applied.
    Reload,
    /// The file was refused.
    Refused,
    /// The way to a backend, or an interface.
    Network,
    /// What others changed was put right.
    Repair,
}

impl ChangeKind {
    /// Name on the page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Operator => "operator",
            Self::Reload => "reload",
            Self::Refused => "refused",
            Self::Network => "network",
            Self::Repair => "repair",
        }
    }
}

/// How the file was applied since the daemon started, and when it last was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloads {
    pub succeeded: u64,
    pub failed: u64,
    /// The start counts as well.
    pub last_success: SystemTime,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub table: &'static str,
    pub entries: u64,
    pub max: u64,
}

/// How full a flow table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowFill {
    /// `ipv4` or `ipv6`, the table's: flows between the families are in that of IPv6.
    pub family: &'static str,
    /// `confirmed` or `half_open`.
    pub table: &'static str,
    pub flows: u64,
    pub max: u64,
}
