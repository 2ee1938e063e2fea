//! Debian's packages.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
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

/// Downloads packages and unpacks them into `folder`, which holds all of them then or none; installs
/// nothing.
pub(super) fn unpack(packages: &[impl AsRef<OsStr>], folder: &Path) -> Result<()> {
    let unfinished = folder.with_extension("new");
    // There where an earlier attempt did not get far.
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("cannot make {}", unfinished.display()))?;
    // As root, apt would hand the download to a user who cannot write here, and warn of it.
    let words = ["--option", "APT::Sandbox::User=root", "download"];
    let mut download = apt();
    download.args(words).args(packages).current_dir(&unfinished);
    if run(&mut download).is_err() {
        update();
        run(&mut download).context("cannot download from Debian")?;
    }
    let files: Vec<PathBuf> = fs::read_dir(&unfinished)
        .with_context(|| format!("cannot read {}", unfinished.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    ensure!(
        files.len() == packages.len(),
        "apt-get reported success but left {} of {} packages",
        files.len(),
        packages.len()
    );
    for file in files {
        run(cargo::command(Path::new("dpkg-deb"))
            .arg("--extract")
            .arg(&file)
            .arg(&unfinished))
        .with_context(|| format!("cannot unpack {}", file.display()))?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(&unfinished, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// What installing this package would add to the host: its own name and those of the packages that it
/// needs and the host does not have.
pub(super) fn missing_for(package: &str) -> Result<Vec<String>> {
    let words = ["--simulate", "install", "--no-install-recommends", package];
    let plan = run(apt().args(words)).or_else(|_| {
        update();
        run(apt().args(words))
    })?;
    // "Inst NAME (VERSION …)", or "Inst NAME [PRESENT] (VERSION …)" for what is there in another version.
    let names = plan.lines().filter_map(|line| {
        let mut words = line.strip_prefix("Inst ")?.split(' ');
        let name = words.next()?;
        words.next()?.starts_with('(').then(|| name.to_owned())
    });
    Ok(names.collect())
}

/// The packages that this one, which stands for the newest of its kind, depends on.
pub(super) fn dependencies(package: &str) -> Result<Vec<String>> {
    let ask = || run(cargo::command(Path::new("apt-cache")).args(["depends", package]));
    let mut answer = ask();
    if !matches!(&answer, Ok(text) if text.contains("Depends:")) {
        update();
        answer = ask();
    }
    let text = answer?;
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(names.map(str::to_owned).collect())
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

/// Runs a command silently and returns what it printed; that becomes the error when it fails.
fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let stdout = String::from_utf8_lossy(&stdout);
    ensure!(
        status.success(),
        "{program} failed ({status}):\n{stdout}{}",
        String::from_utf8_lossy(&stderr)
    );
    Ok(stdout.into_owned())
}
