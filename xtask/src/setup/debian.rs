//! Debian's packages.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};

use crate::cargo;

/// A package to install, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) purpose: &'static str,
}

/// The LLVM that bpf-linker is built with: that of Debian's compiler for eBPF.
pub(super) const LLVM_VERSION: u32 = 22;
/// Where it lies.
pub(super) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// The packages that hold it.
pub(super) const LLVM: [Package; 2] = [
    Package {
        name: "llvm-22-dev",
        purpose: "LLVM, for building bpf-linker",
    },
    Package {
        name: "libpolly-22-dev",
        purpose: "a part of LLVM that bpf-linker links with",
    },
];

/// Whether this host is a Debian.
pub(super) fn is_here() -> bool {
    fs::read_to_string("/etc/os-release")
        .is_ok_and(|release| release.lines().any(|line| line == "ID=debian"))
}

/// Whether LLVM is complete enough to link bpf-linker with.
pub(super) fn has_llvm() -> bool {
    ["bin/llvm-config", "lib/libLLVM.so", "lib/libPolly.a"]
        .iter()
        .all(|file| Path::new(LLVM_PREFIX).join(file).exists())
}

/// Installs the packages, if any, printing which and why.
pub(super) fn install(packages: &[Package]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    ensure!(
        is_root(),
        "missing: {names}. Run this once as root, or run `apt-get install {names}`",
        names = names.join(" ")
    );
    for Package { name, purpose } in packages {
        println!("installing {name}: {purpose}");
    }
    update();
    let words = ["install", "--yes", "--no-install-recommends"];
    run(apt().args(words).args(&names))
        .with_context(|| format!("cannot install {}", names.join(" ")))?;
    Ok(())
}

/// Unpacks the program nginx into `folder`, without installing the service. Its libraries are
/// those of curl and of Debian's base system.
pub(super) fn unpack_nginx(folder: &Path) -> Result<()> {
    println!("unpacking nginx into .tools: the servers of the lab");
    // Not there when an earlier attempt did not get far.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // As root, apt would hand the download to a user who cannot write here, and warn of it.
    let words = ["--option", "APT::Sandbox::User=root", "download", "nginx"];
    let mut download = apt();
    download.args(words).current_dir(folder);
    if run(&mut download).is_err() {
        update();
        run(&mut download).context("cannot download Debian's package nginx")?;
    }
    let package = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get reported success but left no package of nginx")?;
    run(cargo::command(Path::new("dpkg-deb"))
        .arg("--extract")
        .arg(&package)
        .arg(folder))
    .context("cannot unpack nginx")?;
    fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| {
        use std::os::unix::fs::MetadataExt as _;
        process.uid() == 0
    })
}

/// Refreshes the lists. Where that fails, those of the last time may do.
fn update() {
    if let Err(error) = run(apt().arg("update")) {
        eprintln!("going on with the package lists as they are: {error:#}");
    }
}

/// apt-get that asks nothing and waits for others who use it.
fn apt() -> Command {
    let mut apt = cargo::command(Path::new("apt-get"));
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["--quiet", "--option", "DPkg::Lock::Timeout=600"]);
    apt
}

/// Runs a command silently; what it printed becomes the error when it fails.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        status.success(),
        "{program} failed ({status}):\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    Ok(())
}
