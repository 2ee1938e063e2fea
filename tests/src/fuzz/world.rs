//! A world: the real program with its tables filled, and what the judge may know of them. It is put
//! back to its beginning before each part of a run, so that a part can be run again alone.

use std::ops::RangeInclusive;

use lb_common::{
    Budgeted,
    backend::{self, Backend as Entry, Tunnel, flows, state},
    service::{Timeouts, flag, mode, setting},
    sources::access,
};
use lb_userspace::config::{PortRange, Vip};

use super::{
    end::End,
    plan::{self, BACKENDS, Service},
};
use crate::{
    packet::{GUE_PORT, Mac},
    rig::{Capacity, INGRESS, Rig},
};

/// Our interface toward the backends.
pub const BACK: Mac = [2, 0, 0, 0, 0, 3];
/// An interface that is not the one by which packets come.
const OTHER_INTERFACE: u32 = 2;
/// Most bytes of a packet on either interface.
pub const MTU: u32 = 1_420;
/// Most bytes of an outer packet.
pub const TUNNEL_MTU: usize = 1_400;
/// The time at which each part of a run begins.
const BEGINNING_NS: u64 = 1_000_000_000_000;
/// Source addresses of mode `nat`, of each family.
pub const SNATS: u16 = 2;

/// What tells worlds apart.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    /// Of the flow tables.
    pub buckets: u32,
    pub first_port: u16,
    pub last_port: u16,
    /// Mode `nat` alone, and packets that go back where they came from are redirected.
    pub plain: bool,
}

impl Shape {
    /// Flows find little room.
    #[must_use]
    pub const fn is_crowded(&self) -> bool {
        self.buckets < 8
    }
}

pub const SHAPES: [Shape; 3] = [
    Shape {
        name: "roomy",
        buckets: 512,
        first_port: 1_024,
        last_port: 32_767,
        plain: false,
    },
    Shape {
        name: "crowded",
        buckets: 2,
        first_port: 20_000,
        last_port: 20_003,
        plain: false,
    },
    Shape {
        name: "plain",
        buckets: 64,
        first_port: 65_530,
        last_port: 65_535,
        plain: true,
    },
];

/// A backend as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    pub idx: u32,
    pub service_idx: u32,
    pub end: End,
    pub mac: Mac,
    pub state: u8,
    pub flows: u8,
    pub resolved: bool,
}

impl Backend {
    #[must_use]
    pub const fn takes_flows(&self) -> bool {
        self.state == state::UP
    }

    /// What it has is answered with resets.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.flows == flows::RESET
    }

    /// Every seventh is behind another interface.
    #[must_use]
    pub const fn leaves_by_ingress(&self) -> bool {
        self.idx % 7 != 6
    }
}

/// What changes between packets.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Backend {
        idx: u32,
        state: u8,
        flows: u8,
        resolved: bool,
    },
    /// Tokens that are left.
    Budget { what: Budgeted, tokens: u64 },
}

pub struct World {
    pub shape: Shape,
    pub rig: Rig,
    pub services: Vec<Service>,
    pub backends: Vec<Backend>,
    now_ns: u64,
}

impl World {
    /// Loads the program and fills its tables.
    #[must_use]
    pub fn lay(shape: Shape) -> Self {
        let mut rig = Rig::load_with_still_clock(Capacity::of_buckets(shape.buckets));
        let services = if shape.plain {
            plan::plain()
        } else {
            plan::all()
        };
        rig.ports(shape.first_port..=shape.last_port);
        if shape.plain {
            rig.redirect_back();
        } else {
            rig.change_settings(|settings| settings.flags |= setting::CROSSED);
        }
        for v6 in [false, true] {
            for n in 0..SNATS {
                rig.snat(snat_idx(v6, n), plan::snat(v6, n).ip());
            }
        }
        for ifindex in [INGRESS, OTHER_INTERFACE] {
            rig.interface(ifindex, MTU, &[plan::own(false).ip(), plan::own(true).ip()]);
        }
        let mut world = Self {
            shape,
            rig,
            services,
            backends: Vec::new(),
            now_ns: BEGINNING_NS,
        };
        for service in world.services.clone() {
            world.lay_service(&service);
        }
        world
    }

