//! `divvy`: daemon and command line in one binary.

use std::process::ExitCode;

use clap::Parser as _;
use lb_userspace::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}
