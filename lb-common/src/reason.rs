//! Why a packet was dropped, passed to the kernel or answered: each has a counter of its own in
//! the map `reasons`.

/// What a [`Reason`] ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The packet went to the kernel.
    Pass,
    /// The packet was dropped.
    Drop,
    /// The packet was turned into an answer to its sender.
    Answer,
    /// No verdict of its own: something worth counting on the way.
    Event,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $kind:ident;)+) => {
        /// Why a packet was not simply forwarded. Its value is the index into `reasons`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All reasons, in the order of their indices.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)+];

            /// The reason with this index.
            #[inline(always)]
            #[must_use]
            pub const fn of_index(index: u32) -> Option<Reason> {
                if index >= Self::ALL.len() as u32 {
                    return None;
                }
                // SAFETY: indices are the reasons' values, from 0 on without a gap.
                Some(unsafe { core::mem::transmute::<u32, Reason>(index) })
            }

            /// Name in metrics and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// What it ends in.
            #[inline(always)]
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Reason::$variant => Kind::$kind,)+ }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6, be it behind one or two VLAN tags.
    NotIp = "not_ip", Pass;
    /// Neither TCP nor UDP, nor an echo request or an error of ICMP.
    OtherProtocol = "other_protocol", Pass;
    /// Too short for the headers it announces.
    Truncated = "truncated", Pass;
    /// For no vip and of no flow.
    NotOurs = "not_ours", Pass;
    /// A fragment that is not the first, of no datagram for a vip that is known: it has no ports to go by.
    LaterFragment = "later_fragment", Pass;
    /// Rewritten, but the next hop is unknown: the kernel resolves it and forwards.
    NextHopUnknown = "next_hop_unknown", Pass;
    /// A fragment of an echo request for an address of a vip, or of an ICMP error: the kernel may put it
    /// together.
    IcmpFragment = "icmp_fragment", Pass;
    /// An echo request for an address of a vip with a wrong header checksum, or from or to an address
    /// that no single host has; or an ICMP error whose quoted packet contradicts itself or the error.
    IcmpMalformed = "icmp_malformed", Pass;
    /// An ICMP error that is for a vip by the packet that it quotes, but about no known flow.
    IcmpNoFlow = "icmp_no_flow", Pass;
    /// Rewritten, but larger than the next link carries: the kernel fragments it and forwards.
    ToFragment = "to_fragment", Pass;
    /// A router's word that the way to a tunnel's end is narrow: remembered, and passed to the kernel.
    PathMtu = "path_mtu", Pass;

    /// TTL or hop limit would reach 0, and the sender cannot be told.
    TtlExpired = "ttl_expired", Drop;
    /// The lists of the service do not let this source open flows.
    SourceDenied = "source_denied", Drop;
    /// For a vip, with a source route among its IPv4 options.
    SourceRouted = "source_routed", Drop;
    /// For a vip or of a flow, in a frame for many receivers.
    NotUnicast = "not_unicast", Drop;
    /// For a vip or of a flow, with lengths that contradict one another or end beyond the frame.
    BadLength = "bad_length", Drop;
    /// For a vip or of a flow, with a wrong checksum of the IPv4 header.
    BadChecksum = "bad_checksum", Drop;
    /// For a vip or of a flow, with a TTL or hop limit of 0.
    TtlZero = "ttl_zero", Drop;
    /// For a vip or of a flow, with TCP flags that no state of a connection sends.
    BadFlags = "bad_flags", Drop;
    /// For a vip, from an address that no single host has.
    Martian = "martian", Drop;
    /// For a vip, from the vip's own address.
    Land = "land", Drop;
    /// A first fragment for a vip that lacks part of its transport header, or a later one that overlaps
    /// the first.
    BadFragment = "bad_fragment", Drop;
    /// A later fragment for a vip whose first was not seen or not forwarded.
    FragmentUnknown = "fragment_unknown", Drop;
    /// A fragment for a backend of the other address family, or from one.
    FragmentCrossed = "fragment_crossed", Drop;
    /// Mode `dsr`: the backend's MAC address is unknown, and the kernel cannot forward it there.
    BackendUnresolved = "backend_unresolved", Drop;
    /// Larger than its way carries, if need be wrapped, and the sender cannot be told.
    TooBig = "too_big", Drop;
    /// Mode `route`: the client's address and port already lead to this backend by another vip.
    FlowConflict = "flow_conflict", Drop;
    /// The service has no backend up, or none that takes more flows, and UDP has no reset.
    Unanswered = "unanswered", Drop;
    /// UDP without a checksum, for a backend of the other address family, where it must have one.
    NoChecksum = "no_checksum", Drop;
    /// No source port toward the backend is free.
    PortsExhausted = "ports_exhausted", Drop;
    /// A map refused an entry that it should have taken.
    TableError = "table_error", Drop;
    /// A reset was due, but the rate limit was reached.
    RstLimited = "rst_limited", Drop;
    /// A reset was due in answer to a reset, which RFC 9293 forbids.
    RstForRst = "rst_for_rst", Drop;
    /// An ICMP error about a flow whose backend is down or removed.
    IcmpBackendDown = "icmp_backend_down", Drop;
    /// An ICMP error from one address family to the other that has nothing to say there, or is about no known
    /// flow.
    IcmpCrossed = "icmp_crossed", Drop;
    /// An ICMP error about a flow that cannot go on: its TTL or hop limit would reach 0, or it does not
    /// fit the way to the backend, or the backend's MAC address is unknown in mode `dsr`.
    IcmpUndeliverable = "icmp_undeliverable", Drop;
    /// An ICMP error or the answer to an echo request was due, but the rate limit was reached.
    IcmpLimited = "icmp_limited", Drop;
    /// Of no known flow, in the moment in which an upgrade takes over the flows of the version before.
    Handover = "handover", Drop;

    /// Reset: neither a SYN nor of a known flow.
    NoFlow = "no_flow", Answer;
    /// Reset: the service has no backend up.
    NoBackend = "no_backend", Answer;
    /// Reset: every backend of the service has as many flows as max_flows allows.
    BackendsFull = "backends_full", Answer;
    /// Reset: the flow's backend is down or removed.
    BackendDown = "backend_down", Answer;
    /// An echo request for an address of a vip, answered.
    IcmpEcho = "icmp_echo", Answer;
    /// ICMP time exceeded: TTL or hop limit would reach 0.
    TimeExceeded = "time_exceeded", Answer;
    /// ICMP fragmentation needed or packet too big: larger than its way carries, if need be wrapped.
    PacketTooBig = "packet_too_big", Answer;

    /// A confirmed flow stayed among the half-open ones because the flow table is full.
    FlowTableFull = "flow_table_full", Event;
    /// An ICMP error about a flow was sent on to whom it concerns.
    IcmpError = "icmp_error", Event;
    /// A new flow.
    FlowNew = "flow_new", Event;
    /// A flow was confirmed.
    FlowConfirmed = "flow_confirmed", Event;
    /// A closed flow's source port was given to a new one before its timer ran out.
    PortReused = "port_reused", Event;
}

/// Length of the map `reasons`; larger than needed, so that a new reason keeps the layout.
pub const REASON_SLOTS: u32 = 64;
const _: () = assert!(Reason::ALL.len() <= REASON_SLOTS as usize);
