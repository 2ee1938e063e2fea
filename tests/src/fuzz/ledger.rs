//! Counts: each packet adds one reason that ends in its verdict, or one packet to a backend's counters.
//! They are read only now and then, for the packets since then together.

use lb_common::{
    backend::BackendStats,
    reason::{Kind, Reason},
};

use super::{
    judge::{Fate, Fault},
    reasons::Reasons,
    world::World,
};

/// What a backend's counters should have gained, and what they were.
#[derive(Clone, Copy, Default)]
struct Account {
    before: BackendStats,
    gained: BackendStats,
}

#[derive(Default)]
pub struct Ledger {
    passed: u64,
    dropped: u64,
    answered: u64,
    unresolved: u64,
    errors: u64,
    /// How often each reason must have been counted, and how often it may have been.
    bounds: Vec<[u64; 2]>,
    accounts: Vec<Account>,
    /// Counted since the beginning of the run, by reason.
    pub totals: Vec<u64>,
    /// Flows that found a table full since the beginning of the part.
    pub full: u64,
}

impl Ledger {
    /// From now on for this world.
    pub fn begin(&mut self, world: &mut World) {
        world.rig.newly_counted();
        self.accounts.clear();
        for backend in &world.backends {
            self.accounts.push(Account {
                before: world.rig.stats(backend.idx),
                gained: BackendStats::default(),
            });
        }
        self.totals.resize(Reason::ALL.len(), 0);
        self.bounds.clear();
        self.bounds.resize(Reason::ALL.len(), [0; 2]);
        (self.passed, self.dropped, self.answered) = (0, 0, 0);
        (self.unresolved, self.errors) = (0, 0);
        self.full = 0;
    }

    /// Notes what became of a packet of this length, and the reasons that are right for it.
    pub fn note(&mut self, fate: Fate, len: usize, reasons: Reasons) {
        let bytes = len as u64;
        for (reason, [least, most]) in Reason::ALL.iter().zip(&mut self.bounds) {
            *least += u64::from(reasons.is_only(*reason));
            *most += u64::from(reasons.has(*reason));
        }
        match fate {
            Fate::Passed => self.passed += 1,
            Fate::Dropped => self.dropped += 1,
            Fate::Answered => self.answered += 1,
            Fate::ErrorSent { resolved } => {
                self.errors += 1;
                self.unresolved += u64::from(!resolved);
            }
            Fate::ToBackend { idx, resolved } => {
                self.unresolved += u64::from(!resolved);
                let gained = &mut self.accounts[idx as usize].gained;
                gained.packets_in += 1;
                gained.bytes_in += bytes;
            }
            Fate::ToClient {
                backend_idx,
                resolved,
            } => {
                self.unresolved += u64::from(!resolved);
                let gained = &mut self.accounts[backend_idx as usize].gained;
                gained.packets_out += 1;
                gained.bytes_out += bytes;
            }
        }
    }

    /// Holds what was noted against the counters, and begins anew.
    ///
    /// # Errors
    /// When they tell something else.
    pub fn check(&mut self, world: &mut World) -> Result<(), Fault> {
        let counted = world.rig.newly_counted();
        let (mut passed, mut dropped, mut answered, mut unresolved) = (0, 0, 0, 0);
        let (mut new_flows, mut opened, mut errors) = (0, 0, 0);
        for (reason, count) in &counted {
            self.totals[*reason as usize] += count;
            match (reason, reason.kind()) {
                _ if ["next_hop_unknown", "to_fragment"].contains(&reason.name()) => {
                    unresolved += count;
                }
                _ if reason.name() == "icmp_error" => errors += count,
                (_, Kind::Pass) => passed += count,
                (_, Kind::Drop) => dropped += count,
                (_, Kind::Answer) => answered += count,
                (Reason::FlowNew, _) => new_flows += count,
                (Reason::FlowTableFull, _) => self.full += count,
                (_, Kind::Event) => {}
            }
        }
        let mut result = Ok(());
        if counted
            .iter()
            .any(|(reason, _)| *reason == Reason::TableError)
        {
            result = Err(format!(
                "a map refused what it should have taken: {counted:?}"
            ));
        }
        for (what, right, found) in [
            ("passed", self.passed, passed),
            ("dropped", self.dropped, dropped),
            ("answered", self.answered, answered),
            ("changed and passed", self.unresolved, unresolved),
            ("errors sent on", self.errors, errors),
        ] {
            if right != found {
                result = Err(format!(
                    "{right} packets were {what}, but {found} counted: {counted:?}"
                ));
            }
        }
        (self.passed, self.dropped, self.answered) = (0, 0, 0);
        (self.unresolved, self.errors) = (0, 0);
        for (reason, [least, most]) in Reason::ALL.iter().zip(&mut self.bounds) {
            let found = counted.iter().find(|(counted, _)| counted == reason);
            let found = found.map_or(0, |(_, count)| *count);
            let right = (*least..=*most).contains(&found) || reason.kind() == Kind::Event;
            if !right {
                result = Err(format!(
                    "{} was counted {found} times, not {least} to {most}: {counted:?}",
                    reason.name()
                ));
            }
            [*least, *most] = [0; 2];
        }
        for (account, backend) in self.accounts.iter_mut().zip(&world.backends) {
            let now = world.rig.stats(backend.idx);
            let before = account.before;
            let gained = BackendStats {
                flows: 0,
                packets_in: now.packets_in - before.packets_in,
                bytes_in: now.bytes_in - before.bytes_in,
                packets_out: now.packets_out - before.packets_out,
                bytes_out: now.bytes_out - before.bytes_out,
            };
            opened += now.flows - before.flows;
            if gained != account.gained {
                result = Err(format!(
                    "backend {} gained {gained:?}, not {:?}; counted: {counted:?}",
                    backend.idx, account.gained
                ));
            }
            account.before = now;
            account.gained = BackendStats::default();
        }
        if new_flows != opened {
            result = Err(format!(
                "{new_flows} new flows were counted, but {opened} of backends"
            ));
        }
        result
    }
}
