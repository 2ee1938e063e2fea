//! One row: measuring it, and proving by the counters that every packet was what the row says.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use lb_common::{Budgeted, reason::Reason};

use super::{
    rewinder::Rewinder,
    tables::{BACKENDS, set_mode},
};
use crate::rig::{Rig, now_ns};

/// New flows of a series that finds room: half of what the default tables hold, lest many displace
/// one another in their buckets.
const NEW_FLOWS: u32 = 32_768;

/// Samples of a traced series: all find room.
const SAMPLES: u32 = 2_000;

/// A row of the table.
pub struct Row {
    pub name: String,
    pub family: &'static str,
    pub direction: &'static str,
    /// Most times the baseline that it may take.
    pub target: Option<f64>,
    pub rewinder: Rewinder,
    /// Which of the rigs it is measured on, and in which mode.
    pub rig: usize,
    pub mode: u8,
    pub counts: Counts,
}

/// Which counters prove that the packets were what the row says.
#[derive(Clone, Copy)]
pub enum Counts {
    Nothing,
    Reason(Reason),
    NewFlows,
    /// The same, into a half-open table of this family that has room for them.
    NewFlowsWithRoom(IpAddr),
    PacketsIn,
    PacketsOut,
    /// Answers are limited: as many as the budget holds at a time.
    Answers,
}

impl Row {
    /// Sends so many packets and returns the nanoseconds that one took.
    pub fn measure(&mut self, rigs: &mut [Rig], packets: u32) -> Result<f64> {
        let rig = &mut rigs[self.rig];
        set_mode(rig, self.mode);
        let length = match self.counts {
            // As many as the ring buffer holds: who reads it on a host is another CPU.
            Counts::PacketsIn | Counts::PacketsOut if rig.trace_every().is_some() => {
                rig.trace_every().unwrap_or(1) * SAMPLES
            }
            Counts::Answers => Budgeted::Reset.per_second() as u32,
            Counts::NewFlowsWithRoom(_) => NEW_FLOWS,
            _ => return self.series(rig, packets),
        };
        let series = packets.div_ceil(length);
        let mut total = 0.0;
        for _ in 0..series {
            match self.counts {
                Counts::NewFlowsWithRoom(family) => rig.clear_half_open(family),
                Counts::PacketsIn | Counts::PacketsOut => {}
                _ => rig.budget_since(Budgeted::Reset, Budgeted::Reset.per_second(), now_ns()),
            }
            total += self.series(rig, length)?;
            if rig.trace_every().is_some() {
                rig.take_records();
            }
        }
        Ok(total / f64::from(series))
    }

    fn series(&mut self, rig: &mut Rig, packets: u32) -> Result<f64> {
        rig.newly_counted();
        let before = totals(rig);
        let spent_ns = self.rewinder.run(packets).with_context(|| {
            let Self {
                name,
                family,
                direction,
                ..
            } = self;
            format!("row \"{name}\" {family} {direction}")
        })?;
        let after = totals(rig);
        let new = [0, 1, 2].map(|at| after[at] - before[at]);
        let n = u64::from(packets);
        let (reasons, totals) = match self.counts {
            Counts::Nothing => (vec![], [0, 0, 0]),
            Counts::Reason(reason) => (vec![(reason, n)], [0, 0, 0]),
            Counts::NewFlows | Counts::NewFlowsWithRoom(_) => {
                (vec![(Reason::FlowNew, n)], [n, n, 0])
            }
            Counts::PacketsIn => (vec![], [0, n, 0]),
            Counts::PacketsOut => (vec![], [0, 0, n]),
            Counts::Answers => (vec![(Reason::NoFlow, n)], [0, 0, 0]),
        };
        let counted = rig.newly_counted();
        ensure!(
            (&counted, new) == (&reasons, totals),
            "row \"{}\" {}: the counters say {counted:?} and {new:?} flows, packets in and out, \
             instead of {reasons:?} and {totals:?}",
            self.name,
            self.family
        );
        Ok(spent_ns / f64::from(packets))
    }
}

/// Flows, packets in and packets out of all backends.
fn totals(rig: &Rig) -> [u64; 3] {
    let mut totals = [0; 3];
    for stats in (0..2 * BACKENDS).map(|backend_idx| rig.stats(backend_idx)) {
        totals[0] += stats.flows;
        totals[1] += stats.packets_in;
        totals[2] += stats.packets_out;
    }
    totals
}
