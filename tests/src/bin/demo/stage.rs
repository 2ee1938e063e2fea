//! How the demo looks: headings, figures, claims.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

/// Widest bar of a chart.
const BAR: usize = 40;

/// Prints, and remembers whether every claim held.
#[derive(Default)]
pub(crate) struct Stage {
    steps: usize,
    held: usize,
    broken: Vec<String>,
}

impl Stage {
    /// Begins a step.
    pub(crate) fn heading(&mut self, text: &str) {
        self.steps += 1;
        println!("\n{}. {text}", self.steps);
    }

    /// A line at the margin.
    pub(crate) fn line(&self, text: &str) {
        println!("{text}");
    }

    /// What is done in this step.
    pub(crate) fn done(&self, text: &str) {
        println!("   {text}");
    }

    /// One measured figure.
    pub(crate) fn figure(&self, name: &str, value: &str) {
        println!("     {name:<44} {value:>10}");
    }

    /// How many requests each backend answered.
    pub(crate) fn chart(&self, counts: &BTreeMap<String, usize>) {
        let most = counts.values().copied().max().unwrap_or(0).max(1);
        for (name, &count) in counts {
            let bar = "█".repeat(count * BAR / most);
            println!("     {name:<8} {count:>6}  {bar}");
        }
    }

    /// Text of a file or of a program, framed.
    pub(crate) fn text(&self, title: &str, text: &str) {
        println!("\n   {title}");
        for line in text.lines() {
            println!("   │ {line}");
        }
    }

    /// What must be true.
    pub(crate) fn claim(&mut self, holds: bool, text: &str) {
        println!("   {} {text}", if holds { '✓' } else { '✗' });
        if holds {
            self.held += 1;
        } else {
            self.broken.push(format!("step {}: {text}", self.steps));
        }
    }

    /// Whether all claims held, for people and as exit code.
    pub(crate) fn verdict(&self, took: Duration) -> ExitCode {
        let seconds = took.as_secs_f64();
        if self.broken.is_empty() {
            println!("\nAll {} claims held, in {seconds:.0} s.", self.held);
            return ExitCode::SUCCESS;
        }
        let all = self.held + self.broken.len();
        println!("\n{} of {all} claims did not hold:", self.broken.len());
        for text in &self.broken {
            println!("  ✗ {text}");
        }
        ExitCode::FAILURE
    }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
