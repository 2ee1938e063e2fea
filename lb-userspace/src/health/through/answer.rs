//! What comes back to a SYN. Pure.

use std::net::SocketAddr;

use etherparse::{IpNumber, IpSlice, TcpSlice};

/// How a connection was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Accepted,
    Refused,
}

/// The answer to a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    /// The vip.
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The sequence number after that of the SYN.
    pub(super) acknowledged: u32,
}

/// Reads an IP packet; `None` for one that answers no SYN.
pub(super) fn read(packet: &[u8]) -> Option<Answer> {
    let ip = IpSlice::from_slice(packet).ok()?;
    let payload = ip.payload();
    if payload.ip_number != IpNumber::TCP || payload.fragmented {
        return None;
    }
    let tcp = TcpSlice::from_slice(payload.payload).ok()?;
    let kind = match (tcp.ack(), tcp.syn(), tcp.rst()) {
        (true, true, false) => Kind::Accepted,
        (true, false, true) => Kind::Refused,
        _ => return None,
    };
    Some(Answer {
        kind,
        from: SocketAddr::new(ip.source_addr(), tcp.source_port()),
        to: SocketAddr::new(ip.destination_addr(), tcp.destination_port()),
        acknowledged: tcp.acknowledgment_number(),
    })
}
