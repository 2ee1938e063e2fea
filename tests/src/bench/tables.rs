//! The tables that the rows are measured on: a service in each family with 32 backends, and a
//! given number of established flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    PROTOCOL_TCP, PROTOCOL_UDP,
    backend::{Backend, Tunnel, flows as backend_flows, state as backend_state},
    flow::{flag, side, state},
    service::{mode, setting},
};

use crate::{
    packet::{GUE_PORT, Mac, mac},
    rig::{Capacity, Entry, INGRESS, Rig, Table, now_ns, tracing},
};

/// The client's router, our two interfaces, and all backends.
pub const ROUTER: Mac = mac(1);
pub const FRONT: Mac = mac(2);
pub const BACK: Mac = mac(3);
pub const PEER: Mac = mac(4);

/// Ports that flow numbers are spread over; `rewind` knows this number too.
const PORTS: u32 = 1 << 14;
const FIRST_PORT: u16 = 16_384;
/// Backends of each family.
pub const BACKENDS: u32 = 32;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The address of a network and a number in it.
    fn address(self, network: u16, number: u32) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from((u32::from(network) << 24) + number).into(),
            Self::V6 => {
                Ipv6Addr::from((0xfd00 << 112) + (u128::from(network) << 32) + u128::from(number))
                    .into()
            }
        }
    }

    const fn version(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    pub fn vip(self) -> SocketAddr {
        SocketAddr::new(self.address(20, 1), 80)
    }

    /// Like the vip, but nothing of ours.
    pub fn stranger(self) -> SocketAddr {
        SocketAddr::new(self.address(21, 1), 80)
    }

    pub fn snat(self) -> IpAddr {
        self.address(10, 5)
    }

    fn backend(self, number: u32) -> SocketAddr {
        SocketAddr::new(self.address(11, number), 8_080)
    }

    fn first_backend_idx(self) -> u32 {
        match self {
            Self::V4 => 0,
            Self::V6 => BACKENDS,
        }
    }

    /// The first of 2^32 clients that have no flow yet.
    pub fn newcomer(self) -> SocketAddr {
        SocketAddr::new(self.address(128, 0), FIRST_PORT)
    }
}

/// Of what kind the flows of a rig are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// TCP in mode `nat`.
    Translated,
    /// UDP in mode `nat`.
    Datagrams,
    /// TCP in mode `nat`, clients of one address family and backends of the other.
    Crossed,
    /// TCP in mode `route`, where the client's address is kept.
    Routed,
    /// TCP in the other modes: the client's direction alone is tracked.
    OneWay,
}

impl Flows {
    /// The mode that the rig is in at first.
    pub const fn mode(self) -> u8 {
        match self {
            Self::Translated | Self::Datagrams | Self::Crossed => mode::NAT,
            Self::Routed => mode::ROUTE,
            Self::OneWay => mode::DSR,
        }
    }

    const fn protocol(self) -> u8 {
        match self {
            Self::Datagrams => PROTOCOL_UDP,
            _ => PROTOCOL_TCP,
        }
    }

    /// The family of the backends of vips of this one.
    const fn backends(self, family: Family) -> Family {
        match (self, family) {
            (Self::Crossed, Family::V4) => Family::V6,
            (Self::Crossed, Family::V6) => Family::V4,
            _ => family,
        }
    }

    /// The four ends of flow number `flow`, by the vip's family: client, vip, the source that the
    /// backend sees, backend.
    pub fn ends(self, family: Family, flow: u32) -> [SocketAddr; 4] {
        let far = self.backends(family);
        let port = FIRST_PORT + (flow % PORTS) as u16;
        let client = SocketAddr::new(family.address(64, flow / PORTS), port);
        let local = match self {
            Self::Routed | Self::OneWay => client,
            _ => SocketAddr::new(far.snat(), port),
        };
        [client, family.vip(), local, far.backend(flow / PORTS)]
    }
}

/// Where outer packets come from.
fn tunnel(family: Family) -> Tunnel {
    Tunnel {
        source: Rig::address_words(family.snat()),
        spread: [0; 4],
        mtu: 1500,
        port_be: GUE_PORT.to_be(),
        version: family.version(),
        variant: 0,
        pad: [0; 3],
    }
}

/// Sets the mode of a rig whose flows fit it.
pub fn set_mode(rig: &mut Rig, mode: u8) {
    for service_idx in 0..2 {
        rig.service_mode(service_idx, mode);
    }
    for backend_idx in 0..2 * BACKENDS {
        rig.change_backend(backend_idx, |backend| backend.mode = mode);
    }
}

/// Established flows of a rig: few, and many.
pub const FEW: u32 = 65_536;
pub const MANY: u32 = 524_288;

/// `limits.half_open` by default.
const HALF_OPEN: u32 = 65_536;

