//! How often what happened: a model that never saw a flow closed proves nothing about closing.

use std::{collections::BTreeMap, fmt, time::Duration};

use lb_common::reason::Reason;

use super::flow::State;

/// Counts over all sequences.
#[derive(Debug, Default)]
pub struct Tally {
    pub sequences: u64,
    pub events: u64,
    pub time: Duration,
    /// By kind.
    pub kinds: BTreeMap<String, u64>,
    /// The state that a packet left its flow in, by whether it was confirmed.
    pub states: BTreeMap<(bool, State), u64>,
    pub reasons: BTreeMap<Reason, u64>,
    /// By setup: mode, protocol, family.
    pub setups: BTreeMap<String, u64>,
    /// Entries that newer ones pushed out.
    pub pushed_out: u64,
    pub swept: u64,
}

impl Tally {
    pub fn reached(&self, confirmed: bool, state: State) -> u64 {
        self.states.get(&(confirmed, state)).copied().unwrap_or(0)
    }

    pub fn counted(&self, reason: Reason) -> u64 {
        self.reasons.get(&reason).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &dyn fmt::Display, count: &u64| {
            writeln!(f, "  {count:>7}  {name}")
        };
        writeln!(
            f,
            "{} events in {} sequences, {:.1} s",
            self.events,
            self.sequences,
            self.time.as_secs_f64()
        )?;
        writeln!(f, "events of sequences in")?;
        for (setup, count) in &self.setups {
            row(f, setup, count)?;
        }
        writeln!(f, "events")?;
        for (kind, count) in &self.kinds {
            row(f, kind, count)?;
        }
        writeln!(f, "states that packets left their flows in")?;
        for ((confirmed, state), count) in &self.states {
            let place = if *confirmed { "confirmed" } else { "half-open" };
            row(f, &format!("{place} {state}"), count)?;
        }
        writeln!(f, "reasons")?;
        for (reason, count) in &self.reasons {
            row(f, &reason.name(), count)?;
        }
        writeln!(f, "entries")?;
        row(f, &"pushed out by newer ones", &self.pushed_out)?;
        row(f, &"flows swept", &self.swept)
    }
}
