//! One sequence of events through the program and through the model, which must agree after each: verdict,
//! reasons counted, every byte that leaves, and all entries of the flow table.

use std::{collections::HashMap, fmt, net::SocketAddr};

use lb_common::{Budgeted, reason::Reason};

use super::{
    compare::{Divergence, listed, same},
    event::{Budget, Event, Kind, Sent},
    flow::{End, Entry},
    leaves,
    path::{Arrived, Choice, Model},
    tables::Swept,
    tally::Tally,
    world::{BACK, FRONT, Setup, World, backend_mac, router_mac},
};
use crate::{
    packet::{Packet, flag},
    rig::{Outcome, Rig},
};

/// First sequence numbers of clients, and of backends where nothing else is known.
const CLIENT_ISN: u32 = 1_000;
const BACKEND_ISN: u32 = 5_000;

/// Both sides, at some point of a sequence.
pub struct Judge<'a> {
    pub(super) rig: &'a mut Rig,
    pub model: Model,
    /// Of each client and vip, the backends and sources of its last connections, the newest last.
    connections: HashMap<(u8, u8), Vec<(usize, SocketAddr)>>,
}

impl<'a> Judge<'a> {
    /// Both sides at their beginning.
    pub fn new(rig: &'a mut Rig, setup: Setup, now_ns: u64) -> Self {
        let model = Model::new(World::new(setup, now_ns));
        let mut judge = Self {
            rig,
            model,
            connections: HashMap::new(),
        };
        judge.set_up();
        judge
    }

    /// Lets an event happen on both sides. False if it cannot: there is no such connection yet.
    pub fn step(&mut self, event: &Event, tally: &mut Tally) -> Result<bool, Divergence> {
        let world = &mut self.model.world;
        match *event {
            Event::Time(ns) => {
                world.now_ns += ns;
                self.rig.set_clock(world.now_ns);
            }
            Event::Ring => {
                world.turn();
                self.turn_ring();
            }
            Event::Change { backend, change } => {
                let n = usize::from(backend);
                if n >= world.backends.len() {
                    return Ok(false);
                }
                world.change(n, change);
                self.change(n, change);
            }
            Event::Spend(what) => {
                world.spend_all(what);
                let budgeted = match what {
                    Budget::Resets => Budgeted::Reset,
                    Budget::UnprovenFlows => Budgeted::UnprovenFlow,
                };
                self.rig.budget_since(budgeted, 0, world.now_ns);
            }
            Event::Sweep => self.sweep(tally)?,
            Event::Client { .. } | Event::Backend { .. } => return self.packet(event, tally),
        }
        Ok(true)
    }

    fn sweep(&mut self, tally: &mut Tally) -> Result<(), Divergence> {
        let setup = self.model.world.setup;
        let found = self.rig.sweep_stretch(setup.vip(0).ip(), 0, setup.buckets);
        let found = Swept {
            confirmed: found.flows,
            half_open: found.half_open,
            removed: found.removed,
        };
        let due = self.model.sweep();
        tally.swept += u64::from(due.removed);
        same("what the sweep found", &found, &due)?;
        let (program, model) = (self.program_entries(), self.model.entries());
        self.same_entries(&program, &model)
    }

    fn packet(&mut self, event: &Event, tally: &mut Tally) -> Result<bool, Divergence> {
        let Some(arrived) = self.arrived(event) else {
            return Ok(false);
        };
        let packet = self.built(&arrived);
        let outcome = self.rig.send(&packet);
        let choice = self.choice(&arrived, &outcome);
        let rig = &*self.rig;
        let buckets = |from, to| rig.bucket_idx(from, to);
        let fate =
            (self.model.arrive(&arrived, &choice, &buckets)).map_err(|wrong| Divergence {
                what: "a choice that was not allowed".to_owned(),
                program: outcome.to_string(),
                model: wrong,
            })?;
        let reasons: Vec<Reason> = (outcome.counted.iter())
            .flat_map(|(reason, count)| vec![*reason; *count as usize])
            .collect();
        let shown = |outcome: &Outcome, fate: &dyn fmt::Debug, what: &str| Divergence {
            what: what.to_owned(),
            program: outcome.to_string(),
            model: format!("{fate:?}"),
        };
        if outcome.verdict != fate.verdict {
            return Err(shown(&outcome, &fate, "another verdict"));
        }
        if reasons != fate.reasons {
            return Err(shown(&outcome, &fate, "other reasons were counted"));
        }
        leaves::check(
            &self.model.world.setup,
            &packet,
            &arrived,
            &outcome,
            &fate.leaves,
        )
        .map_err(|what| shown(&outcome, &fate, &what))?;

        if fate.reasons.contains(&Reason::FlowNew) {
            self.remember(event);
        }
        let program = self.program_entries();
        let lost: Vec<Entry> = (self.model.entries().into_iter())
            .filter(|due| {
                !program
                    .iter()
                    .any(|held| (held.from, held.to) == (due.from, due.to))
            })
            .collect();
        let rig = &*self.rig;
        let buckets = |from, to| rig.bucket_idx(from, to);
        tally.pushed_out += lost.len() as u64;
        if !lost.is_empty() {
            self.model
                .lose(&lost, &buckets)
                .map_err(|wrong| Divergence {
                    what: "entries that should be there are not".to_owned(),
                    program: listed(&program.iter().collect::<Vec<_>>()),
                    model: wrong,
                })?;
        }
        let model = self.model.entries();
        self.same_entries(&program, &model)?;
        for reason in reasons {
            *tally.reasons.entry(reason).or_default() += 1;
        }
        let flow = (self.model.client_entry(arrived.source, arrived.destination))
            .or_else(|| self.model.reply_entry(arrived.source, arrived.destination));
        if let Some(flow) = flow.map(|n| &self.model.flows[n]) {
            *tally
                .states
                .entry((flow.confirmed, flow.state))
                .or_default() += 1;
        }
        Ok(true)
    }

