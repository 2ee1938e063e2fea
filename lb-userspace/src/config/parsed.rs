//! The configuration as the rest of the program sees it: checked, complete, every default filled
//! in. What the fields can hold is what [`parse`](super::parse) lets through.

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use serde::Serialize;

use super::{
    check::HealthCheck,
    sources::Sources,
    told,
    vip::{PortRange, Vip},
};

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where XDP attaches: at least one name, each 1-15 bytes and listed once.
    pub interfaces: Vec<String>,
    pub xdp: XdpMode,
    pub snat: Snat,
    pub limits: Limits,
    /// Where metrics are served; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    pub on_exit: OnExit,
    /// The file is applied by itself when it changes.
    pub watch: bool,
    pub announce: Announce,
    /// At least one, at most [`lb_common::MAX_SERVICES`].
    pub services: Vec<Service>,
}

/// What of the vips is told to the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Announce {
    /// Each vip that has a backend is put on the host, and told to the neighbours.
    pub addresses: bool,
    /// The interface they are put on. `None`: of [`Config::interfaces`], the one whose network a vip
    /// lies in, or else the first.
    pub interface: Option<String>,
}

/// Source addresses and ports of mode `nat`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snat {
    /// Unicast, each listed once, at most [`lb_common::MAX_SNAT`]. Empty: the host's own source
    /// address toward each backend.
    pub addresses: Vec<IpAddr>,
    pub ports: PortRange,
}

/// Most flows of each address family: 64 to 16,777,216 either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Confirmed flows.
    pub flows: u32,
    /// Flows that both sides have not yet confirmed.
    pub half_open: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 262_144,
            half_open: 65_536,
        }
    }
}

/// A named virtual service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// 1-63 characters of `A-Z a-z 0-9 . _ -`; no other service has it.
    pub name: String,
    /// Its vips: at least one; no service lists one of them again. Unicast. Of two vips of one address
    /// and protocol that share ports, one lies within the other.
    pub listen: Vec<Vip>,
    pub protocol: Protocol,
    pub mode: Mode,
    /// Of modes `ipip` and `gue`.
    pub tunnel: Tunnel,
    pub scheduler: Scheduler,
    /// `None`: each flow is chosen for itself.
    pub affinity: Option<Affinity>,
    pub on_down: OnDown,
    /// How long the flows of a backend that drains may go on: at most 7 days.
    pub drain_timeout: Duration,
    /// How long a backend that came up takes to get its full share of new flows: at most 1 h, 0 for
    /// no time.
    pub slow_start: Duration,
    /// When fewer than so many percent of the backends are up, all are used: 0-100, 0 for never.
    pub panic_threshold_percent: u32,
    pub timeouts: Timeouts,
    pub health_check: HealthCheck,
    /// At most [`lb_common::sources::MAX_SOURCES`] of a family over all services.
    #[serde(flatten)]
    pub sources: Sources,
    /// May be empty: new flows are then answered with RST. In mode `route` each has a vip of its
    /// family, in one-way modes one with its port, if it has a port.
    pub backends: Vec<Backend>,
}

impl Service {
    /// The port on which this backend of the service is probed: that of the health check, or the
    /// backend's own, or the one that all vips have. `None` where it has none of these, which happens
    /// only without health checks.
    #[must_use]
    pub fn probe_port(&self, backend: &Backend) -> Option<u16> {
        let own = (backend.address.port() != 0).then(|| backend.address.port());
        (self.health_check.port)
            .or(own)
            .or_else(|| only_port(self.listen.iter().map(|vip| vip.ports)))
    }
}

/// The port, where all of these are the same single one.
pub(super) fn only_port(ports: impl IntoIterator<Item = PortRange>) -> Option<u16> {
    let mut ports = ports.into_iter();
    let first = ports.next()?;
    ports.all(|other| other == first).then(|| first.single())?
}

/// How packets are wrapped for backends of modes `ipip` and `gue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// Where outer packets say that they come from, varied from flow to flow: at most one prefix of
    /// each family. Without one, the host's own source address toward the backend.
    pub sources: Vec<Prefix>,
    /// Destination port of mode `gue`, not 0.
    pub port: u16,
    #[serde(serialize_with = "told::variant")]
    pub variant: GueVariant,
}

impl Default for Tunnel {
    /// The port is the one registered for GUE.
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            port: 6080,
            variant: GueVariant::Header,
        }
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first of them: all bits beyond the length are 0.
    pub address: IpAddr,
    /// Bits that are alike, at most 32 or 128.
    pub length: u8,
}