/// A rig that rows are measured on.
pub struct Setup {
    /// `limits.flows`.
    limit: u32,
    established: u32,
    pub flows: Flows,
    /// One packet of so many is traced; 0 for the plain program.
    trace_every: u32,
}

/// All of them: tables of the default length with 64k flows of each kind, and larger ones with 512k.
pub const RIGS: [Setup; 8] = [
    Setup::by_default(Flows::Translated),
    Setup {
        // As large as hold all those flows without one that finds its bucket full.
        limit: MANY + MANY / 2,
        established: MANY,
        ..Setup::by_default(Flows::Translated)
    },
    Setup::by_default(Flows::Datagrams),
    Setup::by_default(Flows::Crossed),
    Setup::by_default(Flows::Routed),
    Setup::by_default(Flows::OneWay),
    Setup {
        trace_every: 100,
        ..Setup::by_default(Flows::Translated)
    },
    Setup {
        trace_every: 1,
        ..Setup::by_default(Flows::Translated)
    },
];

impl Setup {
    const fn by_default(flows: Flows) -> Self {
        Self {
            limit: 262_144,
            established: FEW,
            flows,
            trace_every: 0,
        }
    }
}

/// Which of them, by index.
pub const SMALL: usize = 0;
pub const LARGE: usize = 1;
pub const DATAGRAMS: usize = 2;
pub const CROSSED: usize = 3;
pub const ROUTED: usize = 4;
pub const ONE_WAY: usize = 5;
pub const TRACED: usize = 6;
pub const TRACED_ALL: usize = 7;

/// Loads them all.
pub fn rigs() -> Vec<Rig> {
    RIGS.map(|setup| {
        let capacity = Capacity::for_limits(setup.limit, HALF_OPEN);
        let load = || rig(capacity, setup.established, setup.flows);
        match setup.trace_every {
            0 => load(),
            every => tracing(every, load),
        }
    })
    .into()
}

/// A rig with both services and so many established flows in each family.
fn rig(sizes: Capacity, established: u32, flows: Flows) -> Rig {
    assert!(
        established <= PORTS * BACKENDS,
        "each backend has {PORTS} flows"
    );
    let mut rig = Rig::load(sizes);
    rig.over(flows.protocol());
    if flows == Flows::Crossed {
        rig.change_settings(|settings| settings.flags |= setting::CROSSED);
    }
    for (service_idx, family) in [(0, Family::V4), (1, Family::V6)] {
        let far = flows.backends(family);
        rig.snat(service_idx, far.snat());
        rig.vip(family.vip(), service_idx);
        rig.service(service_idx, BACKENDS);
        let first = family.first_backend_idx();
        for number in 0..BACKENDS {
            rig.backend(
                first + number,
                Backend {
                    address: Rig::address_words(far.backend(number).ip()),
                    port_be: far.backend(number).port().to_be(),
                    state: backend_state::UP,
                    flows: backend_flows::FORWARD,
                    ifindex: INGRESS,
                    peer_mac: PEER,
                    local_mac: BACK,
                    service_idx: service_idx as u16,
                    weight: 1,
                    snat_first: service_idx as u16,
                    snat_count: 1,
                    mode: mode::NAT,
                    version: far.version(),
                    protocol: flows.protocol(),
                    identity: u64::from(first + number) + 1,
                    ..Backend::FREE
                },
            );
            rig.tunnel(first + number, tunnel(far));
            if flows == Flows::Routed {
                rig.route(far.backend(number));
            }
        }
        rig.ring(service_idx, |slot| first + slot % BACKENDS);
        rig.write_entries((0..established).flat_map(|flow| entries(family, flow, flows)));
    }
    set_mode(&mut rig, flows.mode());
    rig
}

/// An end as the table of IPv6 has it.
fn in_ipv6(end: SocketAddr) -> SocketAddr {
    let address = match end.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    SocketAddr::new(address.into(), end.port())
}

/// The entries of an established flow.
fn entries(family: Family, flow: u32, flows: Flows) -> Vec<(SocketAddr, SocketAddr, Entry)> {
    let mut ends = flows.ends(family, flow);
    if flows == Flows::Crossed {
        ends = ends.map(in_ipv6);
    }
    let [client, vip, local, backend] = ends;
    let entry = |source, destination, side| Entry {
        table: Table::Confirmed,
        source,
        destination,
        backend_idx: family.first_backend_idx() + flow / PORTS,
        last_seen_ns: now_ns(),
        state: state::ESTABLISHED,
        side,
        closed_by: 0,
        flags: match flows {
            Flows::OneWay => flag::ONE_WAY,
            Flows::Crossed => flag::CROSSED,
            _ => 0,
        },
        pending: 0,
        ifindex: INGRESS,
        local_mac: FRONT,
        peer_mac: ROUTER,
    };
    let mut entries = vec![(client, vip, entry(local, backend, side::CLIENT))];
    if flows != Flows::OneWay {
        entries.push((backend, local, entry(vip, client, side::BACKEND)));
    }
    entries
}
