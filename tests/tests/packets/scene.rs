//! The scene of most fixtures: one client, one vip of one service, its backends, and the balancer
//! between them, in either address family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    PROTOCOL_TCP, PROTOCOL_UDP,
    backend::{Backend, flows, state as backend_state},
    flow::{flag, side, state},
    reason::Reason,
    service::mode,
};
use lb_tests::{
    packet::{Mac, Packet, flag::*, mac},
    rig::{Capacity, INGRESS, Rig, SIZES, Table},
};

/// MAC addresses: the client's router and our interface toward it.
pub const ROUTER: Mac = mac(1);
pub const FRONT: Mac = mac(2);
/// Our interface toward the backends.
pub const BACK: Mac = mac(3);

/// First sequence numbers of the two ends.
pub const CLIENT_ISN: u32 = 1_000;
pub const BACKEND_ISN: u32 = 5_000;

pub struct Scene {
    pub rig: Rig,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub snat: IpAddr,
    v6: bool,
    /// Of the service and its backends.
    mode: u8,
    protocol: u8,
}

/// A connection through the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub client: SocketAddr,
    /// Our end toward the backend.
    pub local: SocketAddr,
    pub backend: SocketAddr,
    pub backend_idx: u32,
}

/// One direction of a connection: source and destination of its packets as they arrive.
pub type Way = (SocketAddr, SocketAddr);

impl Scene {
    /// The scene in each family, with one backend that is up.
    pub fn both() -> [Self; 2] {
        Self::sized(SIZES)
    }

    /// The same with tables of other lengths.
    pub fn sized(sizes: Capacity) -> [Self; 2] {
        Self::sized_in_mode(mode::NAT, sizes)
    }

    /// The scene in each family, its service and backends in this mode.
    pub fn in_mode(mode: u8) -> [Self; 2] {
        Self::sized_in_mode(mode, SIZES)
    }

    /// The same with tables of other lengths.
    pub fn sized_in_mode(mode: u8, sizes: Capacity) -> [Self; 2] {
        [false, true].map(|v6| Self::new(v6, mode, PROTOCOL_TCP, sizes))
    }

    /// The scene in each family, its service and backends in this mode and of protocol UDP.
    pub fn over_udp(mode: u8) -> [Self; 2] {
        [false, true].map(|v6| Self::new(v6, mode, PROTOCOL_UDP, SIZES))
    }

    fn new(v6: bool, mode: u8, protocol: u8, sizes: Capacity) -> Self {
        let address = |text4: &str, text6: &str| -> IpAddr {
            (if v6 { text6 } else { text4 })
                .parse()
                .expect("these are addresses")
        };
        let mut scene = Self {
            rig: Rig::load(sizes),
            client: SocketAddr::new(address("198.51.100.7", "2001:db8:c::7"), 40_000),
            vip: SocketAddr::new(address("203.0.113.10", "2001:db8::10"), 80),
            snat: address("10.0.0.5", "fd00::5"),
            v6,
            mode,
            protocol,
        };
        scene.rig.over(protocol);
        scene.rig.snat(0, scene.snat);
        scene.rig.vip(scene.vip, 0);
        scene.rig.service(0, 1);
        scene.rig.service_mode(0, mode);
        scene.add_backend(0);
        scene.rig.ring(0, |_| 0);
        scene
    }

    /// Makes a backend that is up, not yet in the ring.
    pub fn add_backend(&mut self, backend_idx: u32) {
        let address = self.backend(backend_idx);
        let backend = Backend {
            mode: self.mode,
            protocol: self.protocol,
            ..backend_at(address, backend_idx)
        };
        self.rig.backend(backend_idx, backend);
        if self.mode == mode::ROUTE {
            self.rig.route(address);
        }
    }

