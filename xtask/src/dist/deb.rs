//! Debian's package.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Release, content::File, done, put, source};
use crate::cargo;

const MAINTAINER: &str = "divvy maintainers <maintainers@divvy.example>";
const DESCRIPTION: &str = "Layer-4 load balancer in XDP
 An XDP program rewrites each packet to the backend chosen for its connection,
 inside the network driver. A daemon fills the program's tables from one YAML
 file and from health checks; packets keep flowing while it is restarted or
 upgraded. One binary is daemon and command line.
";
/// Files that only Debian has, below packaging/debian and in the package.
const OWN: [(&str, &str); 2] = [
    ("copyright", "usr/share/doc/divvy/copyright"),
    ("lintian-overrides", "usr/share/lintian/overrides/divvy"),
];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn pack(release: &Release, content: &[File], to: &Path) -> Result<PathBuf> {
    let root = release.scratch.join("deb");
    let architecture = done(cargo::command(Path::new("dpkg")).arg("--print-architecture"))?;
    let architecture = architecture.trim();
    for file in content.iter().filter(|file| !file.installed.is_empty()) {
        let path = root.join(&file.installed);
        put(&path, &file.bytes, file.mode)?;
        if file.compressed {
            compress(&path)?;
        }
    }
    for (name, path) in OWN {
        let text = source(&format!("packaging/debian/{name}"))?;
        put(&root.join(path), &text, 0o644)?;
    }
    let changelog = root.join("usr/share/doc/divvy/changelog");
    put(&changelog, changes(release)?.as_bytes(), 0o644)?;
    compress(&changelog)?;

    let control = root.join("DEBIAN");
    let size: u64 = content.iter().map(|file| file.bytes.len() as u64).sum();
    let fields = format!(
        "Package: divvy\nVersion: {}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\nInstalled-Size: \
         {}\nDepends: {}, systemd | systemd-standalone-sysusers | systemd-sysusers\nSection: net\nPriority: \
         optional\nDescription: {DESCRIPTION}",
        release.version,
        size.div_ceil(1024),
        libraries(release)?,
    );
    put(&control.join("control"), fields.as_bytes(), 0o644)?;
    put(
        &control.join("conffiles"),
        b"/etc/divvy/divvy.yaml\n",
        0o644,
    )?;
    put(
        &control.join("md5sums"),
        sums(&root, content)?.as_bytes(),
        0o644,
    )?;
    for script in SCRIPTS {
        let text = source(&format!("packaging/debian/{script}"))?;
        put(&control.join(script), &text, 0o755)?;
    }
    let package = to.join(format!("divvy_{}_{architecture}.deb", release.version));
    let mut build = cargo::command(Path::new("dpkg-deb"));
    build.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    build.args(["--root-owner-group", "-Zxz", "--build"]);
    // A folder's mode is what the umask left of it; and all are of one age.
    done(
        cargo::command(Path::new("chmod"))
            .args(["-R", "u=rwX,go=rX"])
            .arg(&root),
    )?;
    let mut find = cargo::command(Path::new("find"));
    let age = format!("--date=@{}", release.epoch);
    done(find.arg(&root).args(["-exec", "touch", &age, "{}", "+"]))?;
    done(build.arg(&root).arg(&package))?;
    Ok(package)
}

/// The packages of the libraries that the binary is linked with, as Debian finds them out.
fn libraries(release: &Release) -> Result<String> {
    let folder = release.scratch.join("shlibdeps");
    put(
        &folder.join("debian/control"),
        b"Source: divvy\n\nPackage: divvy\nArchitecture: any\n",
        0o644,
    )?;
    let mut find = cargo::command(Path::new("dpkg-shlibdeps"));
    find.current_dir(&folder).arg("-O");
    let said = done(find.arg("-e").arg(&release.binary))?;
    let named = said.trim().strip_prefix("shlibs:Depends=");
    Ok(named
        .with_context(|| format!("dpkg-shlibdeps names no libraries: {said}"))?
        .to_owned())
}

/// Debian's own changelog, which names the version; what changed is in CHANGELOG.md.
fn changes(release: &Release) -> Result<String> {
    let mut date = cargo::command(Path::new("date"));
    let date = done(
        date.args(["--utc", "--rfc-email", "--date"])
            .arg(format!("@{}", release.epoch)),
    )?;
    Ok(format!(
        "divvy ({}) stable; urgency=medium\n\n  * What changed is in CHANGELOG.md beside this file.\n\n -- \
         {MAINTAINER}  {}\n",
        release.version,
        date.trim()
    ))
}

fn compress(file: &Path) -> Result<()> {
    done(
        cargo::command(Path::new("gzip"))
            .args(["--no-name", "--best"])
            .arg(file),
    )
    .map(drop)
}

/// By which `dpkg --verify` finds files that changed.
fn sums(root: &Path, content: &[File]) -> Result<String> {
    let mut files = vec!["usr/share/doc/divvy/changelog.gz".to_owned()];
    files.extend(OWN.map(|(_, path)| path.to_owned()));
    for file in content.iter().filter(|file| !file.installed.is_empty()) {
        let ending = if file.compressed { ".gz" } else { "" };
        files.push(format!("{}{ending}", file.installed));
    }
    // Of the file that an admin edits dpkg itself keeps the sum.
    files.retain(|file| !file.starts_with("etc/"));
    files.sort();
    done(
        cargo::command(Path::new("md5sum"))
            .current_dir(root)
            .args(&files),
    )
}
