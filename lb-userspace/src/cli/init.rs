//! `divvy init`: writes a configuration for this host, to be edited.

mod choose;
mod page;

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Failure, Places, print_bytes, print_text};
use crate::net::survey::{Survey, survey};

/// The file of the package, by which nothing is balanced: as long as it is what was delivered, nobody's work is
/// lost with it.
const DELIVERED: &str = include_str!("../../../packaging/divvy.yaml");

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The file to write; the one of --config if omitted, and `-` for standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replaces a file that is there. The package's own, as long as nobody edited it, is replaced without.
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let file = self.output.as_ref().unwrap_or(&places.config);
        let to_stdout = file.as_os_str() == "-";
        // Before the network is asked, which takes some seconds.
        let replaces = self.force || is_delivered(file);
        if !to_stdout && !replaces && file.symlink_metadata().is_ok() {
            return Err(there_already(file));
        }
        let survey = look().await?;
        let page = page::page(&choose::choice(&survey));
        if to_stdout {
            return print_bytes(page.as_bytes());
        }
        write(file, &page, replaces).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => there_already(file),
            io::ErrorKind::PermissionDenied => Failure::failed(format!(
                "cannot write {}: {error}; run as root, or name a file with --output",
                file.display()
            )),
            _ => Failure::failed(format!(
                "cannot write {}: {error}; name another file with --output",
                file.display()
            )),
        })?;
        let config = match file == &places.config {
            true => String::new(),
            false => format!(" --config {}", file.display()),
        };
        print_text(&format!(
            "wrote {}: edit the lines marked EDIT, then `divvy check{config}` and `divvy doctor{config}`",
            file.display()
        ))
    }
}

/// What is no common file, such as a terminal, is not read.
fn is_delivered(file: &Path) -> bool {
    file.metadata().is_ok_and(|there| there.is_file())
        && fs::read(file).is_ok_and(|text| text == DELIVERED.as_bytes())
}

fn there_already(file: &Path) -> Failure {
    Failure::failed(format!(
        "{} is there already; write elsewhere with --output FILE, or replace it with --force",
        file.display()
    ))
}

/// The network, with what neighbours say of addresses that might be free.
async fn look() -> Result<Survey, Failure> {
    let survey =
        |towards: Vec<IpAddr>| async move { survey(&towards).await.map_err(Failure::failed) };
    let first = survey(Vec::new()).await?;
    let free: Vec<Ipv4Addr> = choose::perhaps_free(&first);
    if free.is_empty() {
        return Ok(first);
    }
    survey(free.into_iter().map(IpAddr::V4).collect()).await
}

/// `run` refuses a file that others may write.
fn write(file: &Path, page: &str, replaces: bool) -> io::Result<()> {
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o644);
    if replaces {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(file)?.write_all(page.as_bytes())
}
