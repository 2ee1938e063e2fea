//! A flow, and what the packets of its two ends make of it. This is the table "The life of a TCP flow"
//! of docs/packet-path.md, and docs/services/udp.md, as code.

use std::{fmt, net::SocketAddr};

use super::event::{Kind, Sent};
use crate::packet::Mac;

/// How far an acknowledgement may lie beyond the least one that confirms (decision 0002).
const CONFIRM_WINDOW: u32 = 65_536;

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client,
    Backend,
}

/// States of a flow. Of UDP there are the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The client's first packet was forwarded.
    HalfOpen,
    /// The backend answered: over TCP, by its SYN-ACK.
    Answered,
    /// The client's next packet proved that it got the answer.
    Established,
    /// One end sent FIN.
    Fin,
    /// Both did.
    Closed,
    /// Either end sent RST, or the balancer answered with one.
    Reset,
}

impl State {
    pub const ALL: [Self; 6] = [
        Self::HalfOpen,
        Self::Answered,
        Self::Established,
        Self::Fin,
        Self::Closed,
        Self::Reset,
    ];

    /// A SYN of the client starts a new flow in place of one in this state.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Fin | Self::Closed | Self::Reset)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HalfOpen => "half_open",
            Self::Answered => "syn_acked",
            Self::Established => "established",
            Self::Fin => "fin",
            Self::Closed => "closed",
            Self::Reset => "reset",
        })
    }
}

/// A flow of a client through the balancer. One that is not confirmed may lose either of its entries to
/// a newer flow, and each then lives for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    /// Our end toward the backend; in other modes than `nat` the client's own.
    pub local: SocketAddr,
    pub backend: usize,
    pub backend_address: SocketAddr,
    pub state: State,
    /// It is among those that nothing pushes out.
    pub confirmed: bool,
    /// When it last asked for a place among those and found none.
    pub refused_ns: Option<u64>,
    pub client_closed: bool,
    pub backend_closed: bool,
    /// Of those two, the backend was the first.
    pub backend_closed_first: bool,
    /// The least acknowledgement of the client that confirms it: of the SYN-ACK, once that was seen.
    pub expects: Option<u32>,
    /// Where the client's packets come from.
    pub router: Mac,
    /// When the last packet of either end passed.
    pub last_ns: u64,
    /// Which of its two entries there are.
    pub has_client_entry: bool,
    pub has_reply_entry: bool,
}

impl Flow {
    pub const fn is_gone(&self) -> bool {
        !self.has_client_entry && !self.has_reply_entry
    }

    /// A packet of the client acknowledges the SYN-ACK that the backend sent.
    pub const fn is_confirmed_by(&self, sent: &Sent) -> bool {
        match self.expects {
            Some(least) => sent.acknowledgement.wrapping_sub(least) < CONFIRM_WINDOW,
            None => false,
        }
    }

    /// The backend sent a SYN-ACK. It counts while nothing is established, and even after a reset: that
    /// may have been the answer to a straggler of the connection before.
    pub fn hear_syn_ack(&mut self, sent: &Sent) {
        if !self.confirmed && matches!(self.state, State::HalfOpen | State::Answered | State::Reset)
        {
            self.state = State::Answered;
            self.expects = Some(sent.sequence.wrapping_add(1));
        }
    }

    /// What FIN, RST and data mean. A reset only shortens the timer: whoever sends data or a FIN did not take
    /// it for valid, and the flow is again what it was. But what was never confirmed does not come back.
    pub fn hear_end(&mut self, from: End, sent: &Sent) {
        let was_reset = self.state == State::Reset;
        if sent.kind == Kind::Rst {
            self.state = State::Reset;
            return;
        }
        if was_reset && !self.confirmed {
            return;
        }
        if sent.is_fin() && self.state >= State::Established {
            self.backend_closed_first |=
                from == End::Backend && !self.client_closed && !self.backend_closed;
            match from {
                End::Client => self.client_closed = true,
                End::Backend => self.backend_closed = true,
            }
            self.state = self.as_closed();
        } else if was_reset && sent.payload() > 0 {
            self.state = self.as_closed();
        }
    }

    /// By who has sent FIN.
    const fn as_closed(&self) -> State {
        match (self.client_closed, self.backend_closed) {
            (false, false) => State::Established,
            (true, true) => State::Closed,
            _ => State::Fin,
        }
    }
}

/// An entry of the flow table, as far as both sides have a view of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Of the packets that it matches.
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// After the rewrite.
    pub new_from: SocketAddr,
    pub new_to: SocketAddr,
    pub backend: usize,
    pub state: String,
    pub confirmed: bool,
    pub of_client: bool,
    /// Bits: the client, the backend closed.
    pub closed_by: u8,
    pub backend_closed_first: bool,
    pub router: Mac,
    pub last_ns: u64,
}

impl Flow {
    /// Its entries, by the directions.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let entry = |of_client: bool| Entry {
            from: if of_client {
                self.client
            } else {
                self.backend_address
            },
            to: if of_client { self.vip } else { self.local },
            new_from: if of_client { self.local } else { self.vip },
            new_to: if of_client {
                self.backend_address
            } else {
                self.client
            },
            backend: self.backend,
            state: self.state.to_string(),
            confirmed: self.confirmed,
            of_client,
            closed_by: u8::from(self.client_closed) | u8::from(self.backend_closed) << 1,
            backend_closed_first: self.backend_closed_first,
            router: self.router,
            last_ns: self.last_ns,
        };
        [(self.has_client_entry, true), (self.has_reply_entry, false)]
            .into_iter()
            .filter(|(held, _)| *held)
            .map(move |(_, of_client)| entry(of_client))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} > {} becomes {} > {}: {} {}, backend {}, closed by {}{}, last seen {} ms, router {}",
            self.from,
            self.to,
            self.new_from,
            self.new_to,
            if self.confirmed {
                "confirmed"
            } else {
                "half-open"
            },
            self.state,
            self.backend,
            self.closed_by,
            if self.backend_closed_first {
                " (backend first)"
            } else {
                ""
            },
            self.last_ns / 1_000_000,
            self.router[5],
        )
    }
}
