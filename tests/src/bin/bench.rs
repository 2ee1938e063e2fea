//! Measurements of divvy. Needs root.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use lb_common::{RING_SLOTS, hash};
use lb_tests::{
    bench::{self, Effort, HealthEffort},
    e2e::{self, E2eEffort, Pages, Way},
};
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
        /// Only the baseline and rows whose name contains this, or, after a `=`, is this; may be repeated.
        #[arg(long)]
        only: Vec<String>,
        /// Form of the report.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// What clients get, end to end: plain routing, nftables, HAProxy, nginx and divvy take turns.
    E2e(EndToEnd),
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

#[derive(clap::Args)]
struct EndToEnd {
    /// Rounds, in each of which every way is measured once; medians are taken over them.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each of the four measurements of a way in a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Connections of all clients, under full load.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Servers, an nginx with one worker each.
    #[arg(long, default_value_t = 2)]
    backends: usize,
    /// Requests a second at which latency is measured.
    #[arg(long, default_value_t = 4_000)]
    rate: u32,
    /// Only these, without ratios to those that are left out.
    #[arg(long, value_delimiter = ',', default_values_t = Way::ALL, value_enum)]
    ways: Vec<Way>,
    /// Writes table and chart into docs/performance.md and docs/performance-e2e.svg as well.
    #[arg(long, conflicts_with = "ways")]
    write_docs: bool,
    /// Form of the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
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
        What::E2e(arguments) => end_to_end(&arguments)?,
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

fn end_to_end(arguments: &EndToEnd) -> Result<()> {
    let missing = e2e::missing();
    ensure!(
        missing.is_empty(),
        "missing: {}; run `cargo xtask bench e2e`, which unpacks them",
        missing.join(", ")
    );
    let effort = E2eEffort {
        rounds: arguments.rounds,
        length: Duration::from_secs(arguments.seconds),
        connections: arguments.connections,
        backends: arguments.backends,
        rate: arguments.rate,
        ways: arguments.ways.clone(),
    };
    let report = e2e::e2e(&effort, |what| eprintln!("{what}"))?;
    match arguments.output {
        Output::Table => print!("{report}"),
        Output::Json => println!("{:#}", report.json()),
    }
    if arguments.write_docs {
        let pages = Pages::of_the_repository();
        e2e::write_docs(&report, &pages, &today()?)?;
        eprintln!(
            "written into {} and {}",
            pages.page.display(),
            pages.chart.display()
        );
    }
    Ok(())
}

/// As ISO 8601 has it, in UTC.
fn today() -> Result<String> {
    let date = Command::new("date").args(["--utc", "+%F"]).output()?;
    Ok(String::from_utf8(date.stdout)?.trim().to_owned())
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
