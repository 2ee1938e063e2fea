//! `cargo xtask demo`: builds the demonstration and runs it.

use anyhow::Result;

use crate::cargo;

pub(crate) fn run() -> Result<()> {
    cargo::build_and_run("demo", &[])
}
