//! `divvy man`: the manual pages, made from what `--help` says.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man as Page;

use super::{Cli, Failure, print_bytes, print_text};

/// Of commands for the administrator (man(1)).
const SECTION: &str = "8";

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The verb whose page is printed; without one, the page of divvy itself.
    verb: Option<String>,
    /// Writes all pages there instead, as divvy.8, divvy-run.8 and so on.
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    to: Option<PathBuf>,
}

impl Man {
    pub(super) fn execute(&self) -> Result<(), Failure> {
        let mut pages = pages();
        if let Some(folder) = &self.to {
            for (name, page) in &pages {
                write(&folder.join(format!("{name}.{SECTION}")), page)?;
            }
            return print_text(&format!(
                "wrote {} pages to {}",
                pages.len(),
                folder.display()
            ));
        }
        let wanted = match &self.verb {
            Some(verb) => format!("divvy-{verb}"),
            None => "divvy".to_owned(),
        };
        let Some(at) = pages.iter().position(|(name, _)| *name == wanted) else {
            let verbs: Vec<&str> = (pages.iter())
                .filter_map(|(name, _)| name.strip_prefix("divvy-"))
                .collect();
            return Err(Failure::failed(format!(
                "there is no verb {}; there are {}",
                self.verb.as_deref().unwrap_or_default(),
                verbs.join(", ")
            )));
        };
        let (_, page) = pages.swap_remove(at);
        print_bytes(&render(page).map_err(Failure::failed)?)
    }
}

/// Each with its name, that of divvy first.
fn pages() -> Vec<(String, Command)> {
    let mut whole = Cli::command();
    // Global options belong to every verb from here on.
    whole.build();
    let verbs: Vec<(String, Command)> = (whole.get_subcommands())
        .filter(|verb| verb.get_name() != "help")
        .map(|verb| {
            let name = format!("divvy-{}", verb.get_name());
            let invoked = format!("divvy {}", verb.get_name());
            // The page's name is one word; what is typed is two.
            let page = verb.clone().display_name(&name).bin_name(invoked);
            (name, page)
        })
        .collect();
    std::iter::once(("divvy".to_owned(), whole))
        .chain(verbs)
        .collect()
}

fn render(page: Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Page::new(page)
        .section(SECTION)
        .manual("divvy")
        .source(concat!("divvy ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)?;
    Ok(text)
}

fn write(file: &Path, page: &Command) -> Result<(), Failure> {
    let written = render(page.clone()).and_then(|text| fs::write(file, text));
    written.map_err(|error| {
        Failure::failed(format!(
            "cannot write {}: {error}; name a folder that exists and may be written",
            file.display()
        ))
    })
}
