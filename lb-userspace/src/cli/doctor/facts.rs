//! What was read of the host, for the checks to judge. Nothing here looks at it.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::SystemTime};

use crate::{
    cli::capabilities::Capabilities,
    config::{Backend, Config, PortRange, Protocol, Service},
    datapath::{Device, Standing},
    net::{
        netdev::XdpFeatures,
        survey::{Survey, Way, candidates},
    },
};

#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The configuration's path.
    pub(super) file: PathBuf,
    pub(super) config: Result<Config, NoConfig>,
    pub(super) run_dir: PathBuf,
    pub(super) daemon: Daemon,
    pub(super) standing: Standing,
    pub(super) survey: Survey,
    pub(super) devices: BTreeMap<String, Device>,
    /// By interface, what its driver can do with XDP; empty where the kernel does not tell (before 6.3).
    pub(super) features: BTreeMap<String, XdpFeatures>,
    pub(super) switches: Switches,
    pub(super) kernel: Kernel,
    pub(super) process: Process,
    /// Bytes.
    pub(super) memory_available: Option<u64>,
    pub(super) listeners: Vec<Listener>,
    pub(super) clock: Clock,
}

/// Why there is no configuration to check against.
#[derive(Clone, Debug)]
pub(super) enum NoConfig {
    /// The file is not there.
    Missing,
    /// It is there; in words, what is wrong with it.
    Wrong(String),
}

/// The daemon of the run directory.
#[derive(Clone, Debug)]
pub(super) enum Daemon {
    /// It answers, and is this version.
    Runs(String),
    /// Nobody answers.
    Silent,
    /// This user may not ask, or the answer cannot be used; in words.
    Unknown(String),
}

impl Daemon {
    pub(super) fn runs(&self) -> bool {
        matches!(self, Self::Runs(_))
    }
}

/// What is set in `/proc/sys`; `None` where this kernel, or this namespace, does not have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Switches {
    pub(super) forwarding4: Option<bool>,
    pub(super) forwarding6: Option<bool>,
    /// IPv4 forwarding of each interface.
    pub(super) forwards4: BTreeMap<String, bool>,
    /// The number in force of each interface: 0, 1 (strict) or 2 (loose).
    pub(super) rp_filter: BTreeMap<String, u8>,
    /// Ports that the kernel chooses from for the host's own connections.
    pub(super) ephemeral: Option<PortRange>,
    /// Of these, ports that it leaves alone.
    pub(super) reserved: Vec<PortRange>,
    pub(super) jit: Option<bool>,
}

#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// Such as `6.1.0-18-amd64`.
    pub(super) release: String,
    /// It tells its own types.
    pub(super) btf: bool,
    /// It knows the file system `bpf`.
    pub(super) knows_bpffs: bool,
    pub(super) processors: u64,
}

/// The daemon's process if it runs, or else this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) is_daemon: bool,
    pub(super) capabilities: Capabilities,
    /// Most open files; `None` where that cannot be read.
    pub(super) open_files: Option<u64>,
}

/// A socket of this host that waits for connections or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) protocol: Protocol,
    /// Unspecified for all addresses.
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// Such as `tsc`.
    pub(super) source: Option<String>,
    pub(super) synchronised: Option<bool>,
    pub(super) now: SystemTime,
}

impl Facts {
    /// The interfaces that matter: those of the configuration, or those that one would name.
    pub(super) fn interfaces(&self) -> Vec<String> {
        match &self.config {
            Ok(config) => config.interfaces.clone(),
            Err(_) => (candidates(&self.survey).into_iter())
                .filter(|candidate| candidate.left_out.is_none())
                .map(|candidate| candidate.name)
                .collect(),
        }
    }

    pub(super) fn services(&self) -> &[Service] {
        self.config.as_ref().map_or(&[], |config| &config.services)
    }

    /// Each backend of each service, with the way to it, where there is one.
    pub(super) fn ways(
        &self,
    ) -> impl Iterator<Item = (&Service, &Backend, &Result<Way, String>)> + '_ {
        self.services().iter().flat_map(move |service| {
            (service.backends.iter()).filter_map(move |backend| {
                let way = self.survey.ways.get(&backend.address.ip())?;
                Some((service, backend, way))
            })
        })
    }

    /// Numbers of the programs on an interface that this run directory's daemon put there.
    pub(super) fn ours(&self, ifindex: u32) -> Vec<u32> {
        let links = self.standing.links.iter();
        let here = links.filter(|(at, _)| *at == ifindex);
        here.map(|(_, program)| *program).collect()
    }

    /// The XDP program is on some interface.
    pub(super) fn attached(&self) -> bool {
        !self.standing.links.is_empty()
    }
}

/// How a backend is called: `web/web-1`.
pub(super) fn place(service: &Service, backend: &Backend) -> String {
    format!("{}/{}", service.name, backend.name)
}
