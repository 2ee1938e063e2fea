//! What a run reached, as a table, and what it should have.

use std::{collections::BTreeMap, fmt};

use lb_common::{
    reason::{Kind, Reason},
    service::mode,
};

use super::{judge::Fate, ledger::Ledger, make::Made, tables::Census, world::World};
use crate::rig::Verdict;

/// Packets from which on everything must have been reached.
const ENOUGH: u64 = 500_000;

/// Reasons that no packet can have here: those of tables that the rig fills as they should be, and of a
/// handover from another layout, which the fuzzer does not begin (`tests/packets/handover.rs` does).
const OUT_OF_REACH: [Reason; 2] = [Reason::TableError, Reason::Handover];

#[derive(Default)]
pub struct Report {
    pub packets: u64,
    /// Packets to which nothing was done.
    valid: u64,
    reached: BTreeMap<(&'static str, &'static str), u64>,
    reasons: Vec<u64>,
    census: Census,
}

impl Report {
    pub fn packet(&mut self, world: &World, made: &Made, verdict: Verdict, fate: Fate) {
        self.packets += 1;
        self.valid += u64::from(made.mutations[0].is_none());
        self.add("made as", made.name);
        for mutation in made.mutations.into_iter().flatten() {
            self.add("mutated", mutation);
        }
        self.add("verdict", verdict_name(verdict));
        let service = |backend_idx: u32| {
            let backend = &world.backends[backend_idx as usize];
            &world.services[backend.service_idx as usize]
        };
        match fate {
            Fate::ToBackend { idx, .. } => {
                let service = service(idx);
                let name = if service.translates() {
                    "nat, between families"
                } else {
                    mode_name(service.mode)
                };
                self.add("to backend", name);
            }
            Fate::ToClient { backend_idx, .. } => {
                let service = service(backend_idx);
                let name = if service.translates() {
                    "nat, between families"
                } else {
                    mode_name(service.mode)
                };
                self.add("to client", name);
            }
            Fate::ErrorSent { .. } => self.add("errors", "sent on"),
            _ => {}
        }
        self.add("world", world.shape.name);
    }

    fn add(&mut self, what: &'static str, name: &'static str) {
        *self.reached.entry((what, name)).or_default() += 1;
    }

    pub fn census(&mut self, census: &Census) {
        self.census.half_open += census.half_open;
        self.census.confirmed += census.confirmed;
        for (sum, count) in self.census.states.iter_mut().zip(census.states) {
            *sum += count;
        }
    }

    pub fn finish(&mut self, ledger: &Ledger) {
        self.reasons.clone_from(&ledger.totals);
    }

    /// What a run as long as this one should have reached, but did not.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        if self.packets < ENOUGH {
            return Vec::new();
        }
        let mut missing = Vec::new();
        for reason in Reason::ALL {
            if self.reasons[*reason as usize] == 0 && !OUT_OF_REACH.contains(reason) {
                missing.push(format!("reason {}", reason.name()));
            }
        }
        let ways = [
            (
                "to backend",
                [
                    "nat",
                    "nat, between families",
                    "route",
                    "dsr",
                    "ipip",
                    "gue",
                ]
                .as_slice(),
            ),
            ("to client", &["nat", "nat, between families", "route"]),
            ("verdict", &["pass", "drop", "tx", "redirect"]),
        ];
        for (what, names) in ways {
            for name in names {
                if !self.reached.contains_key(&(what, *name)) {
                    missing.push(format!("{what} {name}"));
                }
            }
        }
        for (state, count) in self.census.states.iter().enumerate().skip(1).take(6) {
            if *count == 0 {
                missing.push(format!(
                    "state {}",
                    lb_common::flow::state::name(state as u8)
                ));
            }
        }
        if self.valid * 2 < self.packets {
            missing.push("more valid packets than others".to_owned());
        }
        missing
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.valid * 100 / self.packets.max(1);
        writeln!(
            f,
            "{} packets, {percent} % of them as they should be",
            self.packets
        )?;
        let mut before = "";
        for ((what, name), count) in &self.reached {
            let title = if *what == before { "" } else { what };
            writeln!(f, "{title:<12} {name:<28} {count:>10}")?;
            before = what;
        }
        let mut before = None;
        for (reason, count) in Reason::ALL.iter().zip(&self.reasons) {
            let title = match reason.kind() {
                kind if before == Some(kind) => "",
                Kind::Pass => "passed for",
                Kind::Drop => "dropped for",
                Kind::Answer => "answered for",
                Kind::Event => "events",
            };
            before = Some(reason.kind());
            writeln!(f, "{title:<12} {:<28} {count:>10}", reason.name())?;
        }
        let (half_open, confirmed) = (self.census.half_open, self.census.confirmed);
        writeln!(f, "{:<12} {:<28} {half_open:>10}", "entries", "half-open")?;
        writeln!(f, "{:<12} {:<28} {confirmed:>10}", "", "confirmed")?;
        for (state, count) in self.census.states.iter().enumerate().skip(1).take(6) {
            let name = lb_common::flow::state::name(state as u8);
            writeln!(f, "{:<12} {name:<28} {count:>10}", "")?;
        }
        Ok(())
    }
}

const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Aborted => "aborted",
        Verdict::Drop => "drop",
        Verdict::Pass => "pass",
        Verdict::Tx => "tx",
        Verdict::Redirect => "redirect",
    }
}

const fn mode_name(mode: u8) -> &'static str {
    match mode {
        mode::NAT => "nat",
        mode::ROUTE => "route",
        mode::DSR => "dsr",
        mode::IPIP => "ipip",
        _ => "gue",
    }
}
