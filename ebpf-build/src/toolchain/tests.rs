//! The choice, on hosts made of shell scripts and empty folders.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

/// A folder with a `rustup` and Debian's `rustc`, each there only where a test puts it.
struct Host(TempDir);

impl Host {
    fn bare() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder can be made"))
    }

    fn with_nightly(self) -> Self {
        self.program("rustup", "run nightly rustc --print sysroot", "nightly")
    }

    fn with_rust_src(self) -> Self {
        fs::create_dir_all(self.nightly_core()).expect("the folder is ours");
        self
    }

    /// rustup as it answers when nightly is not installed.
    fn with_stable_alone(self) -> Self {
        self.program("rustup", "is never run with these words", "stable")
    }

    fn with_debian_rustc(self) -> Self {
        let words = format!("--print target-libdir --target {TARGET}");
        self.program("rustc", &words, "debian")
    }

    fn with_debian_core(self) -> Self {
        fs::create_dir_all(self.debian_core()).expect("the folder is ours");
        fs::write(self.debian_core().join("libcore-1.rlib"), "").expect("the folder is ours");
        self
    }

    fn nightly_core(&self) -> PathBuf {
        self.path("nightly/lib/rustlib/src/rust/library/core")
    }

    fn debian_core(&self) -> PathBuf {
        self.path("debian")
    }

    fn choice(&self) -> Result<Toolchain, NoCompiler> {
        Toolchain::choose(&self.path("rustup"), &self.path("rustc"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A program that, run with just these words, prints the path of `folder`; else it fails.
    fn program(self, name: &str, words: &str, folder: &str) -> Self {
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = '{words}' ] && echo '{}'\n",
            self.path(folder).display()
        );
        fs::write(self.path(name), script).expect("the folder is ours");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755))
            .expect("the file is ours");
        self
    }
}

/// One test, not five: a script is "busy" while another thread that starts one holds its file.
#[test]
fn nightly_with_source_then_debian_then_neither() {
    let both = Host::bare()
        .with_nightly()
        .with_rust_src()
        .with_debian_rustc()
        .with_debian_core();
    let core = both.nightly_core();
    assert_eq!(both.choice(), Ok(Toolchain::Nightly { core }));

    for rustup in [
        Host::with_nightly,
        Host::with_stable_alone,
        std::convert::identity,
    ] {
        let sourceless = rustup(Host::bare()).with_debian_rustc().with_debian_core();
        let core = sourceless.debian_core();
        assert_eq!(sourceless.choice(), Ok(Toolchain::Debian { core }));
    }

    let coreless = Host::bare().with_nightly().with_debian_rustc();
    assert_eq!(coreless.choice(), Err(NoCompiler));
    assert_eq!(Host::bare().choice(), Err(NoCompiler));
}

#[test]
fn the_message_names_both_ways() {
    let message = NoCompiler.to_string();
    assert!(message.contains("rustup toolchain install nightly --component rust-src"));
    assert!(message.contains("Debian 12"));
    assert!(message.contains("cargo xtask build"));
}
