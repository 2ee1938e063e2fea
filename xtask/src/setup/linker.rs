//! bpf-linker, in the workspace's own tools folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ebpf_build::{BPF_LINKER_VERSION, Toolchain, linker_path, workspace_root};

use super::debian::LLVM_PREFIX;
use crate::cargo;

/// Whether the wanted version is there.
pub(super) fn is_present() -> bool {
    version(&linker_path()).is_some_and(|version| version == BPF_LINKER_VERSION)
}

/// Builds the wanted version, about a minute.
pub(super) fn install(toolchain: Toolchain) -> Result<()> {
    println!("installing bpf-linker {BPF_LINKER_VERSION} into .tools: it links the XDP program");
    if toolchain == Toolchain::Nightly && copy_from_path()? {
        return Ok(());
    }
    let mut install = cargo::command(&cargo::program());
    install.args(["install", "bpf-linker", "--locked", "--force"]);
    install.args(["--version", BPF_LINKER_VERSION, "--root"]);
    install.arg(workspace_root().join(".tools"));
    if toolchain == Toolchain::Debian {
        install.env("LLVM_PREFIX", LLVM_PREFIX);
        install.args(["--no-default-features", "--features", "llvm-22"]);
    }
    let status = install.status().context("cannot start cargo")?;
    match toolchain {
        Toolchain::Debian => ensure!(status.success(), "bpf-linker could not be built"),
        Toolchain::Nightly => ensure!(
            status.success(),
            "bpf-linker could not be built: it needs the development files of the LLVM that \
             nightly uses. Its release binary will do: `cargo binstall \
             bpf-linker@{BPF_LINKER_VERSION}`, then run this again"
        ),
    }
    Ok(())
}

/// Who compiles eBPF with a nightly mostly has the linker too.
fn copy_from_path() -> Result<bool> {
    let found = std::env::var_os("PATH").into_iter().find_map(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join("bpf-linker"))
            .find(|file| version(file).is_some_and(|version| version == BPF_LINKER_VERSION))
    });
    let Some(found) = found else {
        return Ok(false);
    };
    let to: PathBuf = linker_path();
    let folder = to.parent().context("the linker's path has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(&found, &to)
        .with_context(|| format!("cannot copy {} to {}", found.display(), to.display()))?;
    Ok(true)
}

fn version(linker: &Path) -> Option<String> {
    let output = Command::new(linker).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().strip_prefix("bpf-linker ")?.to_owned())
}
