//! The configuration file, from YAML to types that cannot be invalid.
//!
//! [`load`] reads a file, [`parse`] a text. Either gives a [`Config`] in which every rule of the
//! format holds, or a [`ConfigError`] with all of the file's problems at once, each with its line
//! and the path of its key. Whether the host can do what the file asks (interfaces that exist,
//! addresses it has) is for others to find out: nothing here touches the network. Files that it
//! names are read with it, so that what they hold is in force, or refused, together with it.
//!
//! The way of a file: `shape` refuses what is too large to read, `node` makes a tree of it, `raw`
//! walks the tree key by key with the tools of `field` and `section`, `units` and `address` read
//! single values, `files` what is in other files, `lines` says where the problems stand.

#![forbid(unsafe_code)]

mod address;
mod check;
mod field;
mod files;
mod lines;
mod node;
mod parsed;
mod path;
mod problem;
mod raw;
mod section;
mod shape;
mod sources;
mod told;
mod trust;
mod units;
mod vip;

#[cfg(test)]
mod tests;

use std::{fs::Metadata, io::Read as _, path::Path};

pub use check::{ClientCertificate, Damping, HealthCheck, HttpProbe, Probe, Tls, UdpProbe};
pub use parsed::{
    Affinity, Announce, Backend, Config, GueVariant, Limits, MAX_WEIGHT, Mode, OnDown, OnExit,
    Prefix, Protocol, Scheduler, Service, Snat, Timeouts, Tunnel, XdpMode,
};
pub use problem::{ConfigError, Problem};
pub use shape::MAX_FILE_BYTES;
pub use sources::{Access, Rules, Sources};
pub use trust::{Writable, trusted, trusted_file};
pub use vip::{PortPrefix, PortRange, Vip, backend_text};

/// What editors check the file by: a JSON Schema (2020-12). [`parse`] knows more rules than it can tell.
pub const SCHEMA: &str = include_str!("schema.json");

/// Reads and checks a file that is to be in force. Nothing else is touched.
///
/// # Errors
///
/// As [`parse`] and [`read`], and [`ConfigError::Writable`] for a file that others may write.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let (text, metadata) = read_with_metadata(path)?;
    trusted(path, &metadata)?;
    parse(&text, &path.display().to_string())
}

/// Reads a file's text and checks nothing but that it is one.
///
/// # Errors
///
/// [`ConfigError::Read`], [`ConfigError::TooLarge`] and [`ConfigError::NotUtf8`].
pub fn read(path: &Path) -> Result<String, ConfigError> {
    read_with_metadata(path).map(|(text, _)| text)
}

/// A file's text, and what the file was that it was read from.
fn read_with_metadata(path: &Path) -> Result<(String, Metadata), ConfigError> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let metadata = files::open(path)
        .and_then(|file| {
            let metadata = file.metadata()?;
            // One byte more than allowed tells a file that is too large from one that just fits.
            (file.take(MAX_FILE_BYTES as u64 + 1)).read_to_end(&mut bytes)?;
            Ok(metadata)
        })
        .map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { file: name });
    }
    let text = String::from_utf8(bytes).map_err(|error| ConfigError::not_utf8(&name, &error))?;
    Ok((text, metadata))
}

/// Checks a configuration. `file_name` only appears in errors.
///
/// # Errors
///
/// [`ConfigError::Invalid`] holds every problem there is. The other variants stand for a text that
/// is no YAML document, or not one of a sensible size.
pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigError> {
    shape::check(text, file_name)?;
    let document = node::read(text, file_name)?;
    let report = field::Report::default();
    let config = raw::config(&document, &report);
    if report.is_empty() {
        return Ok(config.expect("a value is missing only where a problem was reported"));
    }
    let (problems, more) = report.into_problems(text);
    Err(ConfigError::Invalid {
        file: file_name.to_owned(),
        problems,
        more,
    })
}