    /// The packet of an event.
    fn arrived(&self, event: &Event) -> Option<Arrived> {
        let setup = &self.model.world.setup;
        match *event {
            Event::Client {
                client,
                vip,
                router,
                kind,
                beyond,
            } => {
                if client >= setup.clients || vip >= setup.vips {
                    return None;
                }
                let (source, destination) = (setup.client(client), setup.vip(vip));
                let due = (self.model.client_entry(source, destination))
                    .and_then(|n| self.model.flows[n].expects)
                    .unwrap_or(BACKEND_ISN + 1);
                let sent = Sent {
                    kind,
                    sequence: if kind == Kind::Syn {
                        CLIENT_ISN
                    } else {
                        CLIENT_ISN + 1
                    },
                    acknowledgement: due.wrapping_add(beyond),
                };
                let router = router_mac(router);
                Some(Arrived {
                    by: End::Client,
                    source,
                    destination,
                    router,
                    sent,
                })
            }
            Event::Backend {
                client,
                vip,
                earlier,
                kind,
                sequence,
            } => {
                let connections = self.connections.get(&(client, vip))?;
                let at = connections.len().checked_sub(1 + usize::from(earlier))?;
                let (n, local) = connections[at];
                let sequence = if kind == Kind::SynAck {
                    sequence
                } else {
                    BACKEND_ISN + 1
                };
                let sent = Sent {
                    kind,
                    sequence,
                    acknowledgement: CLIENT_ISN + 1,
                };
                Some(Arrived {
                    by: End::Backend,
                    source: setup.backend(n),
                    destination: local,
                    router: backend_mac(n),
                    sent,
                })
            }
            _ => None,
        }
    }

    fn built(&self, arrived: &Arrived) -> Packet {
        let sent = &arrived.sent;
        let to = if arrived.by == End::Client {
            FRONT
        } else {
            BACK
        };
        let (source, destination) = (arrived.source, arrived.destination);
        if self.model.world.setup.udp {
            let packet = Packet::udp(source, destination).macs(arrived.router, to);
            return packet.payload(sent.bytes()).udp_checksum();
        }
        let flags = match sent.kind {
            Kind::Syn => flag::SYN,
            Kind::SynAck => flag::SYN | flag::ACK,
            Kind::Rst => flag::RST,
            Kind::Data => flag::PSH | flag::ACK,
            Kind::Fin | Kind::FinWithData => flag::FIN | flag::ACK,
            Kind::Ack | Kind::Datagram => flag::ACK,
        };
        Packet::tcp(source, destination)
            .macs(arrived.router, to)
            .seq(sent.sequence)
            .ack(if sent.acknowledges() {
                sent.acknowledgement
            } else {
                0
            })
            .flags(flags)
            .payload(sent.bytes())
    }

    fn choice(&self, arrived: &Arrived, outcome: &Outcome) -> Choice {
        let setup = &self.model.world.setup;
        let refusals = [
            Reason::PortsExhausted,
            Reason::FlowConflict,
            Reason::BackendUnresolved,
        ];
        let refused = (outcome.counted.iter())
            .map(|(reason, _)| *reason)
            .find(|reason| refusals.contains(reason));
        if arrived.by == End::Backend {
            return Choice {
                refused,
                ..Choice::default()
            };
        }
        let (backend, local) = leaves::sent_to(setup, outcome);
        Choice {
            backend,
            local,
            refused,
        }
    }

    /// A connection was opened by this event.
    fn remember(&mut self, event: &Event) {
        if let Event::Client { client, vip, .. } = *event {
            let setup = &self.model.world.setup;
            let opened = self
                .model
                .client_entry(setup.client(client), setup.vip(vip));
            if let Some(flow) = opened.map(|n| &self.model.flows[n]) {
                let connections = self.connections.entry((client, vip)).or_default();
                connections.push((flow.backend, flow.local));
            }
        }
    }
}
