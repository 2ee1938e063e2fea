//! What surrounds the flows: addresses, the time, the backends and their ring, what is left of the
//! budgets. The model and the program under test are both told of every change.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_common::service::mode;

use super::{
    event::{Budget, Change},
    flow::State,
};
use crate::packet::{Mac, mac};

/// Our interface toward the clients, and that toward the backends.
pub const FRONT: Mac = mac(2);
pub const BACK: Mac = mac(3);

pub const SECOND_NS: u64 = 1_000_000_000;

/// What a sequence of events happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub v6: bool,
    pub udp: bool,
    /// One of [`mode`].
    pub mode: u8,
    pub clients: u8,
    pub vips: u8,
    pub backends: u8,
    /// Source addresses of mode `nat`, and ports of each; with 0 there are as many ports as by default.
    pub sources: u8,
    pub ports: u16,
    /// Buckets of the flow table.
    pub buckets: u32,
    /// Places for confirmed entries that are left in a table of one bucket; others' flows hold the rest.
    pub room: Option<u8>,
}

impl Setup {
    /// The balancer sees the client's packets only.
    pub const fn is_one_way(&self) -> bool {
        mode::is_one_way(self.mode)
    }

    /// Modes `ipip` and `gue`.
    pub const fn is_tunnel(&self) -> bool {
        matches!(self.mode, mode::IPIP | mode::GUE)
    }

    fn address(&self, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
        if self.v6 {
            Ipv6Addr::from(v6).into()
        } else {
            Ipv4Addr::from(v4).into()
        }
    }

    pub fn client(&self, n: u8) -> SocketAddr {
        let address = self.address(
            [198, 51, 100, 7 + n],
            [0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 7 + u16::from(n)],
        );
        SocketAddr::new(address, 40_000 + u16::from(n))
    }

    pub fn vip(&self, n: u8) -> SocketAddr {
        let address = self.address([203, 0, 113, 10], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10]);
        SocketAddr::new(address, [80, 443][usize::from(n)])
    }

    pub fn backend(&self, n: usize) -> SocketAddr {
        let address = self.address(
            [10, 0, 0, 11 + n as u8],
            [0xfd00, 0, 0, 0, 0, 0, 0, 11 + n as u16],
        );
        SocketAddr::new(address, 8_080)
    }

    /// Our own addresses toward the backends.
    pub fn source(&self, n: u8) -> IpAddr {
        self.address(
            [10, 0, 0, 5 + n],
            [0xfd00, 0, 0, 0, 0, 0, 0, 5 + u16::from(n)],
        )
    }

    /// Of the outer header of a tunnel.
    pub fn tunnel_source(&self) -> IpAddr {
        self.address([192, 0, 2, 64], [0x2001, 0xdb8, 7, 0, 0, 0, 0, 1])
    }

    /// Who holds the rest of a full table.
    pub fn stranger(&self, n: u8) -> SocketAddr {
        let address = self.address([192, 0, 2, 200], [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1]);
        SocketAddr::new(address, 20_000 + u16::from(n))
    }

    /// The first and the number of the source ports.
    pub const fn port_range(&self) -> (u16, u16) {
        if self.ports == 0 {
            (1_024, 31_744)
        } else {
            (5_000, self.ports)
        }
    }

    /// The balancer may give this source to a flow.
    pub fn is_source(&self, local: SocketAddr) -> bool {
        let (first, count) = self.port_range();
        (0..self.sources).any(|n| self.source(n) == local.ip())
            && (first..=first + (count - 1)).contains(&local.port())
    }

    /// All of them, if they are few enough that a new flow tries each in its first eight attempts.
    pub fn few_sources(&self) -> Option<Vec<SocketAddr>> {
        let (first, count) = self.port_range();
        (u32::from(count) * u32::from(self.sources) <= 8).then(|| {
            (0..self.sources)
                .flat_map(|n| (first..first + count).map(move |port| (n, port)))
                .map(|(n, port)| SocketAddr::new(self.source(n), port))
                .collect()
        })
    }
}

/// By which router a client's packets come.
pub const fn router_mac(n: u8) -> Mac {
    mac(40 + n)
}

pub const fn backend_mac(n: usize) -> Mac {
    mac(100 + n as u8)
}

/// How long a flow without packets is kept: all different, and short enough that a sequence passes them.
pub const fn timeout_ns(state: State) -> u64 {
    SECOND_NS
        * match state {
            State::HalfOpen | State::Answered => 20,
            State::Established => 80,
            State::Fin | State::Closed => 65,
            State::Reset => 10,
        }
}

/// A backend as its entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// It takes new flows.
    pub is_up: bool,
    /// Its flows are over.
    pub ends_flows: bool,
    pub resolved: bool,
    /// In rings to come.
    pub weight: u8,
}

/// Tokens of one budget, of which so many come in a second, and no more than these are saved.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    per_second: u64,
    left: u64,
    since_ns: u64,
}

