//! `cargo xtask bench`: builds the program that measures and runs it.

use anyhow::Result;

use crate::cargo;

pub(crate) fn run(words: &[String]) -> Result<()> {
    cargo::build_and_run("bench", words)
}
