//! The file in which overrides outlast the daemon and the host: JSON, replaced as a whole, so that it
//! holds either all that was decided or all that was decided before. One for each run directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{MAX_WEIGHT, Writable, trusted},
    tables::identity,
};

/// Of the format.
const VERSION: u32 = 1;
/// More than all backends that the tables have room for would take.
const MAX_BYTES: u64 = 16 << 20;

/// Where the overrides of one run directory are kept.
#[derive(Clone, Debug)]
pub(in crate::control) struct StateFile {
    path: PathBuf,
    run_dir: PathBuf,
}

/// All that is decided over one backend, by the names it had then. It is known again by service,
/// protocol and address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct Record {
    pub(super) service: String,
    pub(super) backend: String,
    pub(super) protocol: String,
    /// Port 0: packets keep the one that the client asked for.
    pub(super) address: SocketAddr,
    /// `drain` or `maint`.
    pub(super) state: Option<Decided<String>>,
    pub(super) weight: Option<Decided<u16>>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decided<T> {
    pub(super) to: T,
    /// RFC 3339, to the millisecond.
    #[serde(with = "since")]
    pub(super) since: SystemTime,
    /// The user who decided it, where that is known.
    pub(super) uid: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    /// For people: the name of the file tells it too.
    run_dir: PathBuf,
    overrides: Vec<Record>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no state of this version: {why}", path.display())]
    Broken { path: PathBuf, why: String },
    #[error(transparent)]
    Writable(#[from] Writable),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl StateFile {
    /// That of a run directory. Touches nothing.
    pub(in crate::control) fn new(state_dir: &Path, run_dir: &Path) -> Self {
        // One directory by another name is the same instance.
        let run_dir = fs::canonicalize(run_dir).unwrap_or_else(|_| run_dir.to_owned());
        Self {
            path: state_dir.join(file_name(&run_dir)),
            run_dir,
        }
    }

    pub(in crate::control) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds; `None` where there is none.
    ///
    /// # Errors
    /// [`StateError::Broken`] when it is not what [`Self::write`] writes, [`StateError::Writable`] when
    /// others may have written it.
    pub(super) fn read(&self) -> Result<Option<Vec<Record>>, StateError> {
        let path = self.path.clone();
        let failed = |source| StateError::Read {
            path: path.clone(),
            source,
        };
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let metadata = file.metadata().map_err(failed)?;
        trusted(&self.path, &metadata)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        parse(&bytes)
            .map(Some)
            .map_err(|why| StateError::Broken { path, why })
    }

    /// Replaces the file. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; the file is as before then.
    pub(super) fn write(&self, records: Vec<Record>) -> Result<(), StateError> {
        self.replace(records).map_err(|source| StateError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, records: Vec<Record>) -> io::Result<()> {
        let document = Document {
            version: VERSION,
            run_dir: self.run_dir.clone(),
            overrides: records,
        };
        let mut text = serde_json::to_vec_pretty(&document)?;
        text.push(b'\n');
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder)?;
        // One daemon at a time holds the run directory, and so this name.
        let next = self.path.with_extension("json.new");
        let written = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(&next)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&next, &self.path))
            .and_then(|()| File::open(folder)?.sync_all());
        if written.is_err() {
            // A half-written file is nobody's state.
            let _ = fs::remove_file(&next);
        }
        written
    }

    /// Moves a file that cannot be used out of the way, where nothing overwrites it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let aside = self.path.with_extension(format!("json.broken-{now}"));
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

/// `overrides-run-divvy.json` of `/run/divvy`: each run directory has a name of its own.
fn file_name(run_dir: &Path) -> String {
    let path = run_dir.display().to_string();
    let mut name = String::new();
    for byte in path.trim_matches('/').bytes() {
        match byte {
            b'/' => name.push('-'),
            b'.' | b'_' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    // File systems take 255 bytes; what comes with the name needs some of them.
    if name.len() > 180 {
        let identity = identity::text(&path);
        name = format!("{}%{identity:016x}", &name[name.len() - 160..]);
    }
    format!("overrides-{name}.json")
}

fn parse(bytes: &[u8]) -> Result<Vec<Record>, String> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    }
    let words = |error: serde_json::Error| error.to_string();
    let Versioned { version } = serde_json::from_slice(bytes).map_err(words)?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, and this divvy knows {VERSION}"
        ));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(words)?;
    for record in &document.overrides {
        let of = format!("{}/{}", record.service, record.backend);
        if let Some(state) = &record.state
            && !matches!(state.to.as_str(), "drain" | "maint")
        {
            return Err(format!("{of}: `{}` is no state to be held in", state.to));
        }
        if let Some(weight) = &record.weight
            && weight.to > MAX_WEIGHT
        {
            return Err(format!("{of}: weight {} is over {MAX_WEIGHT}", weight.to));
        }
    }
    Ok(document.overrides)
}

/// A time as text.
mod since {
    use std::time::SystemTime;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text)
            .map_err(|error| D::Error::custom(format!("{text}: {error}")))
    }
}

#[cfg(test)]
mod tests;