impl Tokens {
    fn spend(&mut self, now_ns: u64) -> bool {
        let elapsed_ns = (now_ns - self.since_ns).min(SECOND_NS);
        let earned = elapsed_ns * self.per_second / SECOND_NS;
        if earned > 0 {
            self.left = (self.left + earned).min(self.per_second);
            self.since_ns = now_ns;
        }
        let any = self.left > 0;
        self.left -= u64::from(any);
        any
    }
}

/// The world around the flows.
pub struct World {
    pub setup: Setup,
    pub now_ns: u64,
    pub backends: Vec<Backend>,
    /// Who has a part of the ring, and how large.
    pub ring: Vec<(usize, u8)>,
    resets: Tokens,
    unproven: Tokens,
    /// Where flows with this client and vip went, by the ring and the backends that were up.
    chosen: HashMap<(Circumstances, SocketAddr, SocketAddr), usize>,
}

/// All that a choice may depend on, besides the flow: the ring, and who is up.
type Circumstances = (Vec<(usize, u8)>, Vec<bool>);

impl World {
    pub fn new(setup: Setup, now_ns: u64) -> Self {
        let up = Backend {
            is_up: true,
            ends_flows: false,
            resolved: true,
            weight: 1,
        };
        let tokens = |per_second| Tokens {
            per_second,
            left: per_second,
            since_ns: now_ns,
        };
        let mut world = Self {
            setup,
            now_ns,
            backends: vec![up; usize::from(setup.backends)],
            ring: Vec::new(),
            resets: tokens(10_000),
            unproven: tokens(50_000),
            chosen: HashMap::new(),
        };
        world.turn();
        world
    }

    pub fn change(&mut self, backend: usize, change: Change) {
        let backend = &mut self.backends[backend];
        let (is_up, ends_flows) = match change {
            Change::Weight(weight) => return backend.weight = weight,
            Change::Resolved(resolved) => return backend.resolved = resolved,
            Change::Up => (true, false),
            Change::Drain => (false, false),
            Change::Down { keep } | Change::Maintenance { keep } | Change::Removed { keep } => {
                (false, !keep)
            }
        };
        (backend.is_up, backend.ends_flows) = (is_up, ends_flows);
    }

    /// A new ring.
    pub fn turn(&mut self) {
        self.ring = (self.backends.iter().enumerate())
            .filter(|(_, backend)| backend.is_up && backend.weight > 0)
            .map(|(n, backend)| (n, backend.weight))
            .collect();
    }

    /// Whether a new flow may go to this backend.
    pub fn takes_flows(&self, backend: usize) -> bool {
        self.backends[backend].is_up && self.ring.iter().any(|(member, _)| *member == backend)
    }

    /// Whether a new flow may go anywhere.
    pub fn any_takes_flows(&self) -> bool {
        (0..self.backends.len()).any(|n| self.takes_flows(n))
    }

    /// A new flow went to this backend: that must be so whenever the same flow is opened under the same
    /// ring. If not, where it went before.
    pub fn went(&mut self, client: SocketAddr, vip: SocketAddr, backend: usize) -> Option<usize> {
        let ups = self.backends.iter().map(|backend| backend.is_up).collect();
        let before = *(self.chosen)
            .entry(((self.ring.clone(), ups), client, vip))
            .or_insert(backend);
        (before != backend).then_some(before)
    }

    /// Takes a token, if there is one.
    pub fn spend(&mut self, what: Budget) -> bool {
        let now_ns = self.now_ns;
        self.tokens(what).spend(now_ns)
    }

    /// Takes all of them.
    pub fn spend_all(&mut self, what: Budget) {
        let now_ns = self.now_ns;
        let tokens = self.tokens(what);
        (tokens.left, tokens.since_ns) = (0, now_ns);
    }

    fn tokens(&mut self, what: Budget) -> &mut Tokens {
        match what {
            Budget::Resets => &mut self.resets,
            Budget::UnprovenFlows => &mut self.unproven,
        }
    }
}

impl Setup {
    /// Mode, protocol and family.
    pub fn name(&self) -> String {
        let mode = match self.mode {
            mode::NAT => "nat",
            mode::ROUTE => "route",
            mode::DSR => "dsr",
            mode::IPIP => "ipip",
            _ => "gue",
        };
        let protocol = if self.udp { "udp" } else { "tcp" };
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        format!("{mode} {protocol} {family}")
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        write!(
            f,
            "{name}; clients: {}, vips: {}, backends: {}; buckets: {}",
            self.clients, self.vips, self.backends, self.buckets,
        )?;
        if self.mode == mode::NAT {
            let (first, count) = self.port_range();
            write!(
                f,
                "; {} sources with {count} ports from {first} on",
                self.sources
            )?;
        }
        match self.room {
            Some(room) => write!(f, "; room for {room} confirmed entries"),
            None => Ok(()),
        }
    }
}
