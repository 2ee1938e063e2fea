//! The packages that `cargo xtask dist` makes of the binary under test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Packs the binary under test.
pub(crate) fn dist(to: &Path, version: &str) -> Vec<PathBuf> {
    let this = env::current_exe().expect("the kernel knows where this program lies");
    let folder = this.ancestors().nth(2).expect("a folder of cargo's");
    let (xtask, binary) = (folder.join("xtask"), folder.join("divvy"));
    let output = Command::new(&xtask)
        .args(["dist", "--package-version", version, "--binary"])
        .arg(&binary)
        .arg("--to")
        .arg(to)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "cannot start {} ({error}): `cargo xtask test` builds it first",
                xtask.display()
            )
        });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut files: Vec<PathBuf> = (fs::read_dir(to).expect("made").flatten())
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// The packages of this version, packed once for all tests.
pub(crate) fn this() -> &'static [PathBuf] {
    static PACKED: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PACKED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dist");
        // Of an earlier run, perhaps with other names.
        let _ = fs::remove_dir_all(&folder);
        dist(&folder, "0.1.0")
    })
}

pub(crate) fn named<'a>(files: &'a [PathBuf], ending: &str) -> &'a Path {
    let has = |file: &&PathBuf| file.to_string_lossy().ends_with(ending);
    let found = files.iter().find(has);
    found.unwrap_or_else(|| panic!("no {ending} among {files:?}"))
}
