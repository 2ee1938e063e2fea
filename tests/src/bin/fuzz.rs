//! Fuzzes the XDP program. Needs root.

use std::process::ExitCode;

use clap::Parser;
use lb_tests::fuzz::{Effort, run};

/// Sends packets of all kinds through the XDP program and judges what becomes of them.
#[derive(Parser)]
#[command(name = "fuzz")]
struct Arguments {
    /// The same seed makes the same packets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of the first packet; what is sent begins some thousand packets before it.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many, rounded up to whole parts of a run.
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
}

fn main() -> ExitCode {
    let Arguments {
        seed,
        first,
        packets,
    } = Arguments::parse();
    let effort = Effort {
        seed,
        first,
        packets,
    };
    match run(&effort, |what| eprintln!("{what}")) {
        Ok(report) => {
            print!("{report}");
            let missing = report.missing();
            for what in &missing {
                println!("not reached: {what}");
            }
            if missing.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(finding) => {
            print!("{finding}");
            ExitCode::FAILURE
        }
    }
}
