//! Packets that belong to no flow: what they are answered, and how a client's opens one.

use std::net::SocketAddr;

use lb_common::reason::Reason;

use super::{
    event::Kind,
    flow::{End, Flow, State},
    path::{Arrived, Choice, Fate, Leaves, Model, Wrong, drop_for},
};
use crate::rig::Verdict;

impl Model {
    /// A packet that belongs to no flow. A client's may open one.
    pub(super) fn without_flow(
        &mut self,
        packet: &Arrived,
        choice: &Choice,
    ) -> Result<Fate, Wrong> {
        if packet.by == End::Backend {
            let reasons = vec![Reason::NotOurs];
            return Ok(Fate {
                verdict: Verdict::Pass,
                reasons,
                leaves: Leaves::Untouched,
            });
        }
        let setup = self.world.setup;
        let opens = matches!(packet.sent.kind, Kind::Syn | Kind::Datagram);
        if !opens && !setup.is_one_way() {
            return Ok(self.answer(packet, Reason::NoFlow));
        }
        if !self.world.any_takes_flows() {
            return Ok(match setup.udp {
                true => drop_for(Reason::Unanswered),
                false => self.answer(packet, Reason::NoBackend),
            });
        }
        let Some(n) = choice.backend else {
            return self.refused(packet, choice);
        };
        if !self.world.takes_flows(n) {
            return Err(format!("backend {n} was chosen, which takes no new flows"));
        }
        if let Some(before) = self.world.went(packet.source, packet.destination, n) {
            return Err(format!("backend {n} was chosen where it had been {before}"));
        }
        let local = if setup.is_one_way() {
            packet.source
        } else {
            self.claim(n, packet, choice)?
        };
        // A reset ends what it belongs to, and begins nothing.
        if packet.sent.kind != Kind::Rst {
            self.insert(n, packet, local);
        }
        Ok(self.to_backend(n, local))
    }

    /// The program says that it could not open the flow. Which backend it had chosen does not show: there
    /// must be one for which that is true.
    fn refused(&self, packet: &Arrived, choice: &Choice) -> Result<Fate, Wrong> {
        let Some(reason) = choice.refused else {
            return Err("there is a backend that takes new flows, and none was chosen".to_owned());
        };
        let could_be = (0..self.world.backends.len())
            .filter(|n| self.world.takes_flows(*n))
            .any(|n| self.why_not(n, packet) == Some(reason));
        match could_be {
            true => Ok(drop_for(reason)),
            false => Err(format!("no backend gives a reason for {reason:?}")),
        }
    }

    fn insert(&mut self, n: usize, packet: &Arrived, local: SocketAddr) {
        let (client, vip) = (packet.source, packet.destination);
        // Where that was one whose time is over.
        if let Some(old) = self.client_entry(client, vip) {
            self.flows[old].has_client_entry = false;
            self.flows.retain(|flow| !flow.is_gone());
        }
        let backend_address = self.world.setup.backend(n);
        let two_way = !self.world.setup.is_one_way();
        self.flows.push(Flow {
            client,
            vip,
            local,
            backend: n,
            backend_address,
            state: State::HalfOpen,
            confirmed: false,
            refused_ns: None,
            client_closed: false,
            backend_closed: false,
            backend_closed_first: false,
            expects: None,
            router: packet.router,
            last_ns: self.world.now_ns,
            has_client_entry: true,
            has_reply_entry: two_way,
        });
        self.inserted.push((client, vip));
        if two_way {
            self.inserted.push((backend_address, local));
        }
        self.counted.push(Reason::FlowNew);
    }
}
