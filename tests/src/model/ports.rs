//! Our end toward the backend: which source a new flow of mode `nat` may get, and when a client's own
//! address will do in mode `route` (decision 0003).

use std::net::SocketAddr;

use lb_common::{reason::Reason, service::mode};

use super::{
    flow::{Flow, State},
    path::{Arrived, Choice, Model, Wrong},
    world::SECOND_NS,
};

/// A flow that is over may lose its port after so long without a packet.
const QUIET_NS: u64 = SECOND_NS;
/// The same where the backend closed first, and holds TIME-WAIT.
const TIME_WAIT_NS: u64 = 60 * SECOND_NS;

/// In which turn a source is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Nobody's.
    Free,
    /// Of a flow that is over.
    Over,
    /// Of one whose backend may hold TIME-WAIT, or that nobody confirmed.
    Doubtful,
}

impl Model {
    /// The source of a new flow toward a backend, as the program chose it. Whoever had it before loses it.
    pub(super) fn claim(
        &mut self,
        n: usize,
        packet: &Arrived,
        choice: &Choice,
    ) -> Result<SocketAddr, Wrong> {
        let local = choice.local.ok_or("no source shows")?;
        let turn = if self.world.setup.mode == mode::ROUTE {
            if local != packet.source {
                return Err(format!("the client's address became {local}"));
            }
            self.turn_of_own(n, packet)
                .ok_or("its own other connection has the port")?
        } else {
            self.check_source(n, local)?
        };
        if let Some(holder) = self.reply_entry(self.world.setup.backend(n), local) {
            if turn == Turn::Free {
                self.flows[holder].has_reply_entry = false;
                self.flows.retain(|flow| !flow.is_gone());
            } else {
                self.flows.remove(holder);
            }
        }
        if turn != Turn::Free {
            self.counted.push(Reason::PortReused);
        }
        Ok(local)
    }

    /// Why no flow can be opened toward this backend.
    pub(super) fn why_not(&self, n: usize, packet: &Arrived) -> Option<Reason> {
        match self.world.setup.mode {
            mode::NAT => {
                let sources = self.world.setup.few_sources()?;
                let none = sources
                    .iter()
                    .all(|local| self.turn_of(n, *local).is_none());
                none.then_some(Reason::PortsExhausted)
            }
            mode::ROUTE => self
                .turn_of_own(n, packet)
                .is_none()
                .then_some(Reason::FlowConflict),
            mode::DSR => (!self.world.backends[n].resolved).then_some(Reason::BackendUnresolved),
            _ => None,
        }
    }

    /// The source is one of ours, and it is its turn.
    fn check_source(&self, n: usize, local: SocketAddr) -> Result<Turn, Wrong> {
        let setup = &self.world.setup;
        if !setup.is_source(local) {
            return Err(format!("{local} is no source of ours"));
        }
        let Some(turn) = self.turn_of(n, local) else {
            return Err(format!("{local} toward backend {n} is another flow's"));
        };
        let first = match setup.few_sources() {
            Some(all) => all.iter().filter_map(|local| self.turn_of(n, *local)).min(),
            // There are far more of them than flows.
            None => Some(Turn::Free),
        };
        if first != Some(turn) {
            return Err(format!(
                "{local} was taken in turn {turn:?}, though there is {first:?}"
            ));
        }
        if let Some((backend, before)) = self.before
            && backend == n
            && self.turn_of(n, before) == Some(Turn::Free)
            && before != local
        {
            return Err(format!(
                "after a reset the source changed from {before} to {local}"
            ));
        }
        Ok(turn)
    }

    /// When a source is given out toward this backend; `None` while its flow lives.
    fn turn_of(&self, n: usize, local: SocketAddr) -> Option<Turn> {
        let Some(holder) = self.reply_entry(self.world.setup.backend(n), local) else {
            return Some(Turn::Free);
        };
        self.turn_of_holder(&self.flows[holder])
    }

    fn turn_of_holder(&self, holder: &Flow) -> Option<Turn> {
        if !holder.confirmed && self.is_over(holder) {
            return Some(Turn::Free);
        }
        let udp = self.world.setup.udp;
        let quiet_ns = self.quiet_ns(holder);
        let turn = match holder.state {
            State::Closed | State::Reset if !holder.confirmed => Turn::Doubtful,
            State::Closed if holder.backend_closed_first && quiet_ns < TIME_WAIT_NS => {
                Turn::Doubtful
            }
            State::Closed | State::Reset => Turn::Over,
            // Most exchanges over UDP are a question and its answer.
            State::Answered if udp => Turn::Over,
            State::HalfOpen | State::Answered => Turn::Doubtful,
            State::Established | State::Fin => return None,
        };
        (quiet_ns >= QUIET_NS).then_some(turn)
    }

    /// The same of the client's own address in mode `route`. The client itself gives the port to another
    /// connection, so that what it had is over for it.
    fn turn_of_own(&self, n: usize, packet: &Arrived) -> Option<Turn> {
        let Some(holder) = self.reply_entry(self.world.setup.backend(n), packet.source) else {
            return Some(Turn::Free);
        };
        let holder = &self.flows[holder];
        let is_over = self.is_over(holder);
        if is_over && !holder.confirmed {
            return Some(Turn::Free);
        }
        let is_left_over = holder.vip == packet.destination;
        let ended = matches!(holder.state, State::Closed | State::Reset);
        (is_over || is_left_over || ended).then_some(Turn::Over)
    }
}