    /// Where backend number `backend_idx` listens.
    pub fn backend(&self, backend_idx: u32) -> SocketAddr {
        let host = 11 + backend_idx as u16;
        let address = if self.v6 {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 0, (host >> 8) as u8, host as u8))
        };
        SocketAddr::new(address, 8_080)
    }

    /// One of some 60,000 clients.
    pub fn other_client(&self, n: u16) -> SocketAddr {
        let address = if self.v6 {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 1, n))
        } else {
            IpAddr::V4(Ipv4Addr::new(192, 0, (n >> 8) as u8, n as u8))
        };
        SocketAddr::new(address, 1024 + n)
    }

    /// An address that is nobody's here.
    pub fn stranger(&self) -> IpAddr {
        if self.v6 {
            "2001:db8:f::f".parse().expect("this is an address")
        } else {
            "203.0.113.99".parse().expect("this is an address")
        }
    }

    /// A client that no other test packet comes from.
    pub fn stranger_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.stranger(), port)
    }

    /// A SYN from `client` to the vip.
    pub fn syn(&self, client: SocketAddr) -> Packet {
        Packet::tcp(client, self.vip)
            .macs(ROUTER, FRONT)
            .seq(CLIENT_ISN)
    }

    /// Sends a SYN, which must open a flow.
    #[track_caller]
    pub fn open(&mut self, client: SocketAddr) -> Connection {
        let outcome = self.rig.send(&self.syn(client));
        assert!(
            outcome.counted.contains(&(Reason::FlowNew, 1)),
            "a new flow\n{outcome}"
        );
        let sent = outcome.segment();
        self.connection(client, sent.source, sent.destination)
    }

    /// Opens a flow and confirms it.
    #[track_caller]
    pub fn establish(&mut self, client: SocketAddr) -> Connection {
        let connection = self.open(client);
        let syn_ack = self.syn_ack(&connection);
        self.rig.send(&syn_ack).transmitted();
        let ack = self.by_client(&connection);
        self.rig
            .send(&ack)
            .counts(&[Reason::FlowConfirmed])
            .transmitted();
        connection
    }

    /// What a SYN that left so has opened.
    pub fn connection(
        &self,
        client: SocketAddr,
        local: SocketAddr,
        backend: SocketAddr,
    ) -> Connection {
        let backend_idx = (0..100)
            .find(|idx| self.backend(*idx) == backend)
            .unwrap_or_else(|| panic!("{backend} is no backend"));
        Connection {
            client,
            local,
            backend,
            backend_idx,
        }
    }

    /// The backend's answer to the SYN.
    pub fn syn_ack(&self, connection: &Connection) -> Packet {
        self.by_backend(connection)
            .flags(SYN | ACK)
            .seq(BACKEND_ISN)
    }

    /// An ACK of the client, as it arrives: the first after the SYN, unless changed.
    pub fn by_client(&self, connection: &Connection) -> Packet {
        self.ack(connection.client)
    }

    /// The same of a client whose connection is not known.
    pub fn ack(&self, client: SocketAddr) -> Packet {
        Packet::tcp(client, self.vip)
            .macs(ROUTER, FRONT)
            .seq(CLIENT_ISN + 1)
            .ack(BACKEND_ISN + 1)
            .flags(ACK)
    }

    /// An ACK of the backend, as it arrives.
    pub fn by_backend(&self, connection: &Connection) -> Packet {
        Packet::tcp(connection.backend, connection.local)
            .macs(backend_mac(connection.backend_idx), BACK)
            .seq(BACKEND_ISN + 1)
            .ack(CLIENT_ISN + 1)
            .flags(ACK)
    }

    /// What the backend must get for a packet of the client.
    pub fn as_backend_sees(&self, connection: &Connection, packet: Packet) -> Packet {
        packet
            .from(connection.local)
            .to(connection.backend)
            .macs(BACK, backend_mac(connection.backend_idx))
            .one_hop_less()
    }

    /// What the client must get for a packet of the backend.
    pub fn as_client_sees(&self, connection: &Connection, packet: Packet) -> Packet {
        packet
            .from(self.vip)
            .to(connection.client)
            .macs(FRONT, ROUTER)
            .one_hop_less()
    }

    /// Sends a packet of the client, which the backend must get.
    #[track_caller]
    pub fn client_sends(&mut self, connection: &Connection, packet: Packet) {
        let outcome = self.rig.send(&packet);
        let expected = self.as_backend_sees(connection, packet);
        outcome.transmitted_as(&expected).sound();
    }

    /// Sends a packet of the backend, which the client must get.
    #[track_caller]
    pub fn backend_sends(&mut self, connection: &Connection, packet: Packet) {
        let outcome = self.rig.send(&packet);
        let expected = self.as_client_sees(connection, packet);
        outcome.transmitted_as(&expected).sound();
    }

    /// Table and state of the flow, which must be the same in both directions.
    #[track_caller]
    pub fn state(&self, connection: &Connection) -> Option<(Table, &'static str)> {
        let forth = self.rig.entry(connection.client, self.vip);
        let back = self.rig.entry(connection.backend, connection.local);
        let summary = |entry: lb_tests::rig::Entry| (entry.table, state::name(entry.state));
        let (forth, back) = (forth.map(summary), back.map(summary));
        assert_eq!(forth, back, "both directions agree");
        forth
    }

    /// Sends a packet of a client, which the backend of mode `dsr` must get as it is; exactly these
    /// are counted.
    #[track_caller]
    pub fn passes_on(&mut self, packet: &Packet, backend_idx: u32, reasons: &[Reason]) {
        let expected = packet.clone().macs(BACK, backend_mac(backend_idx));
        let outcome = self.rig.send(packet);
        outcome.transmitted_as(&expected).counts(reasons);
    }

    /// Table and state of a client's flow in a mode in which its packets alone are seen.
    #[track_caller]
    pub fn one_way_state(&self, client: SocketAddr) -> Option<(Table, &'static str)> {
        let entry = self.rig.entry(client, self.vip)?;
        assert_eq!(
            (entry.side, entry.flags & flag::ONE_WAY),
            (side::CLIENT, flag::ONE_WAY)
        );
        Some((entry.table, state::name(entry.state)))
    }

    /// Makes both directions of a flow look as if their last packet had passed that long ago.
    pub fn age(&mut self, connection: &Connection, seconds: u64) {
        for way in self.ways(connection) {
            self.age_way(way, seconds);
        }
    }

    /// The same for one direction only.
    pub fn age_way(&mut self, (source, destination): Way, seconds: u64) {
        self.rig.change_entry(source, destination, |entry| {
            entry.last_seen_ns = entry.last_seen_ns.saturating_sub(seconds * 1_000_000_000);
        });
    }

    /// Both directions of a flow, the client's first.
    pub fn ways(&self, connection: &Connection) -> [Way; 2] {
        [
            (connection.client, self.vip),
            (connection.backend, connection.local),
        ]
    }
}

/// A backend that is up and listens there.
pub fn backend_at(address: SocketAddr, backend_idx: u32) -> Backend {
    Backend {
        address: Rig::address_words(address.ip()),
        port_be: address.port().to_be(),
        state: backend_state::UP,
        flows: flows::FORWARD,
        ifindex: INGRESS,
        peer_mac: backend_mac(backend_idx),
        local_mac: BACK,
        weight: 1,
        snat_first: 0,
        snat_count: 1,
        mode: mode::NAT,
        version: if address.is_ipv4() { 4 } else { 6 },
        protocol: PROTOCOL_TCP,
        identity: 1 + u64::from(backend_idx),
        ..Backend::FREE
    }
}

/// The MAC address of backend number `backend_idx`.
pub fn backend_mac(backend_idx: u32) -> Mac {
    mac(100 + backend_idx as u8)
}
