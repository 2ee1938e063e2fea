//! The test programs, built and found.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cargo;

/// Test programs by package and target, such as `lb-tests` and `packets`.
pub(super) type Programs = BTreeMap<(String, String), Program>;

pub(super) struct Program {
    pub(super) path: PathBuf,
    /// That of the package: where cargo would start it.
    pub(super) folder: PathBuf,
}

/// Builds the balancer and all test programs.
pub(super) fn build() -> Result<Programs> {
    // As `cargo xtask test` does it, so that each dependency is compiled once for both.
    cargo::run(&["build", "--workspace", "--bins", "--tests", "--locked"])?;
    let mut build = cargo::command(&cargo::program());
    build.args(["test", "--workspace", "--locked", "--no-run", "--test", "*"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    let output = build
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo test --no-run failed");
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|message: Value| program(&message))
        .collect())
}

/// What a message of cargo's says of a finished test program.
fn program(message: &Value) -> Option<((String, String), Program)> {
    let path: PathBuf = message["executable"].as_str()?.into();
    let target = &message["target"];
    if target["kind"][0] != "test" {
        return None;
    }
    let manifest: PathBuf = message["manifest_path"].as_str()?.into();
    let folder = manifest.parent()?.to_owned();
    let package = folder.file_name()?.to_str()?.to_owned();
    let name = target["name"].as_str()?.to_owned();
    Some(((package, name), Program { path, folder }))
}
