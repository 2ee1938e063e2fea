//! Looking at the host. Whatever cannot be read is left out; the checks about it then do not apply.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
    thread,
    time::SystemTime,
};

use tokio::net::UnixStream;

use super::{
    facts::{Clock, Daemon, Facts, Kernel, NoConfig, Process, Switches},
    listeners,
};
use crate::{
    api::client::{Client, ClientError},
    cli::{Failure, Places, capabilities::Capabilities},
    config::{self, Config, ConfigError, PortRange},
    datapath::{Datapath, Device, clock_is_synchronised},
    net::{
        netdev::{Netdev, XdpFeatures},
        survey::{Survey, survey},
        sysctl,
    },
};

const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Everything that the checks judge.
///
/// # Errors
/// When the kernel does not tell of its network.
pub(super) async fn facts(places: &Places) -> Result<Facts, Failure> {
    let config = configuration(&places.config);
    let survey = survey(&destinations(config.as_ref().ok()))
        .await
        .map_err(Failure::failed)?;
    let names: Vec<String> = (survey.links.iter())
        .map(|seen| seen.link.name.clone())
        .collect();
    let daemon = match Client::new(&places.run_dir).status().await {
        Ok(status) => Daemon::Runs(status.version),
        Err(ClientError::Unreachable { source, .. }) if is_absent(&source) => Daemon::Silent,
        Err(error) => Daemon::Unknown(error.to_string()),
    };
    Ok(Facts {
        file: places.config.clone(),
        run_dir: places.run_dir.clone(),
        standing: Datapath::standing(&places.run_dir),
        devices: (names.iter())
            .map(|name| (name.clone(), Device::look_at(name)))
            .collect(),
        features: features(&survey),
        switches: switches(&names),
        kernel: kernel(),
        process: process(&places.run_dir).await,
        memory_available: memory_available(),
        listeners: listeners::all(),
        clock: Clock {
            source: fs::read_to_string(CLOCK_SOURCE)
                .ok()
                .map(|text| text.trim().to_owned()),
            synchronised: clock_is_synchronised().ok(),
            now: SystemTime::now(),
        },
        config,
        daemon,
        survey,
    })
}

/// Nobody listens.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

fn configuration(file: &Path) -> Result<Config, NoConfig> {
    let missing = |error: &ConfigError| {
        matches!(error, ConfigError::Read { cause, .. }
            if cause.kind() == std::io::ErrorKind::NotFound)
    };
    config::load(file).map_err(|error| {
        if missing(&error) {
            return NoConfig::Missing;
        }
        let words = error.to_string();
        let mut lines = words.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        NoConfig::Wrong(match lines.count() {
            0 => first,
            more => format!("{first} (and {more} more)"),
        })
    })
}

/// The addresses of backends and vips.
fn destinations(config: Option<&Config>) -> Vec<IpAddr> {
    let mut all = BTreeSet::new();
    for service in config.into_iter().flat_map(|config| &config.services) {
        all.extend(service.backends.iter().map(|backend| backend.address.ip()));
        all.extend(service.listen.iter().map(|vip| vip.address));
    }
    all.into_iter().collect()
}

fn features(survey: &Survey) -> BTreeMap<String, XdpFeatures> {
    let Ok(netdev) = Netdev::open() else {
        return BTreeMap::new();
    };
    (survey.links.iter())
        .filter_map(|seen| {
            let features = netdev.features(seen.link.ifindex).ok()?;
            Some((seen.link.name.clone(), features))
        })
        .collect()
}

fn switches(interfaces: &[String]) -> Switches {
    let each = |read: fn(&str) -> std::io::Result<u8>| -> BTreeMap<String, u8> {
        (interfaces.iter())
            .filter_map(|name| Some((name.clone(), read(name).ok()?)))
            .collect()
    };
    Switches {
        forwarding4: sysctl::ipv4_forwarding().ok(),
        forwarding6: sysctl::ipv6_forwarding().ok(),
        forwards4: (each(sysctl::ipv4_forwarding_of).into_iter())
            .map(|(name, value)| (name, value != 0))
            .collect(),
        rp_filter: each(sysctl::rp_filter),
        ephemeral: (sysctl::ephemeral_ports().ok()).map(|(first, last)| PortRange { first, last }),
        reserved: (sysctl::reserved_ports().unwrap_or_default().into_iter())
            .map(|(first, last)| PortRange { first, last })
            .collect(),
        jit: sysctl::bpf_jit().ok(),
    }
}

fn kernel() -> Kernel {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    Kernel {
        release: release.trim().to_owned(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        knows_bpffs: systems.split_whitespace().any(|word| word == "bpf"),
        processors: thread::available_parallelism().map_or(1, |n| n.get() as u64),
    }
}

/// The daemon's, where it can be found behind its socket.
async fn process(run_dir: &Path) -> Process {
    let stream = UnixStream::connect(run_dir.join("divvy.sock")).await;
    let daemon = stream
        .ok()
        .and_then(|stream| stream.peer_cred().ok()?.pid())
        .map(|pid| pid.to_string())
        .filter(|pid| Path::new("/proc").join(pid).exists());
    let whose = daemon.as_deref().unwrap_or("self");
    Process {
        is_daemon: daemon.is_some(),
        capabilities: Capabilities::of(whose),
        open_files: open_files(whose),
    }
}

/// The soft limit of a process.
fn open_files(process: &str) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = (limits.lines()).find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn memory_available() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = (told.lines()).find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}
