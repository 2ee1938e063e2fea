//! `divvy completions`: a script by which a shell completes the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure, print_bytes};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell that reads it.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "divvy", &mut script);
        print_bytes(&script)
    }
}
