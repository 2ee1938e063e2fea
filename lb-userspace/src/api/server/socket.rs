//! The socket: who may connect is decided by its mode and group.

use std::{
    fs, io,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::Group,
};
use tokio::net::UnixListener;

use crate::api::SOCKET;

/// The socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("a daemon already answers on {}; stop it first, or choose another --run-dir", path.display())]
    InUse { path: PathBuf },
    #[error("cannot listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
    #[error(
        "--socket-group {name}: there is no such group; make it with `groupadd --system {name}`, or \
         name one that exists"
    )]
    NoGroup { name: String },
    #[error(
        "cannot give {} to the group {group}: {source}; the daemon's user must be a member of it \
         (SupplementaryGroups={group} in the unit)", path.display()
    )]
    Group {
        path: PathBuf,
        group: String,
        source: io::Error,
    },
}

/// Opens the socket in the run directory, in place of one that nobody answers on. Its mode is 0660: the
/// daemon's user and `group` may connect, or the user's own group without one.
///
/// # Errors
/// When another daemon answers there, or the socket cannot be made or given to the group.
pub fn listen(run_dir: &Path, group: Option<&str>) -> Result<UnixListener, ServerError> {
    let path = run_dir.join(SOCKET);
    if StdUnixStream::connect(&path).is_ok() {
        return Err(ServerError::InUse { path });
    }
    let group = group.map(known_group).transpose()?;
    let failed = |source| ServerError::Listen {
        path: path.clone(),
        source,
    };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Nobody is to connect in the moment before mode and group are set.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(&path);
    umask(before);
    let listener = bound.map_err(failed)?;
    let opened = match &group {
        Some(group) => {
            chown(&path, None, Some(group.gid.as_raw())).map_err(|source| ServerError::Group {
                path: path.clone(),
                group: group.name.clone(),
                source,
            })
        }
        None => Ok(()),
    }
    .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).map_err(failed));
    if let Err(error) = opened {
        // Nobody is to wait on a socket that nobody answers.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(listener)
}

/// By name or number.
fn known_group(name: &str) -> Result<Group, ServerError> {
    let missing = || ServerError::NoGroup {
        name: name.to_owned(),
    };
    if let Ok(gid) = name.parse::<u32>() {
        return Ok(Group {
            name: name.to_owned(),
            passwd: std::ffi::CString::default(),
            gid: gid.into(),
            mem: Vec::new(),
        });
    }
    Group::from_name(name).ok().flatten().ok_or_else(missing)
}
