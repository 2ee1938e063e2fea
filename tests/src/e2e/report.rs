//! The table, for people (Markdown) and for programs (JSON).

use std::fmt;

use serde_json::{Value, json};

use super::{
    E2eEffort,
    summary::{Figure, Samples, Target},
};
use crate::bench::Machine;

/// Everything that a run measured.
#[derive(Clone, Debug)]
pub struct Report {
    pub machine: Machine,
    pub effort: E2eEffort,
    pub figures: Vec<Figure>,
}

impl Report {
    pub(super) fn new(machine: Machine, effort: E2eEffort, samples: &Samples) -> Self {
        Self {
            machine,
            effort,
            figures: samples.figures(),
        }
    }

    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(figure).collect();
        json!({
            "machine": {
                "cpu": self.machine.cpu,
                "cpus": self.machine.cpus,
                "kernel": self.machine.kernel,
            },
            "rounds": self.effort.rounds,
            "seconds": self.effort.length.as_secs(),
            "connections": self.effort.connections,
            "backends": self.effort.backends,
            "rate": self.effort.rate,
            "figures": figures,
        })
    }

    /// How it was measured, in a sentence.
    #[must_use]
    pub fn conditions(&self) -> String {
        let Machine { cpu, cpus, kernel } = &self.machine;
        let E2eEffort {
            rounds,
            length,
            connections,
            backends,
            rate,
            ..
        } = &self.effort;
        format!(
            "{cpu} ({cpus} CPUs), Linux {kernel}; medians of {rounds} rounds of {} s; {connections} connections \
             to {backends} backends; latency at {rate} requests/s.",
            length.as_secs()
        )
    }

    /// The table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let columns = [
            "measure",
            "way",
            "median",
            "least to most",
            "× routing",
            "× HAProxy",
            "target",
        ];
        let lines: Vec<[String; 7]> = self.figures.iter().map(line).collect();
        let widths: [usize; 7] = std::array::from_fn(|at| {
            let cells = lines.iter().map(|line| line[at].chars().count());
            cells.max().unwrap_or(0).max(columns[at].chars().count())
        });
        let head = [
            columns.map(str::to_owned),
            widths.map(|width| "-".repeat(width)),
        ];
        head.iter()
            .chain(&lines)
            .map(|cells| {
                let cells = cells.iter().zip(widths);
                let cells: String = cells
                    .map(|(cell, width)| format!("| {cell:width$} "))
                    .collect();
                format!("{cells}|\n")
            })
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.conditions(), self.table())
    }
}

fn line(figure: &Figure) -> [String; 7] {
    let measure = figure.measure;
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    [
        measure.name().to_owned(),
        figure.way.name().to_owned(),
        measure.show(figure.median),
        format!(
            "{} to {}",
            measure.show(figure.least),
            measure.show(figure.most)
        ),
        ratio(figure.to_routing),
        ratio(figure.to_haproxy),
        targets(&figure.targets),
    ]
}

fn targets(targets: &[Target]) -> String {
    let each: Vec<String> = (targets.iter())
        .map(|Target { over, least, met }| {
            let verdict = if *met { "met" } else { "not met" };
            format!("≥ {least} × {}: {verdict}", over.name())
        })
        .collect();
    each.join("; ")
}

fn figure(figure: &Figure) -> Value {
    let targets: Vec<Value> = (figure.targets.iter())
        .map(|target| json!({ "over": target.over.name(), "least": target.least, "met": target.met }))
        .collect();
    json!({
        "measure": figure.measure.key(),
        "way": figure.way.name(),
        "median": figure.median,
        "least": figure.least,
        "most": figure.most,
        "to_routing": figure.to_routing,
        "to_haproxy": figure.to_haproxy,
        "targets": targets,
    })
}

#[cfg(test)]
pub mod tests {
    use super::{
        super::{measure::Measure, summary::tests::samples, ways::Way},
        *,
    };

    pub fn report() -> Report {
        let machine = Machine {
            cpu: "a CPU".to_owned(),
            cpus: 2,
            kernel: "6.18".to_owned(),
        };
        Report::new(machine, E2eEffort::default(), &samples())
    }

    #[test]
    fn the_table_has_every_figure_of_every_way() {
        let table = report().table();
        for (measure, way) in Measure::ALL
            .iter()
            .flat_map(|measure| Way::ALL.map(|way| (measure, way)))
        {
            let cells = |line: &str| {
                let cells: Vec<String> =
                    line.split('|').map(|cell| cell.trim().to_owned()).collect();
                cells
            };
            let found = table
                .lines()
                .map(cells)
                .find(|cells| cells[1] == measure.name() && cells[2] == way.name());
            let cells = found.unwrap_or_else(|| panic!("{measure:?} of {way:?} is missing"));
            assert!(!cells[3].is_empty() && !cells[4].is_empty(), "{cells:?}");
            assert_eq!(cells[5].is_empty(), way == Way::Routing, "{cells:?}");
            assert_eq!(cells[6].is_empty(), way == Way::HaProxy, "{cells:?}");
        }
        assert!(table.contains("≥ 1.1 × plain routing: met; ≥ 1.4 × HAProxy: met"));
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    #[test]
    fn and_so_has_the_json() {
        let json = report().json();
        let figures = json["figures"].as_array().expect("a list");
        assert_eq!(figures.len(), Measure::ALL.len() * Way::ALL.len());
        assert!(figures.iter().all(|figure| figure["median"].is_number()));
    }
}
