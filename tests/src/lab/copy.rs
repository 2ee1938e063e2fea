//! A copy of this host's files, in which packages may be installed: what is written there lies in memory, in
//! a mount namespace that ends with the handle. Programs run there in the network of one host of the lab.
//!
//! systemd is not its process 1. `copy/systemctl` stands in for it: it starts, stops and reloads by the lines
//! of the installed unit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use super::{
    host::Host,
    process::{self, Process},
    wait::wait_until,
};

/// Mounts below the first argument and waits to be killed. `/run` and `/tmp` are empty there.
const MOUNT: &str = r#"
set -e
cd "$1"
mount -t tmpfs tmpfs memory
mkdir memory/upper memory/work
mount -t overlay overlay -o lowerdir=/,upperdir="$1/memory/upper",workdir="$1/memory/work" root
mount --rbind /proc root/proc
mount --rbind /sys root/sys
mount --rbind /dev root/dev
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/tmp
mkdir -p root/run/systemd/system root/run/stand-in
rm -f root/usr/sbin/policy-rc.d
mv root/usr/bin/systemctl root/usr/bin/systemctl.real
install -m 755 systemctl root/usr/bin/systemctl
touch ready
exec sleep infinity
"#;

/// See this file's head.
pub struct Copy {
    host: Host,
    folder: PathBuf,
    keeper: Process,
}

impl Copy {
    /// Makes one that uses the network of `host`. Panics where the kernel has no overlay.
    #[must_use]
    pub(super) fn new(host: &Host, folder: &Path) -> Self {
        let folder = folder.join("copy");
        for inner in ["memory", "root"] {
            let inner = folder.join(inner);
            fs::create_dir_all(&inner)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", inner.display()));
        }
        fs::write(folder.join("systemctl"), include_str!("copy/systemctl"))
            .unwrap_or_else(|error| panic!("cannot write into {}: {error}", folder.display()));
        let mut keeper = Command::new("unshare");
        keeper.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            MOUNT,
            "sh",
        ]);
        keeper.arg(&folder).stdin(Stdio::null());
        let mut keeper = host.spawn(keeper);
        wait_until("the copy is mounted", Duration::from_secs(10), || {
            let ended = keeper.ended();
            assert!(ended.is_none(), "the copy could not be mounted: {ended:?}");
            // Not in the overlay: the folder is the host's.
            folder.join("ready").exists()
        });
        Self {
            host: host.clone(),
            folder,
            keeper,
        }
    }

    /// Runs a program there to its end.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Output {
        let keeper = self.keeper.id().to_string();
        let root = self.folder.join("root").display().to_string();
        let enter = [
            "nsenter", "--target", &keeper, "--mount", "--", "chroot", &root,
        ];
        let environment = ["env", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"];
        self.host
            .run(&[enter.as_slice(), environment.as_slice(), words].concat())
    }

    /// What a program prints, errors too. Panics, with what it said, unless it succeeds.
    pub fn must(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = process::succeeded(words, &output);
        said + &String::from_utf8_lossy(&output.stderr)
    }

    /// Puts a file there.
    pub fn put(&self, path: &str, text: &[u8]) {
        // By way of the host's folder, which is seen from both sides.
        let passed = self.folder.join("passed");
        fs::write(&passed, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", passed.display()));
        let keeper = self.keeper.id().to_string();
        let (from, to) = (passed.display(), self.folder.join("root"));
        let words = [
            "nsenter",
            "--target",
            &keeper,
            "--mount",
            "--",
            "cp",
            "--no-preserve=mode",
        ];
        let to = format!("{}{path}", to.display());
        self.host
            .must_run(&[words.as_slice(), &[&from.to_string(), &to]].concat());
    }

    /// Files that were written there, and in `/run`, whose path holds this word; removed ones are none.
    #[must_use]
    pub fn written(&self, word: &str) -> Vec<String> {
        let keeper = self.keeper.id().to_string();
        let enter = ["nsenter", "--target", &keeper, "--mount", "--", "find"];
        let folders =
            ["memory/upper", "root/run"].map(|inner| self.folder.join(inner).display().to_string());
        let name = format!("*{word}*");
        // An overlay marks what was removed by a device.
        let which = ["-name", &name, "!", "-type", "c"];
        let words = [enter.as_slice(), &[&folders[0], &folders[1]], &which].concat();
        let said = self.host.must_run(&words);
        said.lines().map(str::to_owned).collect()
    }
}
