//! `divvy check`: validates a file without touching the host.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Places, print_text, warn_if_writable};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file to check; the one of --config if omitted.
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn execute(self, places: &Places) -> Result<(), Failure> {
        let file = self.file.as_ref().unwrap_or(&places.config);
        let config = (config::read(file))
            .and_then(|text| config::parse(&text, &file.display().to_string()))
            .map_err(Failure::invalid_config)?;
        warn_if_writable(file);
        let vips: usize = (config.services.iter())
            .map(|service| service.listen.len())
            .sum();
        let backends: usize = (config.services.iter())
            .map(|service| service.backends.len())
            .sum();
        print_text(&format!(
            "{}: valid: {}, {}, {}",
            file.display(),
            count(config.services.len(), "service"),
            count(vips, "vip"),
            count(backends, "backend"),
        ))
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
