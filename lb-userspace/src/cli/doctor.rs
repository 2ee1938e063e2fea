//! `divvy doctor`: this host against the configuration.
//!
//! [`read`] looks at the host, [`checks`] judge what it found and know nothing else, and here it is told.

mod checks;
mod facts;
mod finding;
mod listeners;
mod read;
mod told;

use clap::Args;

use self::finding::Report;
use super::{Failure, Output, OutputArg, Places, print_json, print_text};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    output: OutputArg,
}

impl Doctor {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let facts = read::facts(places).await?;
        let report = Report::new(&facts, checks::judge(&facts));
        match self.output.output {
            Output::Json => print_json(&report)?,
            Output::Table => print_text(&told::render(&report))?,
        }
        match report.problems {
            0 => Ok(()),
            // All that there is to say stands in the list.
            _ => Err(Failure::silent()),
        }
    }
}
