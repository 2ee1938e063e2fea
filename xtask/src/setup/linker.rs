//! bpf-linker, in the workspace's own tools folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ebpf_build::{BPF_LINKER_VERSION, linker_path, workspace_root};

use super::debian::{self, LLVM_PREFIX, LLVM_VERSION};
use crate::cargo;

/// Whether the wanted version is there.
pub(super) fn is_present() -> bool {
    version(&linker_path()).is_some_and(|version| version == BPF_LINKER_VERSION)
}

/// For a nightly: takes the linker from the path if it is there; else says whether it can be built.
pub(super) fn is_to_be_built_for_nightly() -> Result<bool> {
    if copy_from_path()? {
        return Ok(false);
    }
    // The linker reads what the compiler's LLVM wrote, if its own is as new.
    ensure!(
        debian::is_here() && llvm_of_nightly().is_some_and(|version| version <= LLVM_VERSION),
        "bpf-linker {BPF_LINKER_VERSION} is missing. On Debian 12 this command builds it, for a \
         nightly with LLVM {LLVM_VERSION} or older; here, please put its release binary into a \
         folder of PATH (`cargo binstall bpf-linker@{BPF_LINKER_VERSION}`, or by hand from \
         https://github.com/aya-rs/bpf-linker/releases), then run this again"
    );
    Ok(true)
}

/// Builds the wanted version with Debian's LLVM, about a minute.
pub(super) fn build() -> Result<()> {
    println!("building bpf-linker {BPF_LINKER_VERSION} into .tools: it links the XDP program");
    let root = workspace_root().join(".tools");
    let path = env::var_os("PATH").unwrap_or_default();
    // With the folder at the end of the path, cargo does not ask for it to be put there.
    let path = env::join_paths(env::split_paths(&path).chain([root.join("bin")]))
        .context("the workspace's path holds a colon")?;
    let mut install = cargo::command(&cargo::program());
    install.args(["install", "bpf-linker", "--locked", "--force"]);
    install.args(["--version", BPF_LINKER_VERSION, "--root"]);
    install.arg(root).env("PATH", path);
    install.env("LLVM_PREFIX", LLVM_PREFIX);
    let feature = format!("llvm-{LLVM_VERSION}");
    install.args(["--no-default-features", "--features", &feature]);
    let status = install.status().context("cannot start cargo")?;
    ensure!(status.success(), "bpf-linker could not be built");
    Ok(())
}

/// Who compiles eBPF with a nightly mostly has the linker too.
fn copy_from_path() -> Result<bool> {
    let found = env::var_os("PATH").into_iter().find_map(|path| {
        env::split_paths(&path)
            .map(|folder| folder.join("bpf-linker"))
            .find(|file| version(file).is_some_and(|version| version == BPF_LINKER_VERSION))
    });
    let Some(found) = found else {
        return Ok(false);
    };
    println!(
        "copying {} into .tools: it links the XDP program",
        found.display()
    );
    let to: PathBuf = linker_path();
    let folder = to.parent().context("the linker's path has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(&found, &to)
        .with_context(|| format!("cannot copy {} to {}", found.display(), to.display()))?;
    Ok(true)
}

fn llvm_of_nightly() -> Option<u32> {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "-vV"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

fn version(linker: &Path) -> Option<String> {
    let output = Command::new(linker).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().strip_prefix("bpf-linker ")?.to_owned())
}
