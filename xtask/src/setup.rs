//! Makes the host able to build and test: looks for each tool, installs what is missing, says what
//! and why. On a host that has everything it only looks.

mod debian;
mod linker;
mod machine;
mod rivals;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use ebpf_build::{DEBIAN_COMPILER, NoCompiler, Toolchain, workspace_root};

use crate::cargo;
use debian::Package;
pub(crate) use debian::is_root;
pub(crate) use machine::Machine;
pub(crate) use rivals::unpack as unpack_rivals;

/// What will be done after the setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compile.
    Build,
    /// Compile, then run the lab.
    Lab,
}

/// A server of the lab: the host's, or else one unpacked into `.tools`. Installed as a package it would run on the host,
/// now and at every boot.
struct Server {
    /// Debian's package, and the program.
    package: &'static str,
    /// Where the program lies in it.
    program: &'static str,
    purpose: &'static str,
}

const SERVERS: [Server; 2] = [
    Server {
        package: "nginx",
        program: "usr/sbin/nginx",
        purpose: "the servers of the lab",
    },
    Server {
        package: "prometheus",
        program: "usr/bin/prometheus",
        purpose: "scrapes the daemon in the lab, and judges metrics and alarms",
    },
];

/// Programs of the lab: program, Debian package, purpose. [`SERVERS`] are not among them.
const LAB_PROGRAMS: [(&str, &str, &str); 14] = [
    (
        "ip",
        "iproute2",
        "namespaces, links and counters of the lab",
    ),
    ("ethtool", "ethtool", "offloads of the lab's links"),
    ("curl", "curl", "a client in the lab"),
    ("ping", "iputils-ping", "echo requests in the lab"),
    (
        "traceroute",
        "traceroute",
        "a client in the lab that looks for hops",
    ),
    ("tshark", "tshark", "reads the captures that a trace writes"),
    ("chromium", "chromium", "looks at the status page"),
    (
        "chromedriver",
        "chromium-driver",
        "has tests look through chromium",
    ),
    ("strace", "strace", "counts the daemon's writes to its maps"),
    ("wrk", "wrk", "a client in the lab, under load"),
    ("iperf3", "iperf3", "long streams in the lab"),
    ("dnsmasq", "dnsmasq-base", "a DNS server in the lab"),
    ("dnsperf", "dnsperf", "DNS under load in the lab"),
    (
        "systemd-analyze",
        "systemd",
        "judges the unit, without running it",
    ),
];

/// Programs that make a Debian package.
const PACKAGING_PROGRAMS: [(&str, &str, &str); 2] = [
    (
        "dpkg-shlibdeps",
        "dpkg-dev",
        "which libraries the package needs",
    ),
    (
        "strip",
        "binutils",
        "leaves out of the binary what debuggers read",
    ),
];

/// Installs what is missing to make packages.
pub(crate) fn ensure_packaging() -> Result<()> {
    let missing: Vec<Package> = (PACKAGING_PROGRAMS.iter())
        .filter(|(program, ..)| !cargo::finds(program))
        .map(|&(_, name, purpose)| Package { name, purpose })
        .collect();
    if !missing.is_empty() && !debian::is_here() {
        bail!("{}", elsewhere(&missing, &[]));
    }
    debian::install(&missing).context("a tool is missing")
}

/// Installs what is missing for `need`.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let toolchain = Toolchain::find();
    let mut packages = Vec::new();
    if toolchain.is_err() {
        packages.extend(DEBIAN_COMPILER.map(|(name, purpose)| Package { name, purpose }));
    }
    let linker_missing = !linker::is_present()
        && match &toolchain {
            Ok(Toolchain::Nightly { .. }) => linker::is_to_be_built_for_nightly()?,
            Ok(Toolchain::Debian { .. }) | Err(NoCompiler) => true,
        };
    if linker_missing && !debian::has_llvm() {
        packages.extend(debian::LLVM);
    }
    if need == Need::Lab {
        packages.extend(
            LAB_PROGRAMS
                .iter()
                .filter(|(program, ..)| !cargo::finds(program))
                .map(|&(_, name, purpose)| Package { name, purpose }),
        );
    }
    let servers: Vec<&Server> = (SERVERS.iter())
        .filter(|server| need == Need::Lab && !server.is_there())
        .collect();
    if (!packages.is_empty() || !servers.is_empty()) && !debian::is_here() {
        toolchain?;
        bail!("{}", elsewhere(&packages, &servers));
    }

    debian::install(&packages).with_context(|| match toolchain {
        Err(NoCompiler) => {
            "no compiler for eBPF, be it Debian's or a nightly (`rustup toolchain install nightly \
             --component rust-src`)"
        }
        Ok(_) => "a tool is missing",
    })?;
    for server in servers {
        println!(
            "unpacking {} into .tools: {}",
            server.package, server.purpose
        );
        debian::unpack(&[server.package], &server.folder())?;
    }
    if toolchain.is_err() {
        Toolchain::find().context(
            "the packages are installed, yet /usr/bin/rustc does not compile for eBPF: is it the \
             one of the package rustc-web?",
        )?;
    }
    if linker_missing {
        linker::build()?;
    }
    Ok(())
}

impl Server {
    fn is_there(&self) -> bool {
        cargo::finds(self.package) || self.folder().join(self.program).is_file()
    }

    fn folder(&self) -> PathBuf {
        workspace_root().join(".tools").join(self.package)
    }
}

/// What to do on a host without apt-get.
fn elsewhere(packages: &[Package], servers: &[&Server]) -> String {
    let names = packages.iter().map(|package| package.name);
    let servers = servers.iter().map(|server| server.package);
    let names: Vec<&str> = names.chain(servers).collect();
    format!(
        "missing: {}. On Debian 12 this command installs them; here, please install them yourself",
        names.join(", ")
    )
}
