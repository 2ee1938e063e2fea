//! What the packages hold, and where.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ebpf_build::workspace_root;

use super::{Release, done, source};
use crate::cargo;

/// A file of the packages.
pub(super) struct File {
    /// Where it is once installed by Debian's package, from the root.
    pub(super) installed: String,
    /// Where it is in the tarball.
    pub(super) in_tarball: String,
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    /// Whether Debian's package holds it compressed, as its policy wants of manual pages.
    pub(super) compressed: bool,
}

/// All files but those that only Debian has.
pub(super) fn all(release: &Release) -> Result<Vec<File>> {
    let mut files = vec![
        File {
            mode: 0o755,
            ..plain(
                "usr/bin/divvy",
                "bin/divvy",
                fs::read(&release.binary)
                    .with_context(|| format!("cannot read {}", release.binary.display()))?,
            )
        },
        plain(
            "etc/divvy/divvy.yaml",
            "etc/divvy.yaml",
            source("packaging/divvy.yaml")?,
        ),
        plain(
            "usr/lib/systemd/system/divvy.service",
            "systemd/divvy.service",
            source("packaging/systemd/divvy.service")?,
        ),
        plain(
            "usr/lib/sysusers.d/divvy.conf",
            "systemd/divvy.sysusers",
            source("packaging/systemd/divvy.sysusers")?,
        ),
    ];
    files.extend(told_by_the_binary(release)?);
    files.extend(documentation()?);
    for licence in ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"] {
        // Debian has these texts in a place of its own.
        files.push(plain("", licence, source(licence)?));
    }
    Ok(files)
}

/// Schema, completions and manual pages.
fn told_by_the_binary(release: &Release) -> Result<Vec<File>> {
    let say = |words: &[&str]| -> Result<Vec<u8>> {
        Ok(done(cargo::command(&release.binary).args(words))?.into_bytes())
    };
    let same = |path: &str, bytes| plain(&format!("usr/{path}"), path, bytes);
    let mut files = vec![
        same("share/divvy/divvy.schema.json", say(&["schema"])?),
        same(
            "share/bash-completion/completions/divvy",
            say(&["completions", "bash"])?,
        ),
        same(
            "share/zsh/vendor-completions/_divvy",
            say(&["completions", "zsh"])?,
        ),
        same(
            "share/fish/vendor_completions.d/divvy.fish",
            say(&["completions", "fish"])?,
        ),
    ];
    let folder = release.scratch.join("man");
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    say(&["man", "--to", &folder.display().to_string()])?;
    for (name, bytes) in below(&folder)? {
        files.push(File {
            compressed: true,
            ..same(&format!("share/man/man8/{name}"), bytes)
        });
    }
    Ok(files)
}

/// README, CHANGELOG, docs and what monitors need, whose links to one another hold.
fn documentation() -> Result<Vec<File>> {
    let mut files = vec![];
    for name in ["README.md", "CHANGELOG.md"] {
        files.push((name.to_owned(), source(name)?));
    }
    for (name, bytes) in below(&workspace_root().join("docs"))? {
        files.push((format!("docs/{name}"), bytes));
    }
    let folder = "packaging/monitoring";
    for (name, bytes) in below(&workspace_root().join(folder))? {
        files.push((format!("{folder}/{name}"), bytes));
    }
    let files = files.into_iter();
    Ok(files
        .map(|(name, bytes)| plain(&format!("usr/share/doc/divvy/{name}"), &name, bytes))
        .collect())
}

/// All files below a folder by their paths from there, in order.
fn below(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let inner = below(&path)?.into_iter();
            files.extend(inner.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((name.into_owned(), bytes));
        }
    }
    Ok(files)
}

fn plain(installed: &str, in_tarball: &str, bytes: Vec<u8>) -> File {
    File {
        installed: installed.to_owned(),
        in_tarball: in_tarball.to_owned(),
        bytes,
        mode: 0o644,
        compressed: false,
    }
}
