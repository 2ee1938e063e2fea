//! What only root can do for a daemon that runs as another user: the run directory, the bpffs in it, and
//! handing over what a daemon before it pinned there.
//!
//! The directory may be that user's already, who then must not be able to lead root elsewhere: everything is
//! reached from an open folder, no link is followed, and what lies in it is given away only in the bpffs.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    sys::{
        stat::{Mode, fstat, mkdirat},
        statfs::fstatfs,
    },
    unistd::{Gid, Uid, fchown, fchownat},
};

use super::{BPF_FS_MAGIC, at, mount_bpffs};
use crate::datapath::{Datapath, DatapathError};

const FOLDER: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Whom things are given to.
#[derive(Clone, Copy)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Datapath {
    /// Makes the run directory with its bpffs, where they are missing, and gives them and what is pinned to
    /// this user. What runs goes on undisturbed.
    ///
    /// # Errors
    /// When something cannot be made or given away.
    pub fn prepare(run_dir: &Path, uid: u32, gid: u32) -> Result<(), DatapathError> {
        let owner = Owner {
            uid: uid.into(),
            gid: gid.into(),
        };
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(run_dir);
        made.map_err(|source| DatapathError::CreateFolder {
            path: run_dir.to_owned(),
            source,
        })?;
        let failed = |errno: Errno| at(run_dir)(errno.into());
        let folder = open(run_dir, FOLDER, Mode::empty()).map_err(failed)?;
        owner.take(&folder).map_err(failed)?;
        owner.take_lock(&folder).map_err(failed)?;

        let root = run_dir.join("bpf");
        let failed = |errno: Errno| at(&root)(errno.into());
        match mkdirat(&folder, "bpf", Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let opened = || openat(&folder, "bpf", FOLDER, Mode::empty()).map_err(failed);
        let below = opened()?;
        if !is_bpffs(&below) {
            // By this name the kernel finds the open folder, whatever its path leads to by now.
            mount_bpffs(&by_descriptor(&below), &root)?;
        }
        let bpffs = opened()?;
        if !is_bpffs(&bpffs) {
            return Err(failed(Errno::ENOTDIR));
        }
        // The mount option of that name is younger than Linux 6.1.
        owner.take_all(&bpffs).map_err(at(&root))
    }
}

impl Owner {
    fn take(self, file: &OwnedFd) -> nix::Result<()> {
        fchown(file, Some(self.uid), Some(self.gid))
    }

    /// The lock of a daemon that ran as root could not be opened. One with a second name elsewhere is left.
    fn take_lock(self, folder: &OwnedFd) -> nix::Result<()> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(folder, "lock", flags, Mode::empty()) {
            Ok(lock) if fstat(&lock)?.st_nlink == 1 => self.take(&lock),
            Ok(_) | Err(Errno::ENOENT | Errno::ELOOP) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// A folder of the bpffs and all that is in it.
    fn take_all(self, folder: &OwnedFd) -> io::Result<()> {
        self.take(folder)?;
        for entry in fs::read_dir(by_descriptor(folder))? {
            let name = entry?.file_name();
            let inner = openat(folder, name.as_os_str(), FOLDER, Mode::empty());
            match inner {
                Ok(inner) => self.take_all(&inner)?,
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    let (uid, gid) = (Some(self.uid), Some(self.gid));
                    let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
                    match fchownat(folder, name.as_os_str(), uid, gid, flags) {
                        // Files come and go.
                        Ok(()) | Err(Errno::ENOENT) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

fn is_bpffs(folder: &OwnedFd) -> bool {
    fstatfs(folder).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

fn by_descriptor(folder: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    /// Root is led nowhere by what the user put into the folder. Needs root.
    #[test]
    fn links_lead_nowhere() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (run, other) = (folder.path().join("run"), folder.path().join("other"));
        fs::create_dir_all(&run).expect("made");
        fs::create_dir_all(&other).expect("made");
        fs::write(other.join("file"), "").expect("written");
        symlink(&other, run.join("bpf")).expect("linked");
        symlink(other.join("file"), run.join("lock")).expect("linked");
        let error = Datapath::prepare(&run, 61_234, 61_234).expect_err("a link in the way");
        assert!(error.to_string().contains("/run/bpf"), "{error}");
        fs::remove_file(run.join("lock")).expect("removed");
        fs::hard_link(other.join("file"), run.join("lock")).expect("linked");
        assert!(Datapath::prepare(&run, 61_234, 61_234).is_err());
        for path in [other.clone(), other.join("file")] {
            assert_eq!(
                fs::metadata(&path).expect("there").uid(),
                0,
                "{}",
                path.display()
            );
        }
        assert_eq!(fs::metadata(&run).expect("there").uid(), 61_234);
        let mounts = fs::read_to_string("/proc/self/mounts").expect("proc is mounted");
        assert!(
            !mounts.contains(&*folder.path().to_string_lossy()),
            "{mounts}"
        );
    }
}
