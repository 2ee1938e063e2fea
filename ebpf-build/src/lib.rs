//! Compiles an eBPF crate of this workspace with whichever toolchain the host has: a nightly with
//! `rust-src` (most people's), else Debian's `rustc-web`, which ships a `core` made for eBPF.
//! Installs nothing; `cargo xtask build` does that.

#![forbid(unsafe_code)]

mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use toolchain::DEBIAN_RUSTC;
pub use toolchain::{DEBIAN_COMPILER, NoCompiler, Toolchain};

/// The Rust target of eBPF on little-endian hosts.
const TARGET: &str = "bpfel-unknown-none";
/// The bpf-linker release that both toolchains are used with.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

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

/// For build scripts: compiles the binaries of `package` with these features and copies each object into `OUT_DIR`.
/// Where a tool is missing, it tells cargo, which then stops with that one message.
///
/// # Errors
/// When the compiler fails.
pub fn compile(package: &str, binaries: &[&str], features: &[&str]) -> Result<()> {
    let root = workspace_root();
    for input in [
        package,
        "lb-common",
        "ebpf-build",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let linker = linker_path();
    let toolchain = match tools(&linker) {
        Ok(toolchain) => toolchain,
        Err(missing) => {
            println!("cargo::error={missing:#}");
            return Ok(());
        }
    };
    // Cargo takes a file that is gone for one that changed: without its tools, no old object
    // passes for a new one.
    for tool in toolchain.parts().into_iter().chain([&*linker]) {
        println!("cargo::rerun-if-changed={}", tool.display());
    }

    let out =
        PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set: not a build script")?);
    let target_dir = out.join("ebpf");
    let mut cargo = command(&toolchain, &linker, &target_dir);
    cargo.current_dir(&root).args(["--package", package]);
    for binary in binaries {
        cargo.args(["--bin", binary]);
    }
    for feature in features {
        cargo.args(["--features", feature]);
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

fn tools(linker: &Path) -> Result<Toolchain> {
    let toolchain = Toolchain::find()?;
    ensure!(
        linker.is_file(),
        "bpf-linker is missing at {}: run `cargo xtask build` once, which puts it there",
        linker.display()
    );
    Ok(toolchain)
}

fn command(toolchain: &Toolchain, linker: &Path, target_dir: &Path) -> Command {
    // Unit separators, because RUSTFLAGS splits at spaces and a path may hold one.
    let flags = [
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker.display()),
    ]
    .join("\u{1f}");

    let mut cargo = match toolchain {
        Toolchain::Nightly { .. } => {
            let mut cargo = Command::new("rustup");
            cargo.args(["run", "nightly", "cargo"]);
            cargo.env_remove("RUSTC");
            cargo
        }
        Toolchain::Debian { .. } => {
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
    if matches!(toolchain, Toolchain::Nightly { .. }) {
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
