//! What can go wrong between the daemon and the kernel, each with what to do about it.

mod needs;

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};

/// An operation on the datapath failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    #[error("cannot create {}: {source}; choose another --run-dir or run as root", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },
    #[error(
        "cannot mount a bpffs at {}: {source}; it takes CAP_SYS_ADMIN: run as root on the host \
         itself, or let root run `divvy prepare` before (or mount -t bpf bpf {0})", path.display()
    )]
    MountBpffs { path: PathBuf, source: io::Error },
    #[error(
        "the kernel does not permit eBPF, though this process has CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON; a container, its seccomp profile or a security module forbids it: allow \
         bpf(2) there, or run on the host itself"
    )]
    NotPermitted,
    #[error(
        "this kernel does not have {what}; divvy needs Linux 6.1 or newer with \
         CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT, this is {kernel}"
    )]
    KernelLacks { what: String, kernel: String },
    #[error("cannot make {what}: {reason}; the kernel's log (dmesg) may say more")]
    Refused { what: String, reason: String },
    #[error(
        "the kernel refused the XDP program: {reason}; divvy needs Linux 6.1 or newer with \
         CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT, this is {kernel}"
    )]
    Load { reason: String, kernel: String },
    #[error(
        "pinned map {} is not of this layout ({what}); it was not made by this version: remove \
         the pinned state with `divvy detach`, then start again", path.display()
    )]
    ForeignPin { path: PathBuf, what: String },
    #[error(
        "packets go by {}, which another version of divvy made, and this one cannot take over from \
         ({reason}): start that version again, or end it with `divvy detach`, which breaks the \
         connections under way", folder.display()
    )]
    UnknownLayout { folder: PathBuf, reason: String },
    #[error(
        "cannot take over from {}: {reason}; packets still go by it: start the version again that \
         made it, or end it with `divvy detach`, which breaks the connections under way",
        folder.display()
    )]
    Takeover { folder: PathBuf, reason: String },
    #[error("cannot use the pinned object {}: {}", path.display(), in_one_line(source))]
    Pin { path: PathBuf, source: PinError },
    #[error("cannot read or remove {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "cannot use the table {map}: {}; {}",
        in_one_line(source),
        remedy(source)
    )]
    Map { map: &'static str, source: MapError },
    #[error("cannot use the table {map}: {source}; {}", remedy(source))]
    MapCall {
        map: &'static str,
        source: io::Error,
    },
    #[error(
        "cannot attach XDP to {interface} in {mode} mode: another XDP program is there; remove it \
         with `ip link set dev {interface} xdp off`"
    )]
    InterfaceBusy {
        interface: String,
        mode: &'static str,
    },
    #[error("cannot attach XDP to {interface} in {mode} mode: {reason}{hint}")]
    Attach {
        interface: String,
        mode: &'static str,
        reason: String,
        hint: String,
    },
    #[error(
        "no memory for the table {map}; lower `limits` in the configuration, or give the host more"
    )]
    NoMemory { map: String },
    #[error("cannot make the tables: {}; {}", in_one_line(.0), remedy(.0))]
    Object(#[from] EbpfError),
    #[error("cannot use the program {name}: {source}")]
    Program {
        name: &'static str,
        source: ProgramError,
    },
    #[error("cannot run the program {name}: {source}")]
    Run {
        name: &'static str,
        source: io::Error,
    },
}

impl DatapathError {
    fn lacks(what: String) -> Self {
        Self::KernelLacks {
            what,
            kernel: kernel_release(),
        }
    }
}

/// The kernel did not answer whether it has something; it tells by its error.
fn refused(what: String, error: &(dyn Error + 'static)) -> DatapathError {
    match os_error(error) {
        Some(libc::ENOSYS) => DatapathError::lacks("eBPF, the system call bpf(2)".to_owned()),
        Some(libc::EPERM | libc::EACCES) => DatapathError::NotPermitted,
        _ => DatapathError::Refused {
            what,
            reason: in_one_line(error),
        },
    }
}

/// Mounting a bpffs failed.
pub(super) fn while_mounting(path: &Path, source: io::Error) -> DatapathError {
    match source.raw_os_error() {
        Some(libc::ENODEV) => DatapathError::lacks(format!(
            "a bpffs, which is to be mounted at {}",
            path.display()
        )),
        _ => DatapathError::MountBpffs {
            path: path.to_owned(),
            source,
        },
    }
}

/// Making the maps failed.
pub(super) fn while_loading(error: EbpfError) -> DatapathError {
    match (os_error(&error), &error) {
        (Some(libc::EPERM | libc::EACCES), _) => DatapathError::NotPermitted,
        // E2BIG: more than the kernel takes in one map.
        (
            Some(libc::ENOMEM | libc::E2BIG),
            EbpfError::MapError(MapError::CreateError { name, .. }),
        ) => DatapathError::NoMemory { map: name.clone() },
        _ => DatapathError::Object(error),
    }
}

/// Loading the program failed.
pub(super) fn while_verifying(error: ProgramError) -> DatapathError {
    match &error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => refused_program(io_error, &verifier_log.to_string()),
        _ => load(super::last_line(&error)),
    }
}

fn refused_program(io_error: &io::Error, log: &str) -> DatapathError {
    if io_error.raw_os_error() == Some(libc::EPERM) {
        return DatapathError::NotPermitted;
    }
    load(match complaint(log) {
        Some(line) => format!("{line} ({io_error})"),
        None => io_error.to_string(),
    })
}

fn load(reason: String) -> DatapathError {
    DatapathError::Load {
        reason,
        kernel: kernel_release(),
    }
}

/// The line of the verifier's log that says why: the last one before its statistics.
fn complaint(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 4] = ["processed ", "verification time ", "stack depth ", "mark_"];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
}

/// What to do about a call that the kernel refused.
fn remedy(error: &(dyn Error + 'static)) -> String {
    match os_error(error) {
        // What older kernels say to what they do not know.
        Some(libc::EINVAL) => format!(
            "divvy needs Linux 6.1 or newer, this is {}",
            kernel_release()
        ),
        Some(libc::ENOMEM) => {
            "lower `limits` in the configuration, or give the host more".to_owned()
        }
        _ => "remove the pinned state with `divvy detach`, then start again".to_owned(),
    }
}

/// What the kernel said, however deep in the error it is.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .find_map(io::Error::raw_os_error)
}

/// An error and its causes, which aya's messages leave out, without line ends.
fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "an unknown kernel".to_owned(),
        |text| format!("Linux {}", text.trim()),
    )
}
