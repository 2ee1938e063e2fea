//! `cargo xtask …`: sets a bare host up, then builds, tests or demonstrates divvy.
//!
//! This crate depends on nothing that needs what it installs: tests, demo and the like are
//! programs of their own, which it builds and runs.

#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod demo;
mod dist;
mod docs;
mod fuzz;
mod kernel;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use kernel::Kernel;
use setup::Need;

/// Set the host up (installs what is missing, and says what and why), then do one thing.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Verb {
    /// Build the binary `divvy`.
    Build {
        /// Optimised, into target/release.
        #[arg(long)]
        release: bool,
    },
    /// Check formatting and lints, then run all tests. Needs root.
    Test {
        /// Run only tests whose name holds this.
        filter: Option<String>,
        /// Not here, but in Debian's kernel of this version, in an emulated machine, the tests that an older
        /// kernel must pass. Takes some minutes, and needs root only to install what is missing.
        #[arg(long, value_name = "VERSION")]
        kernel: Option<Kernel>,
        /// CPUs of that machine.
        #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "kernel",
              value_parser = clap::value_parser!(u8).range(1..=8))]
        cpus: u8,
    },
    /// Show real clients being balanced over real servers, with figures. Needs root.
    Demo,
    /// Write the pages anew that are made from the code, such as docs/config.md.
    Docs,
    /// Build a Debian package and a tarball into target/dist.
    Dist(dist::Dist),
    /// Measure: `bench packet` prints nanoseconds a packet, `bench e2e` what clients get beside nftables, HAProxy and
    /// nginx, `bench ring` the time to fill a ring, `bench health` what 10,000 backends' health checks cost.
    /// Needs root.
    Bench {
        /// Handed on to the program that measures, such as `packet --rounds 3`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Send packets of all kinds through the XDP program and judge what becomes of them. Needs root.
    Fuzz {
        /// Handed on to the program that fuzzes, such as `--seed 7 --packets 10000000`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Verb::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Build { release } => {
            setup::ensure(Need::Build)?;
            let profile: &[&str] = if release { &["--release"] } else { &[] };
            cargo::run(&[&["build", "--locked"], profile].concat())
        }
        Verb::Test {
            filter,
            kernel: Some(kernel),
            cpus,
        } => kernel::test(kernel, cpus, filter.as_deref()),
        Verb::Test { filter, .. } => test::run(filter.as_deref()),
        Verb::Demo => demo::run(),
        Verb::Docs => docs::run(),
        Verb::Dist(arguments) => dist::run(&arguments),
        Verb::Bench { words } => bench::run(&words),
        Verb::Fuzz { words } => fuzz::run(&words),
    }
}
