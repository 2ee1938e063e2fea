//! Backends as the datapath sees them: where to send, by which next hop, and whether at all.

/// One (service, backend) pair. 64 bytes: one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Address, network byte order; IPv4 in the form of IPv6 ([`crate::mapped`]).
    pub address: [u32; 4],
    /// 0 for the port that the client asked for.
    pub port_be: u16,
    /// One of [`state`].
    pub state: u8,
    /// One of [`flows`]: what becomes of packets of its existing flows.
    pub flows: u8,
    /// Interface by which it is reached; 0 while the next hop is unknown.
    pub ifindex: u32,
    /// MAC address of the backend, or of the router toward it.
    pub peer_mac: [u8; 6],
    /// Our MAC address on that interface. The two stand in the order of an Ethernet header.
    pub local_mac: [u8; 6],
    /// Index into `services`.
    pub service_idx: u16,
    /// Its share of new flows, as its ring has it.
    pub weight: u16,
    /// First of its source addresses in `snat`.
    pub snat_first: u16,
    /// How many there are.
    pub snat_count: u16,
    /// How packets reach it: one of [`crate::service::mode`].
    pub mode: u8,
    /// IP version of its address: 4 or 6.
    pub version: u8,
    /// IP protocol number.
    pub protocol: u8,
    pub pad: u8,
    /// Hash of service name, protocol and address: by it a restarted daemon knows the entry again.
    /// 0 marks a free entry.
    pub identity: u64,
    /// Since when it has this state, seconds of the Unix epoch.
    #[cfg(not(feature = "second-layout"))]
    pub since_unix: u32,
    /// Most flows at a time; 0 for any number.
    pub max_flows: u32,
    /// As above.
    #[cfg(feature = "second-layout")]
    pub since_unix: u32,
}
const _: () = assert!(size_of::<Backend>() == 64);

impl Backend {
    /// An entry that nobody owns.
    pub const FREE: Self = Self {
        address: [0; 4],
        port_be: 0,
        state: 0,
        flows: 0,
        ifindex: 0,
        peer_mac: [0; 6],
        local_mac: [0; 6],
        service_idx: 0,
        weight: 0,
        snat_first: 0,
        snat_count: 0,
        mode: 0,
        version: 0,
        protocol: 0,
        pad: 0,
        identity: 0,
        since_unix: 0,
        max_flows: 0,
    };
}

/// How packets are wrapped for a backend of mode `ipip` or `gue`: the value of `tunnels`, by the
/// backend's index. 64 bytes: one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// Source address of the outer header, network byte order; IPv4 in the form of IPv6.
    pub source: [u32; 4],
    /// Bits of the source that differ from flow to flow, so that the receiver spreads them over its
    /// queues.
    pub spread: [u32; 4],
    /// Most bytes of an outer packet, its IP header included.
    pub mtu: u32,
    /// Destination port of the outer UDP header; 0 for none.
    pub port_be: u16,
    /// IP version of the outer header: 4 or 6.
    pub version: u8,
    /// Of mode `gue`: 0 or 1.
    pub variant: u8,
    pub pad: [u64; 3],
}
const _: () = assert!(size_of::<Tunnel>() == 64);

/// States of a backend.
pub mod state {
    pub const UP: u8 = 1;
    pub const DOWN: u8 = 2;
    pub const DRAIN: u8 = 3;
    pub const MAINT: u8 = 4;
    /// No longer in the configuration; the entry stays while flows refer to it.
    pub const REMOVED: u8 = 5;
}

/// What becomes of packets of a backend's existing flows.
pub mod flows {
    /// They are forwarded.
    pub const FORWARD: u8 = 0;
    /// They are answered with RST.
    pub const RESET: u8 = 1;
}

/// Counters of one backend on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendStats {
    /// Flows that were sent to it.
    pub flows: u64,
    /// Packets and bytes (of the frame, as received, without VLAN tags) from clients to it.
    #[cfg(not(feature = "second-layout"))]
    pub packets_in: u64,
    pub bytes_in: u64,
    /// As above.
    #[cfg(feature = "second-layout")]
    pub packets_in: u64,
    /// Packets and bytes from it to clients.
    pub packets_out: u64,
    pub bytes_out: u64,
}
const _: () = assert!(size_of::<BackendStats>() == 40);
