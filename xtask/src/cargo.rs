//! Runs cargo, and other programs, in the workspace.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::setup::{self, Need};

/// Runs cargo to its end; fails when it does.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let status = command(&program())
        .args(words)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} failed", words.join(" "));
    Ok(())
}

/// Sets the host up, builds a program of the lab and the balancer in release, and runs it.
pub(crate) fn build_and_run(program: &str, words: &[String]) -> Result<()> {
    ensure!(
        setup::is_root(),
        "cargo xtask {program} loads an XDP program and makes network namespaces, which needs \
         root: run this again as root"
    );
    setup::ensure(Need::Lab)?;
    run(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "lb-userspace",
        "--package",
        "lb-tests",
        "--bin",
        "divvy",
        "--bin",
        program,
    ])?;
    let path = target().join("release").join(program);
    let status = command(&path)
        .args(words)
        .status()
        .with_context(|| format!("cannot start {}", path.display()))?;
    ensure!(status.success(), "the {program} failed ({status})");
    Ok(())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    ebpf_build::workspace_root().join(target)
}

/// Whether cargo has this subcommand, such as `fmt`.
pub(crate) fn has(subcommand: &str) -> bool {
    command(&program())
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The cargo that runs this program.
pub(crate) fn program() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A command that runs in the workspace and finds what lies in the system's sbin folders, which
/// are not on the path of a root shell opened by plain `su`.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(ebpf_build::workspace_root())
        .env("PATH", search_path());
    command
}

/// Whether a program of this name can be started.
pub(crate) fn finds(program: &str) -> bool {
    env::split_paths(&search_path()).any(|folder| folder.join(program).is_file())
}

fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"] {
        if !env::split_paths(&path).any(|present| present == Path::new(folder)) {
            path.push(":");
            path.push(folder);
        }
    }
    path
}
