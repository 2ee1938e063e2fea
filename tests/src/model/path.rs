//! What becomes of a packet: docs/packet-path.md as code, from its arrival to the frame that leaves. Where
//! the program is free to choose (a backend of the ring, a source port) the model takes its choice and says
//! whether it was allowed.

use std::net::SocketAddr;

use lb_common::{reason::Reason, service::mode};

use super::{
    event::{Budget, Kind, Sent},
    flow::{End, Flow, State},
    tables::Buckets,
    world::{BACK, FRONT, World, backend_mac, timeout_ns},
};
use crate::{packet::Mac, rig::Verdict};

/// About a second: how often a flow that found the table full tries again.
const RETRY_SHIFT: u32 = 30;

/// A packet on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    pub by: End,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// The MAC address that it comes from.
    pub router: Mac,
    pub sent: Sent,
}

/// What the program chose for a packet that opens a flow, as its outcome shows.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub backend: Option<usize>,
    pub local: Option<SocketAddr>,
    /// Why it was dropped.
    pub refused: Option<Reason>,
}

/// What must become of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    pub verdict: Verdict,
    /// What is counted.
    pub reasons: Vec<Reason>,
    pub leaves: Leaves,
}

/// What must leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaves {
    Nothing,
    /// The same, byte for byte.
    Untouched,
    /// The same with these addresses; MAC addresses, and with them the hop, change only where the next
    /// hop is known.
    Readdressed {
        source: SocketAddr,
        destination: SocketAddr,
        macs: Option<(Mac, Mac)>,
    },
    /// The same with other MAC addresses.
    Forwarded {
        macs: (Mac, Mac),
    },
    /// In a tunnel to this backend.
    Wrapped {
        backend: usize,
        macs: Option<(Mac, Mac)>,
    },
    /// A reset to whoever sent it.
    Reset,
}

/// A choice that was not allowed.
pub type Wrong = String;

/// The balancer as it should be.
pub struct Model {
    pub world: World,
    pub flows: Vec<Flow>,
    /// What the packet at hand has counted so far.
    pub(super) counted: Vec<Reason>,
    /// Entries that it inserted.
    pub(super) inserted: Vec<(SocketAddr, SocketAddr)>,
    /// The backend and source of the flow that it ended, if that was reset.
    pub(super) before: Option<(usize, SocketAddr)>,
}

/// What a packet means for the flow it was found to belong to.
enum Progress {
    /// It goes where the flow goes.
    On,
    /// The flow is no more: the packet stands alone.
    Over,
    /// It goes nowhere.
    Stop(Fate),
}

impl Model {
    pub const fn new(world: World) -> Self {
        Self {
            world,
            flows: Vec::new(),
            counted: Vec::new(),
            inserted: Vec::new(),
            before: None,
        }
    }

    /// A packet arrives.
    pub fn arrive(
        &mut self,
        packet: &Arrived,
        choice: &Choice,
        buckets: &Buckets<'_>,
    ) -> Result<Fate, Wrong> {
        self.counted.clear();
        self.inserted.clear();
        self.before = None;
        let mut fate = match self.flow_of(packet) {
            None => self.without_flow(packet, choice)?,
            Some(n) => match self.follow(n, packet, buckets) {
                Progress::On => self.forward(n, packet),
                Progress::Over => self.without_flow(packet, choice)?,
                Progress::Stop(fate) => fate,
            },
        };
        fate.reasons.append(&mut self.counted);
        fate.reasons.sort();
        Ok(fate)
    }

    /// The flow that a packet belongs to: one that is not confirmed counts as gone once its time is over,
    /// though nobody swept it away.
    fn flow_of(&self, packet: &Arrived) -> Option<usize> {
        let n = match packet.by {
            End::Client => self.client_entry(packet.source, packet.destination),
            End::Backend => self.reply_entry(packet.source, packet.destination),
        }?;
        let flow = &self.flows[n];
        (flow.confirmed || !self.is_over(flow)).then_some(n)
    }