impl Display for Prefix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The two forms of Generic UDP Encapsulation (draft-ietf-intarea-gue, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GueVariant {
    /// Variant 0: four bytes between the UDP header and the packet.
    Header,
    /// Variant 1: the packet follows the UDP header.
    Bare,
}

impl GueVariant {
    /// Its number in the draft.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Header => 0,
            Self::Bare => 1,
        }
    }
}

/// New flows of a client go where its last one went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Affinity {
    /// Bits of an IPv4 address that tell one client from another, 1-32.
    pub prefix4: u8,
    /// Of an IPv6 address, 1-128.
    pub prefix6: u8,
    /// How long a client's backend is remembered after its last new flow, 1 s to 7 days.
    pub timeout: Duration,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            prefix4: 32,
            prefix6: 128,
            timeout: Duration::from_secs(600),
        }
    }
}

/// Most that a backend can weigh.
pub const MAX_WEIGHT: u16 = 1000;

/// A real server behind a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// As a service's name; no other backend of the service has it.
    pub name: String,
    /// Unicast, IPv6 without flow label and scope; no other backend of the service has it. Port 0:
    /// packets keep the port that the client asked for.
    #[serde(serialize_with = "told::address")]
    pub address: SocketAddr,
    /// Share of new flows, 0-1000; 0 takes none.
    pub weight: u16,
    /// It gets new flows only while no other backend does.
    pub backup: bool,
    /// Most flows at a time; `None` for any number.
    pub max_flows: Option<NonZeroU32>,
}

/// How long a flow without packets is kept: 100 ms to 7 days each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    pub half_open: Duration,
    pub established: Duration,
    /// After a FIN of either side.
    pub fin: Duration,
    /// After a RST.
    pub reset: Duration,
    /// Of a UDP flow, whatever its state.
    pub udp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            half_open: Duration::from_secs(60),
            established: Duration::from_secs(900),
            fin: Duration::from_secs(120),
            reset: Duration::from_secs(10),
            udp: Duration::from_secs(60),
        }
    }
}

/// An enum whose variants each have a word in the file.
macro_rules! words {
    ($($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $variant:ident = $word:literal),+ $(,)?
    })+) => { $(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All of them, in the order in which messages list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word for it in the file.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    )+ };
}

impl Mode {
    /// Backends answer clients themselves: ports cannot be changed on the way.
    #[must_use]
    pub const fn is_one_way(self) -> bool {
        matches!(self, Self::Dsr | Self::Ipip | Self::Gue)
    }

    /// A vip may lead to backends of the other address family.
    #[must_use]
    pub const fn crosses_families(self) -> bool {
        !matches!(self, Self::Route)
    }

    /// Packets travel inside others.
    #[must_use]
    pub const fn has_tunnel(self) -> bool {
        matches!(self, Self::Ipip | Self::Gue)
    }
}

words! {
    /// How the XDP program attaches.
    XdpMode {
        /// In the driver, else generic with a warning.
        Auto = "auto",
        /// In the driver or not at all.
        Native = "native",
        /// In the kernel's generic path.
        Generic = "generic",
    }

    /// What SIGTERM does to the datapath.
    OnExit {
        /// Packets keep flowing.
        Keep = "keep",
        /// The program comes off the interfaces.
        Detach = "detach",
    }

    /// Transport protocol of a service.
    Protocol {
        /// RFC 9293.
        Tcp = "tcp",
        /// RFC 768.
        Udp = "udp",
    }

    /// How packets reach the backend.
    Mode {
        /// Source and destination are both rewritten; replies come back through the balancer.
        Nat = "nat",
        /// The destination alone is rewritten; replies come back through the balancer.
        Route = "route",
        /// MAC addresses alone are rewritten; backends answer clients themselves.
        Dsr = "dsr",
        /// Packets travel whole in other IP packets; backends answer clients themselves.
        Ipip = "ipip",
        /// Packets travel whole in UDP datagrams; backends answer clients themselves.
        Gue = "gue",
    }

    /// How a new flow picks its backend.
    Scheduler {
        /// A weighted Maglev ring, indexed by the flow's hash.
        Maglev = "maglev",
        /// By turns, as often as the weights say.
        RoundRobin = "round_robin",
        /// By chance, as likely as the weights say.
        Random = "random",
        /// Of two by chance, the one with fewer flows for its weight.
        LeastConn = "least_conn",
    }

    /// What becomes of the flows of a backend that is down.
    OnDown {
        /// Their next packet is answered with RST.
        Reset = "reset",
        /// They run on.
        Keep = "keep",
    }
}
