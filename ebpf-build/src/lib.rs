//! Compiles an eBPF crate of this workspace with whichever toolchain the host has: a nightly with
//! `rust-src` (most people's), else Debian's `rustc-web`, which ships a `core` made for eBPF.
//! Installs nothing; `cargo xtask build` does that.

#![forbid(unsafe_code)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// The Rust target of eBPF on little-endian hosts.
const TARGET: &str = "bpfel-unknown-none";
/// Debian's compiler with a prebuilt `core` for [`TARGET`].
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The bpf-linker release that both toolchains are used with.
pub const BPF_LINKER_VERSION: &str = "0.13.0";
/// Debian packages that hold the compiler, its `core` and the LLVM that bpf-linker links with.
pub const DEBIAN_PACKAGES: [(&str, &str); 4] = [
    (
        "rustc-web",
        "the Rust compiler with an LLVM that knows eBPF",
    ),
    ("libstd-rust-web-dev-bpf", "Rust's core library for eBPF"),
    ("llvm-22-dev", "LLVM, for building bpf-linker"),
    (
        "libpolly-22-dev",
        "a part of LLVM that bpf-linker links with",
    ),
];

/// A way to compile for eBPF that this host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// `cargo +nightly -Z build-std=core`.
    Nightly,
    /// Debian's compiler, driven by the host's cargo.
    Debian,
}

impl Toolchain {
    /// The first of the two that this host has, if any.
    #[must_use]
    pub fn find() -> Option<Self> {
        if nightly_has_source() {
            Some(Self::Nightly)
        } else if debian_has_core() {
            Some(Self::Debian)
        } else {
            None
        }
    }
}

/// The workspace's root folder.
#[must_use]
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in a folder of the workspace")
        .to_owned()
}

/// Where `cargo xtask` puts bpf-linker: the workspace's own tools folder.
#[must_use]
pub fn linker_path() -> PathBuf {
    workspace_root().join(".tools/bin/bpf-linker")
}

/// For build scripts: compiles the binaries of `package` and copies each object into `OUT_DIR`.
///
/// # Errors
/// When a tool is missing (the message names both ways to get one) or the compiler fails.
pub fn compile(package: &str, binaries: &[&str]) -> Result<()> {
    let root = workspace_root();
    for input in [package, "lb-common", "ebpf-build"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    for input in ["Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-changed={}", linker_path().display());

    let Some(toolchain) = Toolchain::find() else {
        bail!(
            "no Rust compiler for eBPF found. Either add a nightly toolchain with its source \
             (`rustup toolchain install nightly --component rust-src`), or, on Debian 12, run \
             `cargo xtask build` as root, which installs {}",
            DEBIAN_PACKAGES.map(|(name, _)| name).join(", ")
        );
    };
    let linker = linker_path();
    ensure!(
        linker.is_file(),
        "bpf-linker is missing at {}: run `cargo xtask build` once, which puts it there",
        linker.display()
    );

    let out =
        PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set: not a build script")?);
    let target_dir = out.join("ebpf");
    let mut cargo = command(toolchain, &linker, &target_dir);
    cargo.current_dir(&root).args(["--package", package]);
    for binary in binaries {
        cargo.args(["--bin", binary]);
    }
    let status = cargo
        .status()
        .with_context(|| format!("cannot start cargo to compile {package} for eBPF"))?;
    ensure!(
        status.success(),
        "compiling {package} for eBPF failed ({status})"
    );

    for binary in binaries {
        let from = target_dir.join(TARGET).join("release").join(binary);
        fs::copy(&from, out.join(binary)).with_context(|| {
            format!(
                "the compiler reported success but left no object at {}",
                from.display()
            )
        })?;
    }
    Ok(())
}

fn command(toolchain: Toolchain, linker: &Path, target_dir: &Path) -> Command {
    // Unit separators, because RUSTFLAGS splits at spaces and a path may hold one.
    let flags = [
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker.display()),
    ]
    .join("\u{1f}");

    let mut cargo = match toolchain {
        Toolchain::Nightly => {
            let mut cargo = Command::new("rustup");
            cargo.args(["run", "nightly", "cargo"]);
            cargo.env_remove("RUSTC");
            cargo
        }
        Toolchain::Debian => {
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.env("RUSTC", DEBIAN_RUSTC);
            // aya-ebpf needs nightly features; this unlocks them for that crate alone.
            cargo.env("RUSTC_BOOTSTRAP", "aya_ebpf");
            cargo
        }
    };
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--target",
        TARGET,
        "--target-dir",
    ]);
    cargo.arg(target_dir);
    if toolchain == Toolchain::Nightly {
        cargo.args(["-Z", "build-std=core"]);
    }
    // What cargo tells a build script describes the host's build, not this one.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_CFG_")
            || name_text.starts_with("CARGO_FEATURE_")
            || name_text.starts_with("CARGO_PROFILE_")
            || [
                "RUSTFLAGS",
                "RUSTC_WRAPPER",
                "RUSTC_WORKSPACE_WRAPPER",
                "CARGO_BUILD_TARGET",
            ]
            .contains(&&*name_text)
        {
            cargo.env_remove(&name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    cargo
}

fn nightly_has_source() -> bool {
    Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .output()
        .is_ok_and(|output| {
            let sysroot = String::from_utf8_lossy(&output.stdout);
            output.status.success()
                && Path::new(sysroot.trim())
                    .join("lib/rustlib/src/rust/library/core")
                    .is_dir()
        })
}

fn debian_has_core() -> bool {
    Command::new(DEBIAN_RUSTC)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .is_ok_and(|output| {
            let folder = String::from_utf8_lossy(&output.stdout);
            output.status.success()
                && fs::read_dir(folder.trim()).is_ok_and(|entries| {
                    entries.flatten().any(|entry| {
                        let name = entry.file_name();
                        let name = name.to_string_lossy();
                        name.starts_with("libcore-") && name.ends_with(".rlib")
                    })
                })
        })
}
