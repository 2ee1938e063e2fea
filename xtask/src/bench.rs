//! `cargo xtask bench`: builds the program that measures and runs it.

use anyhow::Result;

use crate::{cargo, setup};

pub(crate) fn run(words: &[String]) -> Result<()> {
    if words.first().is_some_and(|what| what == "e2e") && !words.iter().any(|word| word == "--help")
    {
        setup::unpack_rivals()?;
    }
    cargo::build_and_run("bench", words)
}
