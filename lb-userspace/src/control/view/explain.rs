//! What would become of a packet, and why: `GET /v1/explain`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use crate::control::packet::Packet;

/// Which packet: the query.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExplainQuery {
    /// Its source: an address, with a port if that matters.
    pub client: String,
    /// Its destination: address and port, or the name of a service.
    pub vip: String,
    /// `tcp` or `udp`; by default that of the vip.
    pub protocol: Option<String>,
    /// By which interface it comes; by default that by which packets to the client go.
    pub interface: Option<String>,
    /// Bytes of the IP packet that is tried for its size; by default what the interface carries.
    pub size: Option<u32>,
}

/// What became of it when the program was run on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub protocol: String,
    /// By which it comes.
    pub interface: String,
    /// `syn`, `segment` (of a flow that exists) or `datagram`.
    pub packet: String,
    /// The service that has the vip.
    pub service: Option<ExplainedService>,
    /// The flow that it belongs to, if there was one before.
    pub flow: Option<ExplainedFlow>,
    /// Where on the ring a new flow falls; null where the ring is not asked.
    pub ring: Option<ExplainedRing>,
    /// The one that gets it.
    pub backend: Option<ExplainedBackend>,
    /// Why that one, or why none, in words.
    pub why: String,
    /// `forward`, `pass` (to the kernel), `drop`, or `answer` (turned into an answer to its sender).
    pub verdict: String,
    /// Why it was not simply forwarded: a reason as metrics name it.
    pub reason: Option<String>,
    pub meaning: Option<String>,
    /// As it comes, and as it goes.
    pub arrived: Option<Packet>,
    pub left: Option<Packet>,
    pub next_hop: Option<ExplainedHop>,
    /// What becomes of a large one of the same flow.
    pub mtu: Option<ExplainedSize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedService {
    pub name: String,
    /// As in the configuration.
    pub vip: String,
    pub mode: String,
    pub scheduler: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFlow {
    pub state: String,
    pub confirmed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRing {
    /// Of the flow's 5-tuple, or with affinity of the client's address; hexadecimal.
    pub hash: String,
    pub slot: u32,
    pub slots: u32,
    /// Whose the slot is.
    pub backend: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedBackend {
    pub name: String,
    pub address: String,
    pub state: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedHop {
    /// By which it leaves.
    pub interface: String,
    /// The MAC address that it goes to.
    pub mac: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedSize {
    /// Bytes of the IP packet that was tried, which was not to be fragmented.
    pub size: u32,
    pub verdict: String,
    pub reason: Option<String>,
    /// Most that the way carries, as the sender would be told; null where it fits or nothing is told.
    pub carries: Option<u32>,
}
