//! Measurements of divvy. Needs root.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use lb_common::{RING_SLOTS, hash};
use lb_tests::bench::{self, Effort, HealthEffort};
use lb_userspace::tables::maglev::{self, Member};

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
    /// What it costs to watch many backends, on one core.
    Health {
        /// Backends, each with an address of the loopback of its own.
        #[arg(long, default_value_t = 10_000)]
        backends: u32,
        /// Seconds from one probe of a backend to the next.
        #[arg(long, default_value_t = 2)]
        interval: u64,
        /// Seconds to measure.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// Milliseconds that filling a service's Maglev ring takes.
    Ring {
        /// Backends of the service, of weights 1 to 10.
        #[arg(long, default_value_t = 1_000)]
        backends: u32,
        /// Rings to fill; the median is printed.
        #[arg(long, default_value_t = 21)]
        rounds: usize,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Packet {
            rounds,
            packets,
            only,
            output,
        } => {
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
        }
        What::Health {
            backends,
            interval,
            seconds,
        } => {
            let effort = HealthEffort {
                backends,
                interval: Duration::from_secs(interval),
                measured: Duration::from_secs(seconds),
            };
            println!("{}", bench::health(effort)?);
        }
        What::Ring { backends, rounds } => println!(
            "a ring of {RING_SLOTS} slots for {backends} backends: {:.1} ms (median of {rounds})",
            ring(backends, rounds).as_secs_f64() * 1e3
        ),
    }
    Ok(())
}

/// Median time of filling a ring.
fn ring(backends: u32, rounds: usize) -> Duration {
    let members: Vec<Member> = (0..backends)
        .map(|backend_idx| Member {
            backend_idx,
            identity: hash::mix(u64::from(backend_idx) + 1),
            weight: backend_idx % 10 + 1,
        })
        .collect();
    let mut times: Vec<Duration> = (0..rounds.max(1))
        .map(|_| {
            let begun = Instant::now();
            std::hint::black_box(maglev::build(&members, RING_SLOTS));
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
