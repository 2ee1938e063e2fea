//! `cargo xtask fuzz`: builds the program that fuzzes and runs it.

use anyhow::Result;

use crate::cargo;

pub(crate) fn run(words: &[String]) -> Result<()> {
    cargo::build_and_run("fuzz", words)
}
