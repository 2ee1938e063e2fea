//! Taking a lab away: after its test, at a signal, and when an earlier process left one behind.
//!
//! Everything that a lab leaves on the host carries its name, `divvy-lab-<pid>-<number>-<title>`:
//! a folder in the temporary folder, and namespaces with `-<role>` after it. So cleaning needs no
//! list, only names, and works for the labs of processes that are gone.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::namespace;

const PREFIX: &str = "divvy-lab-";

/// A lab's name and its folder on the host. Dropping it removes all that carries the name.
#[derive(Debug)]
pub(super) struct Trace {
    name: String,
    folder: PathBuf,
}

impl Trace {
    pub(super) fn begin(title: &str) -> Self {
        static LABS: AtomicU32 = AtomicU32::new(0);
        assert!(
            title
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "a lab's title is made of letters, digits and `_`, and {title:?} is not"
        );
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{title}", process::id());
        let folder = env::temp_dir().join(&name);
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        Self { name, folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Name of the namespace for `role`.
    pub(super) fn namespace(&self, role: &str) -> String {
        format!("{}-{role}", self.name)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        remove(&|name| name == self.name || name.starts_with(&format!("{}-", self.name)));
    }
}

/// Removes the labs of processes that no longer run.
pub(super) fn sweep_leftovers() {
    remove(&|name| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
}

/// From now on, SIGINT and SIGTERM remove this process's labs before they end it.
pub(super) fn at_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).expect("these two signals may be handled");
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Other threads still run and are about to lose their servers: their complaints
                // would hide that this end was asked for.
                std::panic::set_hook(Box::new(|_| {}));
                remove(&|name| owner(name) == Some(process::id()));
                process::exit(128 + signal);
            }
        });
    });
}

/// Process id of the lab that something of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Removes all labs whose names `ours` accepts: processes, namespaces, mounts, folders. Goes on
/// where something is gone already.
fn remove(ours: &dyn Fn(&str) -> bool) {
    let namespaces = named(Path::new(namespace::FOLDER), ours);
    let folders = named(&env::temp_dir(), ours);

    let inodes: Vec<u64> = namespaces
        .iter()
        .filter_map(|path| Some(fs::metadata(path).ok()?.ino()))
        .collect();
    end_processes_in(&inodes);
    for path in &namespaces {
        if let Some(name) = path.file_name() {
            let _ = Command::new("ip")
                .args(["netns", "delete"])
                .arg(name)
                .status();
        }
    }
    for folder in &folders {
        for mount in mounts_below(folder) {
            let _ = umount2(&mount, MntFlags::MNT_DETACH);
        }
        let _ = fs::remove_dir_all(folder);
    }
}

fn named(folder: &Path, ours: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX) && ours(name))
        })
        .map(|entry| entry.path())
        .collect()
}

/// Kills every process that runs in one of these network namespaces, except this one.
fn end_processes_in(namespaces: &[u64]) {
    let inhabitants = || {
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|&pid| pid != Pid::this().as_raw())
            .filter(|pid| {
                fs::metadata(format!("/proc/{pid}/ns/net"))
                    .is_ok_and(|handle| namespaces.contains(&handle.ino()))
            })
            .collect::<Vec<_>>()
    };
    // A killed process takes a moment to go, and a server's worker may be born meanwhile.
    for _ in 0..100 {
        let pids = inhabitants();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Mount points below a folder, the innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder))
        .collect();
    mounts.reverse();
    mounts
}
