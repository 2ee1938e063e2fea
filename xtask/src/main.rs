//! `cargo xtask …`: sets a bare host up, then builds, tests or demonstrates divvy.
//!
//! This crate depends on nothing that needs what it installs: tests, demo and the like are
//! programs of their own, which it builds and runs.

#![forbid(unsafe_code)]

mod cargo;
mod demo;
mod setup;
mod test;

use anyhow::Result;
use clap::Parser;

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
    },
    /// Show real clients being balanced over real servers, with figures. Needs root.
    Demo,
}

fn main() -> Result<()> {
    match Verb::parse() {
        Verb::Build { release } => {
            setup::ensure(Need::Build)?;
            let profile: &[&str] = if release { &["--release"] } else { &[] };
            cargo::run(&[&["build", "--locked"], profile].concat())
        }
        Verb::Test { filter } => test::run(filter.as_deref()),
        Verb::Demo => demo::run(),
    }
}
