//! `cargo xtask docs`: pages that are made from the code. A test of the same name holds them current.

use anyhow::{Context as _, Result, ensure};

use crate::{
    cargo,
    setup::{self, Need},
};

pub(crate) fn run() -> Result<()> {
    setup::ensure(Need::Build)?;
    let status = cargo::command(&cargo::program())
        .args(["test", "--locked", "--package", "lb-userspace", "--lib"])
        .arg("config::tests::page::the_page_is_what_the_schema_says")
        .env("DIVVY_WRITE_DOCS", "1")
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "docs/config.md could not be written");
    println!("docs/config.md is what the schema says");
    Ok(())
}