    fn lay_service(&mut self, service: &Service) {
        let (idx, vip) = (service.idx, service.vip);
        let rig = &mut self.rig;
        rig.over(service.protocol);
        rig.service(idx, BACKENDS);
        rig.service_mode(idx, service.mode);
        rig.change_service(idx, |entry| {
            entry.scheduler = service.scheduler;
            if service.max_flows != 0 || service.scheduler != lb_common::service::scheduler::MAGLEV
            {
                entry.flags |= flag::COUNTED;
            }
        });
        if service.affinity {
            let [bits4, bits6] = plan::AFFINITY_BITS;
            rig.affinity(idx, bits4, bits6, 3_600);
        }
        if service.lists {
            rig.obey_lists(idx);
            rig.source(idx, plan::denied(vip.v6), access::DENY);
        }
        let first = idx * BACKENDS;
        rig.ring(idx, |slot| first + slot % BACKENDS);
        for backend_idx in first..first + BACKENDS {
            let backend = Backend {
                idx: backend_idx,
                service_idx: idx,
                end: plan::backend_end(service, backend_idx),
                mac: plan::backend_mac(backend_idx),
                state: state::UP,
                flows: flows::FORWARD,
                resolved: true,
            };
            self.backends.push(backend);
            self.write_backend(service, &backend);
            if service.mode == mode::ROUTE {
                self.rig.route(std::net::SocketAddr::new(
                    backend.end.ip(),
                    backend.end.port,
                ));
            }
            if service.is_tunnel() {
                self.rig.tunnel(backend_idx, tunnel(service));
            }
        }
        let ip = vip.ip();
        if service.has_ports() {
            let ports = (vip.port, service.last_port);
            self.rig.vip_range(range(ip, ports.0..=ports.1), idx);
        } else {
            self.rig.vip(std::net::SocketAddr::new(ip, vip.port), idx);
        }
    }

    fn write_backend(&mut self, service: &Service, backend: &Backend) {
        let ifindex = match (backend.resolved, backend.leaves_by_ingress()) {
            (false, _) => 0,
            (true, true) => INGRESS,
            (true, false) => OTHER_INTERFACE,
        };
        let v6 = service.backends_v6();
        let entry = Entry {
            address: Rig::address_words(backend.end.ip()),
            port_be: backend.end.port.to_be(),
            state: backend.state,
            flows: backend.flows,
            ifindex,
            peer_mac: backend.mac,
            local_mac: BACK,
            service_idx: service.idx as u16,
            weight: 1,
            snat_first: snat_idx(v6, 0) as u16,
            snat_count: SNATS,
            mode: service.mode,
            version: if v6 { 6 } else { 4 },
            protocol: service.protocol,
            identity: 1 + u64::from(backend.idx),
            max_flows: service.max_flows,
            ..backend::Backend::FREE
        };
        self.rig.backend(backend.idx, entry);
    }

    /// As it was laid: no flow, nothing remembered, every backend up.
    pub fn reset(&mut self) {
        self.rig.forget_everything();
        self.now_ns = BEGINNING_NS;
        self.wait(0);
        for idx in 0..self.backends.len() {
            let backend = self.backends[idx];
            if !backend.takes_flows() || backend.is_dead() || !backend.resolved {
                self.make(&Change::Backend {
                    idx: backend.idx,
                    state: state::UP,
                    flows: flows::FORWARD,
                    resolved: true,
                });
            }
        }
        for what in BUDGETS {
            self.make(&Change::Budget {
                what,
                tokens: what.per_second(),
            });
        }
        for service in &self.services {
            self.rig.change_service(service.idx, |entry| {
                entry.timeouts = Timeouts::default();
            });
        }
    }

