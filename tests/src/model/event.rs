//! What may happen: packets of both ends, passing time, sweeps, and changes of backends. An event names
//! clients and backends by number and sequence numbers by what they mean, so that it still makes sense when
//! events before it are left out.

use std::fmt;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client sends a packet to a vip.
    Client {
        client: u8,
        vip: u8,
        /// By which router it comes.
        router: u8,
        kind: Kind,
        /// What it acknowledges: this much more than the flow waits for.
        beyond: u32,
    },
    /// A backend sends a packet of the connection that this client has by this vip.
    Backend {
        client: u8,
        vip: u8,
        /// Of the connection before that.
        earlier: bool,
        kind: Kind,
        sequence: u32,
    },
    /// So many nanoseconds pass.
    Time(u64),
    /// The sweeper comes by.
    Sweep,
    /// The daemon changes a backend's entry.
    Change { backend: u8, change: Change },
    /// The daemon puts a new ring in place, of the backends that are up now.
    Ring,
    /// All that may be answered, or confirmed, for now has been.
    Spend(Budget),
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Syn,
    SynAck,
    Ack,
    Data,
    Fin,
    FinWithData,
    Rst,
    /// Over UDP there is nothing else.
    Datagram,
}

/// What of a packet bears on its flow.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub kind: Kind,
    pub sequence: u32,
    pub acknowledgement: u32,
}

/// What the daemon does to a backend. `keep` is `on_down: keep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Up,
    Down {
        keep: bool,
    },
    Drain,
    Maintenance {
        keep: bool,
    },
    Removed {
        keep: bool,
    },
    /// Its share of the next ring.
    Weight(u8),
    /// Whether the next hop is known.
    Resolved(bool),
}

/// What the balancer may do only so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    Resets,
    UnprovenFlows,
}

impl Sent {
    pub const fn is_fin(&self) -> bool {
        matches!(self.kind, Kind::Fin | Kind::FinWithData)
    }

    /// Bytes of data.
    pub const fn payload(&self) -> u32 {
        self.bytes().len() as u32
    }

    pub const fn bytes(&self) -> &'static [u8] {
        match self.kind {
            Kind::Data | Kind::FinWithData | Kind::Datagram => b"data",
            _ => b"",
        }
    }

    /// It acknowledges something. A reset here does not.
    pub const fn acknowledges(&self) -> bool {
        matches!(
            self.kind,
            Kind::SynAck | Kind::Ack | Kind::Data | Kind::Fin | Kind::FinWithData
        )
    }
}

impl Event {
    /// Its name in the tally.
    pub fn name(&self) -> String {
        match self {
            Self::Client { kind, .. } => format!("client {kind}"),
            Self::Backend { kind, .. } => format!("backend {kind}"),
            Self::Time(_) => "time passes".to_owned(),
            Self::Sweep => "sweep".to_owned(),
            Self::Change { change, .. } => format!("backend is {}", change.name()),
            Self::Ring => "new ring".to_owned(),
            Self::Spend(_) => "budget spent".to_owned(),
        }
    }
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down { keep: false } => "down",
            Self::Down { keep: true } => "down, keep",
            Self::Drain => "drained",
            Self::Maintenance { keep: false } => "in maintenance",
            Self::Maintenance { keep: true } => "in maintenance, keep",
            Self::Removed { keep: false } => "removed",
            Self::Removed { keep: true } => "removed, keep",
            Self::Weight(_) => "of another weight",
            Self::Resolved(false) => "without next hop",
            Self::Resolved(true) => "resolved",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Syn => "SYN",
            Self::SynAck => "SYN-ACK",
            Self::Ack => "ACK",
            Self::Data => "data",
            Self::Fin => "FIN",
            Self::FinWithData => "FIN with data",
            Self::Rst => "RST",
            Self::Datagram => "datagram",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client {
                client,
                vip,
                router,
                kind,
                beyond,
            } => {
                write!(
                    f,
                    "client {client} sends {kind} to vip {vip} by router {router}"
                )?;
                match *beyond as i32 {
                    0 => Ok(()),
                    beyond => write!(f, ", acknowledging {beyond:+} of what is due"),
                }
            }
            Self::Backend {
                client,
                vip,
                earlier,
                kind,
                sequence,
            } => {
                let which = if *earlier {
                    "earlier connection"
                } else {
                    "connection"
                };
                write!(
                    f,
                    "backend of client {client}'s {which} by vip {vip} sends {kind}"
                )?;
                match kind {
                    Kind::SynAck => write!(f, ", sequence {sequence}"),
                    _ => Ok(()),
                }
            }
            Self::Time(ns) => write!(f, "{} s pass", *ns as f64 / 1e9),
            Self::Sweep => f.write_str("the sweeper comes by"),
            Self::Change {
                backend,
                change: Change::Weight(weight),
            } => {
                write!(f, "backend {backend} has weight {weight} in the next ring")
            }
            Self::Change { backend, change } => write!(f, "backend {backend} is {}", change.name()),
            Self::Ring => f.write_str("a new ring of the backends that are up"),
            Self::Spend(Budget::Resets) => f.write_str("the budget of resets is spent"),
            Self::Spend(Budget::UnprovenFlows) => {
                f.write_str("the budget of unproven flows is spent")
            }
        }
    }
}
