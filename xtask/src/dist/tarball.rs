//! The tarball, for hosts without dpkg.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Release, content::File, done, put};
use crate::cargo;

pub(super) fn pack(release: &Release, content: &[File], to: &Path) -> Result<PathBuf> {
    let name = format!("divvy-{}-{}-linux", release.version, env::consts::ARCH);
    let root = release.scratch.join(&name);
    for file in content {
        put(&root.join(&file.in_tarball), &file.bytes, file.mode)?;
    }
    let tarball = to.join(format!("{name}.tar"));
    let mut tar = cargo::command(Path::new("tar"));
    // A folder's mode is what the umask left of it.
    tar.args([
        "--sort=name",
        "--owner=root:0",
        "--group=root:0",
        "--mode=u=rwX,go=rX",
    ]);
    tar.args(["--format=gnu", &format!("--mtime=@{}", release.epoch)]);
    tar.arg("--create").arg("--file").arg(&tarball);
    done(tar.arg("--directory").arg(&release.scratch).arg(&name))?;
    let mut gzip = cargo::command(Path::new("gzip"));
    done(gzip.args(["--force", "--no-name", "--best"]).arg(&tarball))?;
    Ok(tarball.with_extension("tar.gz"))
}
