//! The measured table, for people (Markdown) and for programs (JSON).

use std::fmt;

use serde_json::{Value, json};

use super::machine::Machine;

/// One measured row.
#[derive(Clone, Debug)]
pub struct Measured {
    pub name: String,
    pub family: &'static str,
    pub direction: &'static str,
    /// Median over rounds.
    pub ns: f64,
    /// Median over rounds of the ratio to the baseline of the same round.
    pub ratio: f64,
    /// Greatest ratio wanted.
    pub target: Option<f64>,
}

/// Everything that a run measured.
#[derive(Clone, Debug)]
pub struct Report {
    pub machine: Machine,
    pub rounds: u32,
    /// Of each row in each round.
    pub packets: u32,
    pub verified_instructions: u32,
    pub rows: Vec<Measured>,
}

impl Report {
    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name,
                    "family": row.family,
                    "direction": row.direction,
                    "ns": row.ns,
                    "ratio": row.ratio,
                    "target": row.target,
                })
            })
            .collect();
        json!({
            "machine": {
                "cpu": self.machine.cpu,
                "cpus": self.machine.cpus,
                "kernel": self.machine.kernel,
            },
            "rounds": self.rounds,
            "packets": self.packets,
            "verified_instructions": self.verified_instructions,
            "rows": rows,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cpus, kernel } = &self.machine;
        let Self {
            rounds, packets, ..
        } = self;
        writeln!(f, "{cpu} ({cpus} CPUs), Linux {kernel}")?;
        writeln!(
            f,
            "medians of {rounds} rounds of {packets} packets a row; IPv4 frames of 64 bytes, IPv6 \
             of 84"
        )?;
        writeln!(
            f,
            "the verifier processed {} instructions\n",
            self.verified_instructions
        )?;
        let columns = ["row", "", "", "ns", "× baseline", "target"];
        let lines: Vec<[String; 6]> = self.rows.iter().map(line).collect();
        let widths: [usize; 6] = std::array::from_fn(|at| {
            let cells = lines.iter().map(|line| line[at].chars().count());
            cells.max().unwrap_or(0).max(columns[at].chars().count())
        });
        write_line(f, &columns.map(str::to_owned), widths)?;
        write_line(f, &widths.map(|width| "-".repeat(width)), widths)?;
        for line in &lines {
            write_line(f, line, widths)?;
        }
        Ok(())
    }
}

fn line(row: &Measured) -> [String; 6] {
    let target = row.target.map_or(String::new(), |target| {
        let verdict = if row.ratio <= target { "met" } else { "missed" };
        format!("≤ {target:.1} {verdict}")
    });
    [
        row.name.clone(),
        row.family.to_owned(),
        row.direction.to_owned(),
        format!("{:.0}", row.ns),
        format!("{:.1}", row.ratio),
        target,
    ]
}

fn write_line(f: &mut fmt::Formatter<'_>, cells: &[String; 6], widths: [usize; 6]) -> fmt::Result {
    for (cell, width) in cells.iter().zip(widths) {
        write!(f, "| {cell:width$} ")?;
    }
    writeln!(f, "|")
}