    pub(super) fn client_entry(&self, client: SocketAddr, vip: SocketAddr) -> Option<usize> {
        (self.flows.iter())
            .position(|flow| flow.has_client_entry && flow.client == client && flow.vip == vip)
    }

    pub(super) fn reply_entry(&self, backend: SocketAddr, local: SocketAddr) -> Option<usize> {
        self.flows.iter().position(|flow| {
            flow.has_reply_entry && flow.backend_address == backend && flow.local == local
        })
    }

    /// A timer runs from the last packet of either end.
    pub(super) fn is_over(&self, flow: &Flow) -> bool {
        self.quiet_ns(flow) > timeout_ns(flow.state)
    }

    pub(super) const fn quiet_ns(&self, flow: &Flow) -> u64 {
        self.world.now_ns - flow.last_ns
    }

    /// A packet of a known flow.
    fn follow(&mut self, n: usize, packet: &Arrived, buckets: &Buckets<'_>) -> Progress {
        let setup = self.world.setup;
        let backend = self.world.backends[self.flows[n].backend];
        if backend.ends_flows
            && let gone @ (Progress::Over | Progress::Stop(_)) = self.give_up(n, packet)
        {
            return gone;
        }
        // The kernel cannot take over here: it holds the vip itself.
        if setup.mode == mode::DSR && !backend.resolved {
            return Progress::Stop(drop_for(Reason::BackendUnresolved));
        }
        let flow = &mut self.flows[n];
        if packet.by == End::Client && !setup.is_one_way() {
            flow.router = packet.router;
        }
        let progress = if setup.udp {
            self.advance_udp(n, packet, buckets)
        } else {
            self.advance_tcp(n, packet, buckets)
        };
        if matches!(progress, Progress::On) {
            self.flows[n].last_ns = self.world.now_ns;
        }
        progress
    }

    /// What becomes of a packet whose flow's backend is gone: over TCP a SYN goes to another backend, a
    /// reset is forwarded, and anything else is answered with one; over UDP a client's datagram goes
    /// to another backend, and what the backend still sends is forwarded.
    fn give_up(&mut self, n: usize, packet: &Arrived) -> Progress {
        let by_client = packet.by == End::Client;
        match packet.sent.kind {
            Kind::Syn | Kind::Datagram if by_client => {
                self.flows.remove(n);
                Progress::Over
            }
            Kind::Rst | Kind::Datagram => Progress::On,
            _ => {
                // More packets that were on their way are of this flow.
                self.flows[n].state = State::Reset;
                self.flows[n].last_ns = self.world.now_ns;
                Progress::Stop(self.answer(packet, Reason::BackendDown))
            }
        }
    }

    fn advance_tcp(&mut self, n: usize, packet: &Arrived, buckets: &Buckets<'_>) -> Progress {
        let one_way = self.world.setup.is_one_way();
        let flow = &self.flows[n];
        let sent = &packet.sent;
        if packet.by == End::Client {
            // Its source port may be another flow's by now.
            let orphan = !one_way && !flow.confirmed && !flow.has_reply_entry;
            if orphan || sent.kind == Kind::Syn && flow.state.is_ending() {
                return self.end(n);
            }
            let confirms = !flow.confirmed
                && !matches!(sent.kind, Kind::Syn | Kind::Rst)
                && match flow.state {
                    State::HalfOpen if one_way => self.world.spend(Budget::UnprovenFlows),
                    State::Answered => flow.is_confirmed_by(sent),
                    // A forged reset came before it; the SYN-ACK was seen all the same.
                    State::Reset if !one_way => {
                        flow.refused_ns.is_none() && flow.is_confirmed_by(sent)
                    }
                    State::Established => self.may_try_again(n),
                    _ => false,
                };
            if confirms {
                self.confirm(n, buckets);
            }
        } else if sent.kind == Kind::SynAck {
            self.flows[n].hear_syn_ack(sent);
        }
        self.flows[n].hear_end(packet.by, sent);
        Progress::On
    }

