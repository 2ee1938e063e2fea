//! What `cargo xtask bench` measures; most of it here.
//!
//! `bench packet`: nanoseconds that the XDP program takes for a packet, by the thread's CPU time
//! around long test runs, as ratios to a baseline measured in the same round.

mod health;
mod machine;
mod report;
mod rewinder;
mod row;
mod rows;
mod tables;

use anyhow::{Result, ensure};

pub use health::{HealthEffort, HealthReport, health};
pub use machine::Machine;
pub use report::{Measured, Report};
use row::Row;
use rows::BASELINE;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Only the baseline and rows whose name contains one of these, or is it, where it begins with `=`;
    /// all where there are none.
    pub only: Vec<String>,
    /// Rounds; each measures every row once. Medians are taken over rounds.
    pub rounds: u32,
    /// Packets of each row in each round.
    pub packets: u32,
}

impl Effort {
    fn wants(&self, row: &str) -> bool {
        let named = |only: &String| match only.strip_prefix('=') {
            Some(name) => row == name,
            None => row.contains(only.as_str()),
        };
        self.only.is_empty() || self.only.iter().any(named)
    }
}

/// Measures all rows. `progress` is told what happens.
///
/// # Errors
/// When a single packet did not become what its row says.
pub fn packet(effort: &Effort, progress: impl Fn(&str)) -> Result<Report> {
    ensure!(
        effort.rounds > 0 && effort.packets > 0,
        "nothing to measure: rounds and packets must be at least 1"
    );
    progress("loading the program and filling the flow tables");
    let mut rigs = tables::rigs();
    let mut rows = rows::all(&rigs);
    rows.retain(|row| row.name == BASELINE || effort.wants(&row.name));
    progress("warming up");
    for row in &mut rows {
        row.measure(&mut rigs, effort.packets)?;
    }
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    for round in 1..=effort.rounds {
        progress(&format!("round {round} of {}", effort.rounds));
        for (row, samples) in rows.iter_mut().zip(&mut samples) {
            samples.push(row.measure(&mut rigs, effort.packets)?);
        }
    }

    let baseline = rows
        .iter()
        .position(|row| row.name == BASELINE)
        .expect("one row is the baseline");
    let measured = rows
        .iter()
        .zip(&samples)
        .map(|(row, own)| measured(row, own, &samples[baseline]))
        .collect();
    Ok(Report {
        machine: Machine::this(),
        rounds: effort.rounds,
        packets: effort.packets,
        verified_instructions: rigs[0].verified_instructions(),
        rows: measured,
    })
}

fn measured(row: &Row, samples: &[f64], baseline: &[f64]) -> Measured {
    let ratios = samples
        .iter()
        .zip(baseline)
        .map(|(own, base)| own / base)
        .collect();
    Measured {
        name: row.name.clone(),
        family: row.family,
        direction: row.direction,
        ns: median(samples.to_vec()),
        ratio: median(ratios),
        target: row.target,
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}
