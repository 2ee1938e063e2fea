//! What can go wrong between the daemon and the kernel, each with what to do about it.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};

/// An operation on the datapath failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    #[error("cannot create {}: {source}; choose another --run-dir or run as root", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },
    #[error(
        "cannot mount a bpffs at {}: {source}; run as root, or mount one there first: \
         mount -t bpf bpf {0}", path.display()
    )]
    MountBpffs { path: PathBuf, source: io::Error },
    #[error(
        "not permitted to load eBPF programs; run as root, or with CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON"
    )]
    NotPermitted,
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
    #[error("cannot use the pinned object {}: {source}", path.display())]
    Pin { path: PathBuf, source: PinError },
    #[error("cannot read or remove {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("map {map}: {source}")]
    Map { map: &'static str, source: MapError },
    #[error("map {map}: {source}")]
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
        hint: &'static str,
    },
    #[error("cannot make an eBPF map from the embedded object: {0}")]
    Object(#[from] EbpfError),
    #[error("cannot pin the XDP program: {0}")]
    PinProgram(ProgramError),
    #[error("cannot use the program that sweeps flows: {0}")]
    Sweep(ProgramError),
    #[error("cannot run the program that sweeps flows: {0}")]
    SweepRun(io::Error),
}

/// Making the maps failed.
pub(super) fn while_loading(error: EbpfError) -> DatapathError {
    let io = match &error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => Some(io_error),
        EbpfError::MapError(MapError::SyscallError(call)) => Some(&call.io_error),
        _ => None,
    };
    match io.and_then(io::Error::raw_os_error) {
        Some(libc::EPERM | libc::EACCES) => DatapathError::NotPermitted,
        _ => DatapathError::Object(error),
    }
}

/// Loading the program failed.
pub(super) fn while_verifying(error: ProgramError) -> DatapathError {
    if let ProgramError::LoadError { io_error, .. } = &error
        && matches!(io_error.raw_os_error(), Some(libc::EPERM))
    {
        return DatapathError::NotPermitted;
    }
    DatapathError::Load {
        reason: super::last_line(&error),
        kernel: kernel_release(),
    }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "an unknown kernel".to_owned(),
        |text| format!("Linux {}", text.trim()),
    )
}