    fn advance_udp(&mut self, n: usize, packet: &Arrived, buckets: &Buckets<'_>) -> Progress {
        let one_way = self.world.setup.is_one_way();
        let flow = &mut self.flows[n];
        if flow.confirmed {
            return Progress::On;
        }
        if packet.by == End::Backend {
            if flow.state == State::HalfOpen {
                flow.state = State::Answered;
            }
            return Progress::On;
        }
        if !one_way && !flow.has_reply_entry {
            return self.end(n);
        }
        let confirms = match flow.state {
            State::HalfOpen if one_way => self.world.spend(Budget::UnprovenFlows),
            State::Answered => self.world.spend(Budget::UnprovenFlows),
            State::Established => self.may_try_again(n),
            _ => false,
        };
        if confirms {
            self.confirm(n, buckets);
        }
        Progress::On
    }

    /// The client's packet ends its flow and stands alone.
    fn end(&mut self, n: usize) -> Progress {
        let flow = self.flows.remove(n);
        if flow.state == State::Reset {
            self.before = Some((flow.backend, flow.local));
        }
        Progress::Over
    }

    fn may_try_again(&self, n: usize) -> bool {
        let second = |ns| ns >> RETRY_SHIFT;
        (self.flows[n].refused_ns).is_none_or(|ns| second(ns) != second(self.world.now_ns))
    }

    /// A flow has been proved. It becomes a confirmed one if there is room for its entries, and else works on
    /// as it is, which is counted once.
    fn confirm(&mut self, n: usize, buckets: &Buckets<'_>) {
        let has_room = self.has_room(n, buckets);
        let now_ns = self.world.now_ns;
        let flow = &mut self.flows[n];
        flow.state = State::Established;
        if has_room {
            flow.confirmed = true;
            self.counted.push(Reason::FlowConfirmed);
        } else if flow.refused_ns.replace(now_ns).is_none() {
            self.counted.push(Reason::FlowTableFull);
        }
    }

    /// Where a packet of a flow goes.
    fn forward(&mut self, n: usize, packet: &Arrived) -> Fate {
        let flow = &self.flows[n];
        match packet.by {
            End::Client => self.to_backend(flow.backend, flow.local),
            End::Backend => transmit(Leaves::Readdressed {
                source: flow.vip,
                destination: flow.client,
                macs: Some((FRONT, flow.router)),
            }),
        }
    }

    pub(super) fn to_backend(&self, n: usize, local: SocketAddr) -> Fate {
        let setup = &self.world.setup;
        let macs = (self.world.backends[n].resolved).then_some((BACK, backend_mac(n)));
        let leaves = match (setup.mode, macs) {
            (mode::DSR, Some(macs)) => Leaves::Forwarded { macs },
            (mode::DSR, None) => return drop_for(Reason::BackendUnresolved),
            _ if setup.is_tunnel() => Leaves::Wrapped { backend: n, macs },
            _ => Leaves::Readdressed {
                source: local,
                destination: setup.backend(n),
                macs,
            },
        };
        match macs {
            Some(_) => transmit(leaves),
            // The kernel resolves it and forwards.
            None => Fate {
                verdict: Verdict::Pass,
                reasons: vec![Reason::NextHopUnknown],
                leaves,
            },
        }
    }

    /// The packet is answered with a reset, but no reset is, and not more than so many in a second.
    pub(super) fn answer(&mut self, packet: &Arrived, reason: Reason) -> Fate {
        if packet.sent.kind == Kind::Rst {
            return drop_for(Reason::RstForRst);
        }
        if !self.world.spend(Budget::Resets) {
            return drop_for(Reason::RstLimited);
        }
        Fate {
            reasons: vec![reason],
            ..transmit(Leaves::Reset)
        }
    }
}

pub(super) fn drop_for(reason: Reason) -> Fate {
    Fate {
        verdict: Verdict::Drop,
        reasons: vec![reason],
        leaves: Leaves::Nothing,
    }
}

const fn transmit(leaves: Leaves) -> Fate {
    Fate {
        verdict: Verdict::Tx,
        reasons: Vec::new(),
        leaves,
    }
}
