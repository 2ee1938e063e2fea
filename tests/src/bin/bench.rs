//! Measurements of divvy. Needs root.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use lb_tests::bench::{self, Effort};

/// Measures divvy on this machine.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Nanoseconds that the XDP program takes for a packet.
    Packet {
        /// Rounds; medians are taken over them.
        #[arg(long, default_value_t = 7)]
        rounds: u32,
        /// Packets of each row in each round.
        #[arg(long, default_value_t = 1_000_000)]
        packets: u32,
        /// Only rows whose name contains this, and the baseline.
        #[arg(long, default_value = "")]
        only: String,
        /// Form of the report.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> Result<()> {
    let What::Packet {
        rounds,
        packets,
        only,
        output,
    } = Arguments::parse().what;
    let effort = Effort {
        only,
        rounds,
        packets,
    };
    let report = bench::packet(&effort, |what| eprintln!("{what}"))?;
    match output {
        Output::Table => print!("{report}"),
        Output::Json => println!("{:#}", report.json()),
    }
    Ok(())
}
