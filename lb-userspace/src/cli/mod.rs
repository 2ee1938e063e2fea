//! The command line: one file for each verb. Tables are for people, JSON for programs; errors are
//! one line each, on standard error.

mod capabilities;
mod check;
mod colour;
mod completions;
mod detach;
mod diff;
mod doctor;
mod explain;
mod flows;
mod init;
mod man;
mod overrides;
mod prepare;
mod reload;
mod run;
mod schema;
mod signals;
mod status;
mod table;
mod trace;
mod wait;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{api::client::ClientError, config};

/// A Layer-4 load balancer in XDP.
#[derive(Debug, Parser)]
#[command(
    name = "divvy",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 invalid configuration, \
                        4 daemon not reachable."
)]
pub struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Places {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "/etc/divvy/divvy.yaml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// Holds the API's socket and the pinned state; one for each network namespace.
    #[arg(long, global = true, default_value = "/run/divvy", value_name = "DIR")]
    run_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the daemon in the foreground.
    Run(run::Run),
    /// Writes a configuration for this host, to be edited.
    Init(init::Init),
    /// Validates a configuration file and prints every problem.
    Check(check::Check),
    /// Shows services and backends: state, why and since when, flows and traffic.
    Status(status::Status),
    /// Checks this host against the configuration: drivers, forwarding, MTU, routes, limits, clock.
    Doctor(doctor::Doctor),
    /// Lists tracked flows.
    Flows(flows::Flows),
    /// Shows what would become of a packet, and why.
    Explain(explain::Explain),
    /// Tells what becomes of a service's packets, as it happens.
    Trace(trace::Trace),
    /// Shows what a reload would change, and what that means for connections.
    Diff(diff::Diff),
    /// Applies the edited configuration file.
    Reload,
    /// Gives a backend no new flows; those it has go on until `drain_timeout`.
    Drain(overrides::Drain),
    /// Takes a backend out at once: no traffic and no probes; its flows get what `on_down` says.
    Disable(overrides::Place),
    /// Gives a backend another weight than the file's.
    Weight(overrides::Weight),
    /// Ends what drain, disable and weight decided over a backend.
    Enable(overrides::Place),
    /// Makes the run directory for a daemon that runs as a user of its own. Needs root.
    Prepare(prepare::Prepare),
    /// Takes the program off every interface and removes all pinned state.
    Detach,
    /// Prints the JSON Schema of the configuration file, by which editors complete and check it.
    Schema,
    /// Prints a script by which a shell completes the command line.
    Completions(completions::Completions),
    /// Prints a manual page.
    Man(man::Man),
}

/// How a verb that reads prints its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, Args)]
struct OutputArg {
    /// For people or for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A verb failed: its message, and the exit code that says how.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

const FAILED: u8 = 1;
const INVALID_CONFIG: u8 = 3;
const NOT_REACHABLE: u8 = 4;

impl Failure {
    fn failed(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: FAILED,
        }
    }

    /// What there is to say has been said.
    fn silent() -> Self {
        Self::failed("")
    }

    fn invalid_config(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: INVALID_CONFIG,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self {
            code: match &error {
                ClientError::Unreachable { .. } => NOT_REACHABLE,
                ClientError::InvalidConfig(_) => INVALID_CONFIG,
                _ => FAILED,
            },
            message: error.to_string(),
        }
    }
}

impl Cli {
    /// Carries out the verb and says how it ended.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(self.dispatch()),
            Err(error) => Err(Failure::failed(format!("cannot start a thread: {error}"))),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                for line in failure.message.lines() {
                    eprintln!("divvy: {line}");
                }
                ExitCode::from(failure.code)
            }
        }
    }

    async fn dispatch(self) -> Result<(), Failure> {
        let places = self.places;
        match self.verb {
            Verb::Run(verb) => verb.execute(places).await,
            Verb::Init(verb) => verb.execute(&places).await,
            Verb::Check(verb) => verb.execute(&places),
            Verb::Status(verb) => verb.execute(&places).await,
            Verb::Doctor(verb) => verb.execute(&places).await,
            Verb::Flows(verb) => verb.execute(&places).await,
            Verb::Explain(verb) => verb.execute(&places).await,
            Verb::Trace(verb) => verb.execute(&places).await,
            Verb::Diff(verb) => verb.execute(&places).await,
            Verb::Reload => reload::execute(&places).await,
            Verb::Drain(verb) => verb.execute(&places).await,
            Verb::Disable(place) => place.disable(&places).await,
            Verb::Weight(verb) => verb.execute(&places).await,
            Verb::Enable(place) => place.enable(&places).await,
            Verb::Prepare(verb) => verb.execute(&places),
            Verb::Detach => detach::execute(&places).await,
            Verb::Schema => schema::execute(),
            Verb::Completions(verb) => verb.execute(),
            Verb::Man(verb) => verb.execute(),
        }
    }
}

/// Says on standard error what `run` would refuse a file for.
fn warn_if_writable(file: &Path) {
    if let Err(error) = config::trusted_file(file) {
        eprintln!("divvy: warning: {error}; `run` and `reload` refuse it");
    }
}

/// Prints a value as JSON for programs.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print_text(&text)
}

/// Prints a text and a line end.
fn print_text(text: &str) -> Result<(), Failure> {
    print_bytes(format!("{text}\n").as_bytes())
}

/// Prints a text as it is. That the reader closed its end, as `head` does, is no failure.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}
