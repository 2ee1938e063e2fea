//! `cargo xtask test`: everything that must hold, by one command.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo,
    setup::{self, Need},
};

pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    ensure!(
        setup::is_root(),
        "the tests load an XDP program and make network namespaces, which needs root: run this \
         again as root"
    );
    setup::ensure(Need::Lab)?;
    setup::ensure_packaging()?;
    for (component, words) in [
        ("fmt", ["fmt", "--all", "--check"].as_slice()),
        (
            "clippy",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "--deny",
                "warnings",
            ],
        ),
    ] {
        if cargo::has(component) {
            cargo::run(words)?;
        } else {
            println!("leaving out `cargo {component}`: this toolchain does not have it");
        }
    }
    second_layout()?;
    // Tests drive the binary, which `cargo test` alone need not build. With the same packages and
    // kinds as below, so that each dependency is compiled once.
    cargo::run(&["build", "--workspace", "--bins", "--tests", "--locked"])?;
    let mut test = vec!["test", "--workspace", "--locked"];
    test.extend(filter);
    cargo::run(&test)
}

/// Builds the binary with another layout of its tables, which tests upgrade to and back, and puts it beside
/// the place of the one that is built next. Only its own crates are compiled twice.
fn second_layout() -> Result<()> {
    cargo::run(&[
        "build",
        "--locked",
        "--package",
        "lb-userspace",
        "--features",
        "second-layout",
    ])?;
    let folder = cargo::target().join("debug");
    let to = folder.join("divvy-second-layout");
    fs::copy(folder.join("divvy"), &to)
        .with_context(|| format!("cannot put a copy of the binary at {}", to.display()))?;
    Ok(())
}
