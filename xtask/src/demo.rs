//! `cargo xtask demo`: builds the demonstration and runs it.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo,
    setup::{self, Need},
};

pub(crate) fn run() -> Result<()> {
    ensure!(
        setup::is_root(),
        "the demo loads an XDP program and makes network namespaces, which needs root: run this \
         again as root"
    );
    setup::ensure(Need::Lab)?;
    cargo::run(&[
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
        "demo",
    ])?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let demo = ebpf_build::workspace_root()
        .join(target)
        .join("release/demo");
    let status = cargo::command(&demo)
        .status()
        .with_context(|| format!("cannot start {}", demo.display()))?;
    ensure!(status.success(), "the demo failed ({status})");
    Ok(())
}
