//! An emulated machine with an older kernel: the emulator, Debian's kernel and a shell for its first steps,
//! all unpacked into `.tools`. Nothing of it is installed: a kernel on somebody's host would end up in its
//! boot loader, and an emulator may drive out packages that came from elsewhere.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use ebpf_build::workspace_root;

use super::debian;
use crate::cargo;

const EMULATOR: &str = "qemu-system-x86_64";
const EMULATOR_PACKAGE: &str = "qemu-system-x86";
/// Stands for the newest kernel of the Debian that the host runs.
const KERNEL_PACKAGE: &str = "linux-image-amd64";

/// Where the parts of the machine lie.
#[derive(Debug)]
pub(crate) struct Machine {
    emulator: PathBuf,
    /// Where an unpacked emulator lies; none for the host's own.
    unpacked: Option<PathBuf>,
    /// The kernel's image.
    pub(crate) kernel: PathBuf,
    /// The folder of its modules.
    pub(crate) modules: PathBuf,
    /// A shell with the usual tools that needs no library.
    pub(crate) busybox: PathBuf,
}

impl Machine {
    /// Looks for all parts and unpacks what is missing. `version` is the kernel's, such as `6.1`.
    pub(crate) fn ensure(version: &str) -> Result<Self> {
        ensure!(
            debian::is_here(),
            "Debian's kernel {version} is unpacked from Debian's archive, and this host is no Debian"
        );
        let (emulator, unpacked) = emulator()?;
        let (kernel, modules) = kernel(version)?;
        Ok(Self {
            emulator,
            unpacked,
            kernel,
            modules,
            busybox: busybox()?,
        })
    }

    /// The emulator, to be given its arguments.
    pub(crate) fn emulator(&self) -> Command {
        let mut command = cargo::command(&self.emulator);
        let Some(root) = &self.unpacked else {
            return command;
        };
        let libraries = ["usr/lib", "lib"].map(|lib| root.join(lib).join("x86_64-linux-gnu"));
        command.env("QEMU_MODULE_DIR", libraries[0].join("qemu"));
        if let Ok(libraries) = env::join_paths(libraries) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(data));
        }
        command
    }
}

fn tools() -> PathBuf {
    workspace_root().join(".tools")
}

fn emulator() -> Result<(PathBuf, Option<PathBuf>)> {
    if cargo::finds(EMULATOR) {
        return Ok((EMULATOR.into(), None));
    }
    let root = tools().join("qemu");
    let program = root.join("usr/bin").join(EMULATOR);
    if !program.is_file() {
        let packages = debian::missing_for(EMULATOR_PACKAGE)?;
        println!("unpacking {EMULATOR_PACKAGE} into .tools: the emulator that the kernel runs in");
        debian::unpack(&packages, &root)?;
    }
    Ok((program, Some(root)))
}

fn kernel(version: &str) -> Result<(PathBuf, PathBuf)> {
    let root = tools().join(format!("kernel-{version}"));
    if !root.is_dir() {
        let prefix = format!("linux-image-{version}.");
        let named = debian::dependencies(KERNEL_PACKAGE)?;
        let Some(package) = named.iter().find(|name| name.starts_with(&prefix)) else {
            bail!(
                "this host's Debian has no kernel {version}: its {KERNEL_PACKAGE} is {}",
                named.join(" ")
            );
        };
        println!("unpacking {package} into .tools: the kernel to test in");
        debian::unpack(&[package], &root)?;
    }
    let image = only(&root.join("boot"), "vmlinuz-")?;
    let modules = only(&root.join("lib/modules"), &format!("{version}."))?;
    Ok((image, modules))
}

fn busybox() -> Result<PathBuf> {
    let root = tools().join("busybox");
    let program = root.join("bin/busybox");
    if !program.is_file() {
        println!("unpacking busybox-static into .tools: the shell that starts the machine");
        debian::unpack(&["busybox-static"], &root)?;
    }
    Ok(program)
}

/// The one entry of a folder whose name begins so.
fn only(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    found
        .next()
        .with_context(|| format!("{} holds no {prefix}…", folder.display()))
}
