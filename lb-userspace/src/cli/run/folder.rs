//! The run directory: made where there is none, held by one daemon at a time, and taken back when
//! the start fails.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::cli::Failure;

/// A run directory that this process holds.
pub(super) struct RunDir {
    /// Folders and files that were not there before, in the order in which they were made.
    made: Vec<PathBuf>,
    _lock: Flock<fs::File>,
}

impl RunDir {
    /// Makes the directory and holds it.
    ///
    /// # Errors
    /// When it cannot be made, or another daemon holds it; nothing is left then.
    pub(super) fn claim(path: &Path) -> Result<Self, Failure> {
        let lock = path.join("lock");
        let mut made: Vec<PathBuf> = (lock.ancestors())
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_owned)
            .collect();
        made.reverse();
        match make(path).and_then(|()| hold(path, &lock)) {
            Ok(lock) => Ok(Self { made, _lock: lock }),
            Err(failure) => {
                remove(&made);
                Err(failure)
            }
        }
    }

    /// Removes what was not there before.
    pub(super) fn give_back(self) {
        remove(&self.made);
    }
}

fn remove(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // What others put there since is theirs, and then the folders are needed.
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
    }
}

fn make(path: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| {
            // What the kernel says of a file in the way is only that it exists.
            let reason = match error.kind() {
                io::ErrorKind::AlreadyExists => "it is a file".to_owned(),
                _ => error.to_string(),
            };
            Failure::failed(format!(
                "cannot create the run directory {}: {reason}; choose another --run-dir",
                path.display()
            ))
        })
}

fn hold(folder: &Path, path: &Path) -> Result<Flock<fs::File>, Failure> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            Failure::failed(format!(
                "cannot open {}: {error}; run as root, or choose another --run-dir",
                path.display()
            ))
        })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        Failure::failed(match errno {
            nix::Error::EWOULDBLOCK => format!(
                "another divvy runs on {}; stop it first, or choose another --run-dir",
                folder.display()
            ),
            other => format!(
                "cannot lock {}: {}; choose a --run-dir on another file system",
                path.display(),
                io::Error::from(other)
            ),
        })
    })
}
