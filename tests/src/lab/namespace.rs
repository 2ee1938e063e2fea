//! A network namespace, and work done inside it.

use std::{fs::File, io, panic, path::PathBuf, thread};

use nix::sched::{CloneFlags, setns};

use super::process;

/// Where `ip netns` keeps the handles.
pub(super) const FOLDER: &str = "/run/netns";

/// A network namespace by the name under which `ip netns` lists it.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes the namespace, with loopback up and every automatism off that would send packets by
    /// itself or delay an address.
    pub(super) fn create(name: String) -> Self {
        process::must_run(&["ip", "netns", "add", &name]);
        let path = PathBuf::from(FOLDER).join(&name);
        let handle = File::open(&path)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        let namespace = Self { name, handle };
        for scope in ["all", "default"] {
            for (key, value) in [
                ("ipv6/conf", "accept_dad=0"),
                ("ipv6/conf", "accept_ra=0"),
                ("ipv6/conf", "router_solicitations=0"),
                ("ipv4/conf", "rp_filter=0"),
                ("ipv4/conf", "send_redirects=0"),
                ("ipv4/conf", "accept_redirects=0"),
            ] {
                let (leaf, value) = value.split_once('=').expect("each entry above has a `=`");
                namespace.set(&format!("{key}/{scope}/{leaf}"), value);
            }
        }
        process::must_run(&["ip", "-n", &namespace.name, "link", "set", "lo", "up"]);
        namespace
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Programs and sockets that
    /// it makes stay inside; files are the host's, unlike under `ip netns exec`, which hides the
    /// host's mounts below /sys.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    work()
                })
                .join()
                .unwrap_or_else(|payload| panic::resume_unwind(payload))
        })
    }

    /// Moves the calling thread into the namespace for good.
    pub(super) fn enter(&self) {
        setns(&self.handle, CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|error| panic!("cannot enter the namespace {}: {error}", self.name));
    }

    /// Sets a kernel parameter; `key` is its path below `/proc/sys/net`.
    pub(super) fn set(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.inside(|| std::fs::write(&path, value))
            .unwrap_or_else(|error: io::Error| {
                panic!("cannot set {path} to {value} in {}: {error}", self.name)
            });
    }
}
