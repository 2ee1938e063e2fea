//! Whether both sides agree, and what is told when they do not.

use std::fmt;

use lb_common::flow::{flag as flow_flag, side, state as flow_state};

use super::{flow::Entry, judge::Judge};
use crate::rig::Table;

/// Where program and model part ways.
#[derive(Clone, Debug)]
pub struct Divergence {
    pub what: String,
    pub program: String,
    pub model: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            program,
            model,
        } = self;
        write!(f, "{what}\nprogram:\n{program}\nmodel:\n{model}")
    }
}

impl Judge<'_> {
    pub(super) fn program_entries(&self) -> Vec<Entry> {
        let held = self.rig.held(self.model.world.setup.vip(0).ip());
        let mut entries: Vec<Entry> = (held.into_iter())
            .map(|held| Entry {
                from: held.source,
                to: held.destination,
                new_from: held.entry.source,
                new_to: held.entry.destination,
                backend: held.entry.backend_idx as usize,
                state: flow_state::name(held.entry.state).to_owned(),
                confirmed: held.entry.table == Table::Confirmed,
                of_client: held.entry.side == side::CLIENT,
                closed_by: held.entry.closed_by,
                backend_closed_first: held.entry.flags & flow_flag::BACKEND_CLOSED_FIRST != 0,
                router: held.entry.peer_mac,
                last_ns: held.entry.last_seen_ns,
            })
            .collect();
        entries.sort();
        entries
    }

    /// The same entries, alike in all but the time: of a confirmed flow each has its own direction's, and
    /// the later one counts.
    pub(super) fn same_entries(
        &self,
        program: &[Entry],
        model: &[Entry],
    ) -> Result<(), Divergence> {
        let differs = |what: &str, program: &[&Entry], model: &[&Entry]| Divergence {
            what: format!("{what}, at {} ms", self.model.world.now_ns / 1_000_000),
            program: listed(program),
            model: listed(model),
        };
        let without_time = |entry: &Entry| Entry {
            last_ns: 0,
            ..entry.clone()
        };
        let missing_in = |these: &[Entry], those: &[Entry]| -> Vec<Entry> {
            let those: Vec<Entry> = those.iter().map(without_time).collect();
            (these.iter())
                .filter(|entry| !those.contains(&without_time(entry)))
                .cloned()
                .collect()
        };
        let (more, less) = (missing_in(program, model), missing_in(model, program));
        if !more.is_empty() || !less.is_empty() || program.len() != model.len() {
            let (more, less): (Vec<_>, Vec<_>) = (more.iter().collect(), less.iter().collect());
            return Err(differs("the entries differ", &more, &less));
        }
        for flow in &self.model.flows {
            let of_flow: Vec<Entry> = flow.entries().collect();
            let held: Vec<&Entry> = (program.iter())
                .filter(|entry| {
                    of_flow
                        .iter()
                        .any(|e| (e.from, e.to) == (entry.from, entry.to))
                })
                .collect();
            let is_right = if flow.confirmed {
                held.iter().map(|entry| entry.last_ns).max() == Some(flow.last_ns)
            } else {
                held.iter().all(|entry| entry.last_ns == flow.last_ns)
            };
            if !is_right {
                let due: Vec<&Entry> = of_flow.iter().collect();
                return Err(differs("the times differ", &held, &due));
            }
        }
        Ok(())
    }
}

pub fn same<T: PartialEq + fmt::Debug>(
    what: &str,
    program: &T,
    model: &T,
) -> Result<(), Divergence> {
    if program == model {
        return Ok(());
    }
    Err(Divergence {
        what: what.to_owned(),
        program: format!("{program:?}"),
        model: format!("{model:?}"),
    })
}

pub fn listed(entries: &[&Entry]) -> String {
    let lines: Vec<String> = entries.iter().map(|entry| format!("  {entry}")).collect();
    if lines.is_empty() {
        "  nothing".to_owned()
    } else {
        lines.join("\n")
    }
}
