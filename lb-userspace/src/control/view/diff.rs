//! What a reload would change: the JSON of `diff`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST /v1/diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// Keys outside of services.
    pub settings: Vec<Setting>,
    /// Services that are added, changed or removed.
    pub services: Vec<ServiceDiff>,
    /// Live flows of all services whose next packet would be answered with a reset.
    pub flows_reset: u64,
    /// Live flows that would run on at backends which get no new ones.
    pub flows_drained: u64,
}

/// A key with another value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// By the names of the file: `limits.flows`, `timeouts.established`.
    pub key: String,
    /// Null where there is none.
    pub before: Value,
    pub after: Value,
    /// What else it takes to have it in force.
    pub note: Option<String>,
}

/// What becomes of a service or a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Changed,
    Removed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDiff {
    pub name: String,
    pub change: Change,
    pub settings: Vec<Setting>,
    pub backends: Vec<BackendDiff>,
    /// Of each address family of backends that it had and will have.
    pub rings: Vec<RingDiff>,
    pub flows_reset: u64,
    pub flows_drained: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendDiff {
    pub name: String,
    pub address: String,
    pub change: Change,
    pub settings: Vec<Setting>,
    /// Live flows of it that would be reset.
    pub flows_reset: u64,
    /// Live flows that would run on without new ones beside them.
    pub flows_drained: u64,
    /// It has an override, and loses it by leaving.
    pub loses_override: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingDiff {
    /// `IPv4` or `IPv6`, of the backends.
    pub family: String,
    pub slots: u64,
    /// Slots that lead to another backend at once.
    pub moved: u64,
    /// The same once the backends that are new have been found up.
    pub moved_when_up: u64,
}

impl Diff {
    /// Nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.services.is_empty()
    }
}
