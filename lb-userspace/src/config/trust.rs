//! Whether somebody who may not say where traffic goes could write it into a file.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, getegid};

use super::path::one_line;

/// A file that others than root and this process's user may write.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: is writable by {} (mode {:04o}), who could send the traffic anywhere; `chmod {} {}`",
    one_line(&self.path.display().to_string()),
    match self.group { Some(gid) => format!("group {gid}"), None => "everyone".to_owned() },
    self.mode,
    match self.group { Some(_) => "g-w", None => "go-w" },
    one_line(&self.path.display().to_string()),
)]
pub struct Writable {
    path: PathBuf,
    mode: u32,
    /// The group that may write it; `None` for everyone.
    group: Option<u32>,
}

const GROUP_WRITES: u32 = 0o020;
const EVERYONE_WRITES: u32 = 0o002;

/// Refuses a file that everyone may write, or a group that is neither root's nor this process's own.
/// Devices and pipes are nobody's to keep.
///
/// # Errors
/// [`Writable`] names who may write it, and the remedy.
pub fn trusted(path: &Path, metadata: &Metadata) -> Result<(), Writable> {
    if !metadata.is_file() {
        return Ok(());
    }
    let mode = metadata.mode() & 0o7777;
    let gid = Gid::from_raw(metadata.gid());
    let group = if mode & EVERYONE_WRITES != 0 {
        None
    } else if mode & GROUP_WRITES != 0 && gid != Gid::from_raw(0) && gid != getegid() {
        Some(gid.as_raw())
    } else {
        return Ok(());
    };
    Err(Writable {
        path: path.to_owned(),
        mode,
        group,
    })
}

/// The same of a file by its name; one that cannot be looked at is told of when it is read.
///
/// # Errors
/// As [`trusted`].
pub fn trusted_file(path: &Path) -> Result<(), Writable> {
    let metadata: io::Result<Metadata> = std::fs::metadata(path);
    metadata.map_or(Ok(()), |metadata| trusted(path, &metadata))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("divvy.yaml");
        fs::write(&path, "").expect("written");
        for (mode, refused) in [
            (0o600, None),
            (0o644, None),
            // The group is this process's own.
            (0o664, None),
            (0o666, Some("everyone (mode 0666)")),
            (0o602, Some("everyone (mode 0602)")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let said = trusted_file(&path).err().map(|error| error.to_string());
            assert_eq!(said.is_some(), refused.is_some(), "{mode:o}");
            if let (Some(said), Some(words)) = (said, refused) {
                assert!(
                    said.contains(words) && said.contains("`chmod go-w /"),
                    "{said}"
                );
            }
        }
        assert!(trusted_file(Path::new("/dev/null")).is_ok());
        assert!(trusted_file(Path::new("/nowhere")).is_ok());
    }

    #[test]
    fn a_group_is_trusted_if_it_is_roots() {
        // Any file of another group will do: only root can give one away.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("divvy.yaml");
        fs::write(&path, "").expect("written");
        std::os::unix::fs::chown(&path, None, Some(61_234)).expect("given away");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("set");
        let said = trusted_file(&path).expect_err("another group").to_string();
        assert!(
            said.contains("group 61234 (mode 0664)") && said.contains("`chmod g-w /"),
            "{said}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(trusted_file(&path).is_ok());
    }
}
