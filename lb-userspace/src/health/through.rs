//! Probes by the way that a service's packets go: what is sent to a vip, on one certain backend.
//!
//! A backend of the modes `dsr`, `ipip` and `gue` may be well and still answer no client, because it
//! does not hold the vip or does not unwrap packets. So a connection to the vip is begun with a frame
//! of our own ([`frame`]) to the backend's next hop; whoever answers it, answers this host, before
//! whose own stack the answer is seen ([`wire`]).

mod answer;
mod filter;
mod frame;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(super) use wire::Wire;

use super::probe::{Datagram, Failure};

/// What is asked of a backend by the way of its service's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    pub mode: Mode,
    /// The vips, each with what is asked of it.
    pub aims: Vec<Aim>,
}

/// A vip to be asked on the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    pub vip: SocketAddr,
    pub ask: Ask,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Well when it accepts a connection.
    Accept,
    /// Well when it answers at all, if only to refuse: nothing says that somebody listens there.
    Answer,
    /// Well when it answers a datagram as expected.
    Datagram(Datagram),
}

/// The modes in which backends get packets for the vip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Dsr,
    Ipip,
    Gue,
}

impl Mode {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
        }
    }
}

/// What is known of the way to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// Nothing yet: worth waiting for.
    #[default]
    Unknown,
    /// Why no frame of ours can go there.
    None(String),
    Known(Arc<Way>),
}

/// How frames get to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface that they leave by, as an address of family AF_PACKET.
    pub link: socket2::SockAddr,
    /// Of that interface, and of the next hop.
    pub local_mac: [u8; 6],
    pub peer_mac: [u8; 6],
    /// Our addresses that the backend can answer to, neither of which is a vip.
    pub source4: Option<Ipv4Addr>,
    pub source6: Option<Ipv6Addr>,
    /// Of modes `ipip` and `gue`.
    pub outer: Option<Outer>,
}

/// What a packet is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Of the same family as the backend's address.
    pub source: IpAddr,
    /// The bits of the source that vary from flow to flow, as an address.
    pub spread: IpAddr,
    pub backend: IpAddr,
    /// Of mode `gue`.
    pub gue: Option<Gue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gue {
    pub port: u16,
    /// The packet follows the UDP header: variant 1.
    pub bare: bool,
}

impl Way {
    fn source(&self, vip: IpAddr) -> Option<IpAddr> {
        match vip {
            IpAddr::V4(_) => self.source4.map(IpAddr::V4),
            IpAddr::V6(_) => self.source6.map(IpAddr::V6),
        }
    }
}

/// How one of these probes failed, though the backend answers directly.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("answers directly but not for the vip: is {} on its loopback?", vip.ip())]
    NoVip { vip: SocketAddr },
    #[error(
        "answers directly but not through the tunnel: does it unwrap {} and hold the vip {}?",
        mode.name(),
        vip.ip()
    )]
    NoTunnel { mode: Mode, vip: SocketAddr },
    #[error("answers directly but refuses connections to the vip {vip}")]
    Refused { vip: SocketAddr },
    #[error("answers directly but not well for the vip {vip}: {failure}")]
    Answer {
        vip: SocketAddr,
        failure: Box<Failure>,
    },
}

/// What came of the probes of one backend: `Ok` with why some could not be made.
pub(super) type Outcome = Result<Option<String>, Failure>;

/// One backend's probes of this kind.
#[derive(Clone)]
pub(super) struct Prober {
    pub(super) through: Through,
    /// Or why there is none.
    pub(super) wire: Result<Arc<Wire>, String>,
    pub(super) path: watch::Receiver<Path>,
}

impl Prober {
    /// Asks all vips at once.
    pub(super) async fn probe(&mut self, deadline: Instant) -> Outcome {
        let mode = self.through.mode;
        let not_probed = |why: &str| format!("not probed through {}: {why}", mode.name());
        let wire = match &self.wire {
            Ok(wire) => wire,
            Err(why) => return Ok(Some(not_probed(why))),
        };
        let known = self.path.wait_for(|path| *path != Path::Unknown);
        let way = match timeout_at(deadline, known).await {
            Ok(Ok(path)) => match &*path {
                Path::Known(way) => Arc::clone(way),
                Path::None(why) => return Ok(Some(not_probed(why))),
                Path::Unknown => return Err(Failure::NoWay { mode }),
            },
            // The checker is gone, and this task with it, or nothing is known in time.
            Ok(Err(_)) | Err(_) => return Err(Failure::NoWay { mode }),
        };
        let asked = (self.through.aims.iter()).map(|aim| ask(wire, &way, mode, aim, deadline));
        let mut without_source = None;
        for outcome in futures_util::future::join_all(asked).await {
            without_source = without_source.or(outcome?);
        }
        Ok(without_source.map(|why| not_probed(&why)))
    }
}

/// Asks one vip.
async fn ask(wire: &Wire, way: &Way, mode: Mode, aim: &Aim, deadline: Instant) -> Outcome {
    let vip = aim.vip;
    let Some(source) = way.source(vip.ip()) else {
        let family = if vip.is_ipv4() { "IPv4" } else { "IPv6" };
        return Ok(Some(format!(
            "this host has no {family} address but vips to ask {} from",
            vip.ip()
        )));
    };
    let answered = match &aim.ask {
        Ask::Accept | Ask::Answer => match wire.connect(way, source, vip, deadline).await? {
            Some(answer::Kind::Refused) if aim.ask == Ask::Accept => {
                return Err(Trouble::Refused { vip }.into());
            }
            answer => answer.is_some(),
        },
        Ask::Datagram(datagram) => match wire.datagram(way, source, vip, datagram, deadline).await?
        {
            Some(Err(failure)) => {
                let failure = Box::new(failure);
                return Err(Trouble::Answer { vip, failure }.into());
            }
            answer => answer.is_some(),
        },
    };
    match (answered, mode) {
        (true, _) => Ok(None),
        (false, Mode::Dsr) => Err(Trouble::NoVip { vip }.into()),
        (false, mode) => Err(Trouble::NoTunnel { mode, vip }.into()),
    }
}

#[cfg(test)]
mod tests;
