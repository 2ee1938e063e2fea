//! Which compiler for eBPF this host has.

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use crate::TARGET;

/// Debian's compiler with a prebuilt `core` for [`TARGET`].
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The Debian packages that hold it.
pub const DEBIAN_COMPILER: [(&str, &str); 2] = [
    (
        "rustc-web",
        "the Rust compiler with an LLVM that knows eBPF",
    ),
    ("libstd-rust-web-dev-bpf", "Rust's core library for eBPF"),
];

/// A way to compile for eBPF that this host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// `cargo +nightly -Z build-std=core`.
    Nightly {
        /// The source of the core library.
        core: PathBuf,
    },
    /// Debian's compiler, driven by the host's cargo.
    Debian {
        /// The folder of the compiled core library.
        core: PathBuf,
    },
}

/// The host has neither way.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "no Rust compiler for eBPF found. There are two ways to one: a nightly toolchain with its \
     source (`rustup toolchain install nightly --component rust-src`), or a Debian 12 host, where \
     `cargo xtask build` as root installs {}",
    DEBIAN_COMPILER.map(|(name, _)| name).join(" and ")
)]
pub struct NoCompiler;

impl Toolchain {
    /// The first of the two that this host has.
    ///
    /// # Errors
    /// When it has neither.
    pub fn find() -> Result<Self, NoCompiler> {
        Self::choose(Path::new("rustup"), Path::new(DEBIAN_RUSTC))
    }

    fn choose(rustup: &Path, debian_rustc: &Path) -> Result<Self, NoCompiler> {
        let nightly = || source_of_core(rustup).map(|core| Self::Nightly { core });
        let debian = || compiled_core(debian_rustc).map(|core| Self::Debian { core });
        nightly().or_else(debian).ok_or(NoCompiler)
    }

    /// What must be there for it to compile.
    pub(crate) fn parts(&self) -> Vec<&Path> {
        match self {
            Self::Nightly { core } => vec![core],
            Self::Debian { core } => vec![Path::new(DEBIAN_RUSTC), core],
        }
    }
}

fn source_of_core(rustup: &Path) -> Option<PathBuf> {
    let sysroot = folder(rustup, &["run", "nightly", "rustc", "--print", "sysroot"])?;
    let core = sysroot.join("lib/rustlib/src/rust/library/core");
    core.is_dir().then_some(core)
}

fn compiled_core(rustc: &Path) -> Option<PathBuf> {
    let folder = folder(rustc, &["--print", "target-libdir", "--target", TARGET])?;
    let holds_core = fs::read_dir(&folder).ok()?.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    });
    holds_core.then_some(folder)
}

/// The folder that a program prints.
fn folder(program: &Path, words: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(words).output().ok()?;
    let printed = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| printed.trim().into())
}
