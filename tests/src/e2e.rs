//! `bench e2e`: what clients get, end to end, by each way to the same servers: plain routing, nftables,
//! HAProxy, nginx and divvy. They take turns on labs that are alike, in another order each round, so that
//! whatever else the machine does meets all of them.

mod chart;
mod cpu;
mod load;
mod measure;
mod pages;
mod report;
mod rivals;
mod steady;
mod summary;
mod ways;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

pub use self::{
    chart::chart,
    measure::Measure,
    pages::{Pages, write_docs},
    report::Report,
    rivals::missing,
    summary::{Figure, Target},
    ways::Way,
};
use self::{
    load::Load,
    summary::Samples,
    ways::{Ends, Standing},
};
use crate::{bench::Machine, lab::Lab};

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct E2eEffort {
    /// Rounds; each measures every way once. Medians are taken over rounds.
    pub rounds: u32,
    /// Length of each measurement. There are four for each way in each round.
    pub length: Duration,
    /// Connections of the clients together.
    pub connections: usize,
    /// Backends, an nginx of one worker each.
    pub backends: usize,
    /// Requests a second at which latency is measured.
    pub rate: u32,
    /// Which ways, in the order of the report.
    pub ways: Vec<Way>,
}

impl Default for E2eEffort {
    fn default() -> Self {
        Self {
            rounds: 5,
            length: Duration::from_secs(3),
            connections: 64,
            backends: 2,
            rate: 4_000,
            ways: Way::ALL.to_vec(),
        }
    }
}

/// Measures all ways. `progress` is told what happens.
///
/// # Errors
/// When a way cannot be set up, does not serve, or a program that measures fails.
pub fn e2e(effort: &E2eEffort, progress: impl Fn(&str)) -> Result<Report> {
    ensure!(
        effort.rounds > 0 && effort.length >= Duration::from_secs(1) && effort.rate > 0,
        "nothing to measure: rounds, seconds and rate must be at least 1"
    );
    ensure!(
        effort.backends > 0 && effort.connections.is_multiple_of(effort.backends),
        "{} connections cannot be shared evenly by {} backends",
        effort.connections,
        effort.backends
    );
    let mut samples = Samples::new(&effort.ways);
    for round in 0..effort.rounds {
        for turn in 0..effort.ways.len() {
            let way = effort.ways[(round as usize + turn) % effort.ways.len()];
            progress(&format!(
                "round {} of {}: {}",
                round + 1,
                effort.rounds,
                way.name()
            ));
            let measured = one(way, effort).with_context(|| format!("measuring {}", way.name()))?;
            for (measure, value) in measured {
                samples.add(way, measure, value);
            }
        }
    }
    Ok(Report::new(Machine::this(), effort.clone(), &samples))
}

/// Sets one way up, in a lab of its own, and measures it. In one that another way had used, servers would remember
/// its connections for a minute (TIME_WAIT), and take a new one from the same address and port for a part of an old.
fn one(way: Way, effort: &E2eEffort) -> Result<Vec<(Measure, f64)>> {
    let lab = Lab::routed("e2e").backends(effort.backends).start();
    let ends = Ends::new(&lab);
    let standing = Standing::set_up(&lab, &ends, way)?;
    let load = Load::new(&lab, ends.targets(way), effort);
    load.warm_up()?;
    let kept = load.requests(true)?;
    let single = load.requests(false)?;
    let stream = load.stream()?;
    let steady = load.steady()?;
    drop(standing);
    Ok(vec![
        (Measure::Requests, kept.per_second),
        (Measure::Connections, single.per_second),
        (Measure::Stream, stream),
        (Measure::Median, steady.quantile(0.50)),
        (Measure::Tail, steady.quantile(0.99)),
        (Measure::CpuAtRate, steady.cpu_each),
        (Measure::CpuAtFull, kept.cpu_each),
        (Measure::CpuOfConnection, single.cpu_each),
    ])
}
