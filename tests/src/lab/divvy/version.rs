//! The binary under test and the one that it is upgraded to, which differ in the layout of their tables.

use std::{env, fs, path::PathBuf};

use lb_common::LAYOUT_VERSION;

use super::{Divvy, lock};

impl Divvy {
    /// The layouts that are pinned, such as `v8`.
    #[must_use]
    pub fn layouts(&self) -> Vec<String> {
        let folders = fs::read_dir(self.run_dir().join("bpf"));
        let mut names: Vec<String> = (folders.into_iter().flatten().flatten())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with('v'))
            .collect();
        names.sort();
        names
    }

    /// Starts the daemon and waits for nothing.
    pub fn begin_to_start(&self) {
        self.launch();
    }

    /// From now on, daemon and command line are of this version. Whatever runs is left to run.
    pub fn become_version(&self, version: Version) {
        *lock(&self.version) = version;
    }

    pub(super) fn version(&self) -> Version {
        *lock(&self.version)
    }
}

/// Which of two binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one under test.
    This,
    /// The same with another layout of its tables (feature `second-layout` of lb-common): what this one is
    /// upgraded to, and from where it is downgraded.
    SecondLayout,
}

impl Version {
    /// Layout of its tables.
    #[must_use]
    pub fn layout(self) -> String {
        match self {
            Self::This => format!("v{LAYOUT_VERSION}"),
            Self::SecondLayout => format!("v{}", 1_000 + LAYOUT_VERSION),
        }
    }

    /// The binary that was built with this program: beside it, or one folder up for a test.
    #[must_use]
    pub fn binary(self) -> PathBuf {
        let name = match self {
            Self::This => "divvy",
            Self::SecondLayout => "divvy-second-layout",
        };
        if let (Self::This, Some(path)) = (self, env::var_os("DIVVY_BIN")) {
            return path.into();
        }
        let this = env::current_exe().expect("the kernel knows where this program lies");
        this.ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
            .unwrap_or_else(|| {
                panic!(
                    "no {name} near {}: `cargo xtask test` makes it first",
                    this.display()
                )
            })
    }
}
