//! `cargo xtask test --kernel 6.1`: the tests that an older kernel must pass, in an emulated machine that
//! runs Debian's own. The machine sees this host's files, read-only below a layer of its own, so that the
//! programs of the lab are the host's and the tests those that cargo built; it has no network.

mod guest;
mod initramfs;
mod machine;
mod modules;
mod programs;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::{
    cargo,
    setup::{self, Machine, Need},
};

/// A kernel that tests can run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// That of Debian 12.
    #[value(name = "6.1")]
    V6_1,
}

impl Kernel {
    const fn version(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
        }
    }
}

/// After so long without a word of it, or so long altogether, the machine hangs.
const SILENCE: Duration = Duration::from_secs(10 * 60);
const ALTOGETHER: Duration = Duration::from_secs(60 * 60);

/// Runs the tests of [`guest::PLAN`], or those of all programs in it whose names hold `filter`.
pub(crate) fn test(kernel: Kernel, cpus: u8, filter: Option<&str>) -> Result<()> {
    setup::ensure(Need::Lab)?;
    let parts = Machine::ensure(kernel.version())?;
    let programs = programs::build()?;

    let folder = folder(kernel);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let script = folder.join("run");
    fs::write(&script, guest::script(&programs, filter, &parts.busybox)?)
        .with_context(|| format!("cannot write {}", script.display()))?;
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, guest::initramfs(&parts, &script)?)
        .with_context(|| format!("cannot write {}", initramfs.display()))?;

    println!(
        "starting {} in an emulated machine of {cpus} CPU{}",
        parts.kernel.file_name().unwrap_or_default().display(),
        if cpus == 1 { "" } else { "s" }
    );
    let ended = machine::run(
        &mut machine::command(&parts, &initramfs, &folder, cpus),
        &folder,
        [SILENCE, ALTOGETHER],
    )?;
    println!("\nLinux {}:", kernel.version());
    for step in &ended {
        println!("{step}");
    }
    let failed: Vec<&str> = (ended.iter())
        .filter(|step| step.code != 0)
        .map(|step| &*step.title)
        .collect();
    if !failed.is_empty() {
        bail!(
            "failed on Linux {}: {}",
            kernel.version(),
            failed.join(", ")
        );
    }
    Ok(())
}

fn folder(kernel: Kernel) -> PathBuf {
    cargo::target().join(format!("kernel-{}", kernel.version()))
}
