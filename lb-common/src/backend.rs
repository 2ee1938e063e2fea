//! Backends as the datapath sees them: where to send, by which next hop, and whether at all.

/// One (service, backend) pair. 64 bytes: one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Address, network byte order; IPv4 in the first word, the others 0.
    pub address: [u32; 4],
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
    pub service_idx: u32,
    /// First of its source addresses in `snat`.
    pub snat_first: u16,
    /// How many there are.
    pub snat_count: u16,
    /// Hash of service name, protocol and address: by it a restarted daemon knows the entry again.
    /// 0 marks a free entry.
    pub identity: u64,
    /// Since when it has this state, seconds of the Unix epoch.
    pub since_unix: u64,
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
        snat_first: 0,
        snat_count: 0,
        identity: 0,
        since_unix: 0,
    };
}

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
    /// Packets and bytes (of the frame, as received) from clients to it.
    pub packets_in: u64,
    pub bytes_in: u64,
    /// Packets and bytes from it to clients.
    pub packets_out: u64,
    pub bytes_out: u64,
}
const _: () = assert!(size_of::<BackendStats>() == 40);
