//! What a trace tells: one line of JSON each.

use serde::{Deserialize, Serialize};

pub use crate::control::packet::Packet;

/// Which packets to tell of: the query of `GET /v1/trace`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceFilter {
    /// Those of this service.
    pub service: String,
    /// One of so many, on average, of all that the program sees; 1 for every one.
    pub every: Option<u32>,
}

/// One line of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceLine {
    /// What became of one packet.
    Decision(Box<Decision>),
    /// Once a second, so that who listens knows that the trace is on.
    Progress(Progress),
}

/// Since the trace began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Packets that were sampled, of whichever service.
    pub sampled: u64,
    /// Sampled packets that are not told of, because the reader was too slow.
    pub lost: u64,
}

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// RFC 3339, with microseconds.
    pub time: String,
    pub service: String,
    /// Where it goes to or comes from; null where none is known by the packet.
    pub backend: Option<String>,
    /// The interface by which it came.
    pub interface: String,
    /// `forward`, `pass` (to the kernel), `drop`, or `answer` (turned into an answer to its sender).
    pub verdict: String,
    /// Why, where it was not simply forwarded: a reason as metrics name it.
    pub reason: Option<String>,
    /// The reason in words.
    pub meaning: Option<String>,
    /// The packet as it came and as it went; null where it is not IP or was dropped.
    pub arrived: Option<Packet>,
    pub left: Option<Packet>,
    /// Bytes of the frame as it came and as it went.
    pub arrived_length: u32,
    pub left_length: u32,
    /// The frames' first 192 bytes at most, in hexadecimal digits.
    pub arrived_bytes: String,
    pub left_bytes: String,
}
