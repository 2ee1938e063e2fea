//! `cargo xtask test`: everything that must hold, by one command.

use anyhow::{Result, ensure};

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
    // Tests drive the binary, which `cargo test` alone need not build. With the same packages and
    // kinds as below, so that each dependency is compiled once.
    cargo::run(&["build", "--workspace", "--bins", "--tests", "--locked"])?;
    let mut test = vec!["test", "--workspace", "--locked"];
    test.extend(filter);
    cargo::run(&test)
}
