//! `cargo xtask dist`: a Debian package and a tarball from the release build.
//!
//! What lies where is in `content.rs`. The same sources, version and SOURCE_DATE_EPOCH give the same bytes.

mod content;
mod deb;
mod tarball;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ebpf_build::workspace_root;

use crate::{
    cargo,
    setup::{self, Need},
};

#[derive(Args)]
pub(crate) struct Dist {
    /// Package this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The packages' version instead of the workspace's.
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    package_version: String,
    /// Where the packages go instead of target/dist.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What both packages are of.
struct Release {
    version: String,
    /// Seconds since 1970: the age of every file.
    epoch: u64,
    /// A folder for what is made on the way.
    scratch: PathBuf,
    /// Stripped.
    binary: PathBuf,
}

pub(crate) fn run(arguments: &Dist) -> Result<()> {
    let built = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => {
            setup::ensure(Need::Build)?;
            cargo::run(&["build", "--release", "--locked"])?;
            cargo::target().join("release/divvy")
        }
    };
    setup::ensure_packaging()?;
    let to = arguments.to.clone();
    let to = to.unwrap_or_else(|| cargo::target().join("dist"));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let to = to
        .canonicalize()
        .with_context(|| format!("cannot find {}", to.display()))?;
    let scratch = to.join("scratch");
    // There where an earlier attempt did not get far.
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;

    let release = Release {
        version: arguments.package_version.clone(),
        epoch: epoch()?,
        binary: stripped(&built, &scratch)?,
        scratch,
    };
    let content = content::all(&release)?;
    for package in [
        deb::pack(&release, &content, &to)?,
        tarball::pack(&release, &content, &to)?,
    ] {
        let size = fs::metadata(&package).map_or(0, |file| file.len());
        println!("{} ({:.1} MB)", package.display(), size as f64 / 1e6);
    }
    fs::remove_dir_all(&release.scratch)
        .with_context(|| format!("cannot remove {}", release.scratch.display()))
}

/// The binary without what only debuggers read.
fn stripped(built: &Path, scratch: &Path) -> Result<PathBuf> {
    let binary = scratch.join("divvy");
    let mut strip = cargo::command(Path::new("strip"));
    strip.args(["--strip-unneeded", "--remove-section=.comment", "-o"]);
    done(strip.arg(&binary).arg(built))?;
    Ok(binary)
}

/// SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch), or the time of the last commit.
fn epoch() -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => done(cargo::command(Path::new("git")).args(["log", "-1", "--format=%ct"]))
            .context("without a git repository, set SOURCE_DATE_EPOCH to the sources' age")?,
    };
    let text = text.trim();
    text.parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is no number of seconds since 1970: {text}"))
}

/// Runs a program in the workspace and returns what it printed.
fn done(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A file of the repository.
fn source(path: &str) -> Result<Vec<u8>> {
    let file = workspace_root().join(path);
    fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writes a file, whose folder is made, with this mode whatever the umask.
fn put(file: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, bytes))
        .and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", file.display()))
}