    /// Carries out a change.
    pub fn make(&mut self, change: &Change) {
        match *change {
            Change::Backend {
                idx,
                state,
                flows,
                resolved,
            } => {
                let backend = &mut self.backends[idx as usize];
                (backend.state, backend.flows) = (state, flows);
                backend.resolved = resolved;
                let backend = *backend;
                let service = self.services[backend.service_idx as usize].clone();
                self.write_backend(&service, &backend);
                let eligible = self.backends_of(service.idx).iter();
                let eligible = eligible.filter(|backend| backend.takes_flows()).count() as u32;
                self.rig
                    .change_service(service.idx, |entry| entry.eligible = eligible);
            }
            Change::Budget { what, tokens } => {
                self.rig.budget_since(what, tokens, self.now_ns);
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        self.rig.set_clock(self.now_ns);
    }

    #[must_use]
    pub fn backends_of(&self, service_idx: u32) -> &[Backend] {
        &self.backends[(service_idx * BACKENDS) as usize..][..BACKENDS as usize]
    }

    /// The service whose vip this is.
    #[must_use]
    pub fn service_of(&self, protocol: u8, end: &End) -> Option<&Service> {
        // A vip's last byte is 10 more than the index.
        let octets = end.octets();
        let idx = usize::from(octets[octets.len() - 1].wrapping_sub(10));
        self.services
            .get(idx)
            .filter(|service| service.has(protocol, end))
    }

    /// It is an address of a vip, whatever the port.
    #[must_use]
    pub fn is_vip_address(&self, end: &End) -> bool {
        self.services
            .iter()
            .any(|service| service.vip.same_host(end))
    }

    /// An address of this host where packets come in.
    #[must_use]
    pub fn is_own(&self, end: &End) -> bool {
        plan::own(end.v6).same_host(end)
    }

    /// A flow of mode `nat` may have this as its source toward a backend.
    #[must_use]
    pub fn is_source(&self, end: &End) -> bool {
        (self.shape.first_port..=self.shape.last_port).contains(&end.port)
            && (0..SNATS).any(|n| plan::snat(end.v6, n).same_host(end))
    }
}

/// All that a CPU may do only so often.
pub const BUDGETS: [Budgeted; 6] = [
    Budgeted::Reset,
    Budgeted::UnprovenFlow,
    Budgeted::Echo,
    Budgeted::TimeExceeded,
    Budgeted::TooBig,
    Budgeted::RingWalk,
];

const fn snat_idx(v6: bool, n: u16) -> u32 {
    (if v6 { SNATS + n } else { n }) as u32
}

fn range(address: std::net::IpAddr, ports: RangeInclusive<u16>) -> Vip {
    let (first, last) = ports.into_inner();
    let ports = PortRange { first, last };
    Vip { address, ports }
}

/// Of every backend of a service.
#[must_use]
pub fn tunnel(service: &Service) -> Tunnel {
    let v6 = service.backends_v6();
    let (source, spread) = if v6 {
        ("2001:db8:7:4500::", "::ff:ffff:ffff:ffff")
    } else {
        ("192.0.2.64", "0.0.0.63")
    };
    let spread = spread.parse().expect("an address");
    let mut spread = Rig::address_words(spread);
    if !v6 {
        // What makes an IPv4 address one of IPv6 differs from flow to flow in no bit.
        spread[2] = 0;
    }
    Tunnel {
        source: Rig::address_words(source.parse().expect("an address")),
        spread,
        mtu: TUNNEL_MTU as u32,
        port_be: if service.mode == mode::GUE {
            GUE_PORT.to_be()
        } else {
            0
        },
        version: if v6 { 6 } else { 4 },
        variant: service.variant,
        ..Tunnel::default()
    }
}
