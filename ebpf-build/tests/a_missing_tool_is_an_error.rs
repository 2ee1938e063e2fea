//! With a tool gone, `cargo build` fails with one clear error: the object of the last build never
//! passes for a new one. Runs cargo on a small workspace around this crate, whose nightly is a
//! shell script.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

const WORKSPACE: &str = r#"
    [workspace]
    resolver = "3"
    members = ["app", "ebpf-build"]
    [workspace.package]
    version = "0.1.0"
    edition = "2024"
    rust-version = "1.95"
    license = "MIT"
    publish = false
    [workspace.dependencies]
    anyhow = "1"
    tempfile = "3"
    thiserror = "2"
    [workspace.lints]
"#;
const APP: &str = r#"
    [package]
    name = "app"
    edition = "2024"
    build = "build.rs"
    [build-dependencies]
    ebpf-build.path = "../ebpf-build"
"#;
const APP_BUILD: &str =
    r#"fn main() { ebpf_build::compile("app-ebpf", &["object"], &[]).expect("it compiles") }"#;
const APP_MAIN: &str =
    r#"fn main() { print!("{}", include_str!(concat!(env!("OUT_DIR"), "/object"))) }"#;
/// Says where its source lies, and "compiles" an object.
const RUSTUP: &str = r#"#!/bin/sh
    case "$*" in
        "run nightly rustc --print sysroot") dirname "$0" ;;
        "run nightly cargo build "*)
            while [ "$1" != --target-dir ]; do shift; done
            mkdir -p "$2/bpfel-unknown-none/release"
            echo an object > "$2/bpfel-unknown-none/release/object" ;;
    esac
"#;
const LINKER: &str = ".tools/bin/bpf-linker";
const NIGHTLY_CORE: &str = "bin/lib/rustlib/src/rust/library/core";

#[test]
fn a_missing_tool_is_an_error() {
    let workspace = Workspace::make();
    workspace.build().expect("every tool is there");

    workspace.remove(LINKER);
    let error = workspace.build().expect_err("the linker is gone");
    assert!(error.contains("bpf-linker is missing"), "{error}");
    assert!(error.contains("cargo xtask build"), "{error}");
    assert!(!error.contains("Caused by"), "{error}");

    workspace.write(LINKER, "");
    workspace.build().expect("the linker is back");
    // A Debian may have the other compiler, which then finds nothing here that it could compile.
    workspace.remove(NIGHTLY_CORE);
    workspace
        .build()
        .expect_err("the compiler's source is gone");
}

struct Workspace(PathBuf);

impl Workspace {
    fn make() -> Self {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing-tool"));
        // All but the folder `target`, which saves time.
        for folder in ["bin", ".tools"] {
            let _ = fs::remove_dir_all(workspace.0.join(folder));
        }
        let _ = fs::remove_file(workspace.0.join("ebpf-build"));

        workspace.write("Cargo.toml", WORKSPACE);
        workspace.write("app/Cargo.toml", APP);
        workspace.write("app/build.rs", APP_BUILD);
        workspace.write("app/src/main.rs", APP_MAIN);
        workspace.write("app-ebpf/src/main.rs", "");
        workspace.write("lb-common/src/lib.rs", "");
        workspace.write("bin/rustup", RUSTUP);
        workspace.write(LINKER, "");
        workspace.write(&format!("{NIGHTLY_CORE}/src/lib.rs"), "");
        fs::set_permissions(
            workspace.0.join("bin/rustup"),
            fs::Permissions::from_mode(0o755),
        )
        .expect("the file is ours");
        symlink(crate_folder, workspace.0.join("ebpf-build")).expect("the folder is ours");
        fs::copy(
            crate_folder.join("../Cargo.lock"),
            workspace.0.join("Cargo.lock"),
        )
        .expect("the workspace has a lock file");
        workspace
    }

    /// What cargo wrote to stderr, as Ok where it succeeded.
    fn build(&self) -> Result<String, String> {
        let mut path = self.0.join("bin").into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").expect("cargo sets a path"));
        let output = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--package", "app"])
            .current_dir(&self.0)
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .output()
            .expect("cargo can be started");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(stderr)
        } else {
            Err(stderr)
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        let folder = path.parent().expect("the name is not empty");
        fs::create_dir_all(folder).expect("the folder is ours");
        fs::write(path, text).expect("the folder is ours");
    }

    fn remove(&self, name: &str) {
        let path = self.0.join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).expect("the folder is ours");
        } else {
            fs::remove_file(path).expect("the file is ours");
        }
    }
}
