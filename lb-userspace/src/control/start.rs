//! Starting: what the host must have, what an earlier daemon left, and the first tables, before a
//! packet meets the program.

use std::{
    collections::{BTreeMap, HashMap},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, task::block_in_place, time::timeout_at};
use tracing::{info, warn};

use super::{
    COMMAND_QUEUE, Control, Handle,
    announce::Announced,
    arrivals::Arrivals,
    changes::Changes,
    decisions::Decisions,
    events,
    overrides::{Kept, StateError, StateFile},
    panics::Panics,
    sweeper,
    unused::Unused,
    view::observed::ChangeKind,
};
use crate::{
    config::{Config, XdpMode},
    datapath::{Capacity, Datapath, DatapathError, Mode, Report},
    health::Checker,
    net::{
        NetError, Watcher,
        links::{self, Link, Xdp},
        sysctl,
    },
    tables::{RingCache, ids::Ids},
};

/// Longest wait for first probes and next hops before packets are taken. Backends that have not
/// answered by then start as down.
const FIRST_RESULTS: Duration = Duration::from_secs(3);
/// Events that wait for the loop.
const EVENT_QUEUE: usize = 1024;

/// Where the daemon finds and puts things.
#[derive(Clone, Debug)]
pub struct Options {
    pub config_path: PathBuf,
    pub run_dir: PathBuf,
    /// Overrides are kept here, in a file of this run directory's own.
    pub state_dir: PathBuf,
    /// Log each new flow.
    pub trace: bool,
}

impl Options {
    /// The path as shown to people.
    pub(super) fn config_name(&self) -> String {
        self.config_path.display().to_string()
    }

    /// The file to read.
    pub(super) fn config_path(&self) -> &Path {
        &self.config_path
    }
}

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for what this host does not have.
    #[error(
        "{}: {key}: interface {name} does not exist; this host has {present}: name \
         those that packets come by",
        file.display()
    )]
    NoInterface {
        file: PathBuf,
        key: String,
        name: String,
        present: String,
    },
    #[error(
        "cannot serve metrics on {address}: {source}; free the port or change `metrics` in the \
         configuration"
    )]
    Metrics {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    #[error("the tables could not be filled: {0}")]
    Tables(String),
}

impl StartError {
    /// The configuration is at fault.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self, Self::NoInterface { .. })
    }
}

/// The sockets for metrics, as they come and go with the configuration.
pub type MetricsSockets = mpsc::Receiver<Option<TcpListener>>;

impl Control {
    /// Brings everything up to the point at which packets are balanced, or takes back what it made.
    ///
    /// # Errors
    /// Says what is missing and what to do about it.
    pub async fn start(
        options: Options,
        config: Config,
    ) -> Result<(Self, Handle, MetricsSockets), StartError> {
        let before = Datapath::before(&options.run_dir);
        let started = Self::bring_up(options, config).await;
        if started.is_err()
            && let Err(error) = block_in_place(|| before.restore())
        {
            warn!("this start leaves something behind: {error}; `divvy detach` removes it");
        }
        started
    }

    async fn bring_up(
        options: Options,
        config: Config,
    ) -> Result<(Self, Handle, MetricsSockets), StartError> {
        let links = links(&config, &options.config_path).await?;
        let listener = bind_metrics(&config)?;
        block_in_place(Datapath::require_kernel)?;
        let capacity = Capacity::for_limits(config.limits.flows, config.limits.half_open);
        let mut datapath =
            block_in_place(|| Datapath::open(&options.run_dir, capacity, options.trace))?;
        let applied = block_in_place(|| datapath.read())?;
        let flow_tables = Arc::new(datapath.flow_tables()?);
        let counters = Arc::new(datapath.counters()?);
        let flow_sweeper = datapath.sweeper()?;

        let (commands_in, commands) = mpsc::channel(COMMAND_QUEUE);
        let (health_in, health_events) = mpsc::channel(EVENT_QUEUE);
        let (net_in, net_events) = mpsc::channel(EVENT_QUEUE);
        let (metrics, metrics_sockets) = mpsc::channel(1);
        let now = SystemTime::now();
        let state = StateFile::new(&options.state_dir, &options.run_dir);
        let mut control = Self {
            options,
            places: events::places(&config),
            config,
            config_loaded: now,
            last_error: None,
            changes: Changes::default(),
            started: now,
            ids: Ids::adopt(&applied),
            datapath,
            flow_tables,
            counters,
            applied,
            rings: RingCache::default(),
            checker: Checker::new(health_in),
            probed: HashMap::new(),
            tallies: HashMap::new(),
            overrides: Kept::new(state),
            arrivals: Arrivals::default(),
            due: None,
            decisions: Decisions::default(),
            panics: Panics::new(),
            announced: Announced::default(),
            watcher: Watcher::spawn(net_in)?,
            next_hops: HashMap::new(),
            interfaces: BTreeMap::new(),
            unreachable: HashMap::new(),
            on_veth: links.iter().any(|link| link.veth),
            report: Report::default(),
            unused: Unused::default(),
            file: None,
            looks: 0,
            tracing: false,
            metrics,
            commands,
            health_events,
            net_events,
            reports: sweeper::spawn(flow_sweeper).map_err(StartError::Thread)?,
        };
        control.adopt_health();
        control.adopt_overrides()?;
        control.look_after();
        control.first_results().await;
        // The first tables wait for all backends' first results: those decisions are not late.
        control.decisions.forget();
        (control.apply()).map_err(|error| StartError::Tables(error.to_string()))?;
        block_in_place(|| {
            control.datapath.begin_takeover()?;
            control.attach_all(&links)?;
            control.datapath.end_takeover()
        })?;
        control.announce().await;
        control.move_metrics(listener).await;
        // Only now: a start that fails leaves the file as it was.
        control.save_overrides();
        let handle = Handle {
            commands: commands_in,
            decision_to_tables: control.decisions.took_seconds(),
        };
        Ok((control, handle, metrics_sockets))
    }

    /// Waits until everything is known that the first tables are made of, but not for ever.
    async fn first_results(&mut self) {
        let deadline = (Instant::now() + FIRST_RESULTS).into();
        while !self.knows_all() {
            let next = async {
                tokio::select! {
                    Some(event) = self.health_events.recv() => (Some(event), None),
                    Some(event) = self.net_events.recv() => (None, Some(event)),
                }
            };
            match timeout_at(deadline, next).await {
                Ok((Some(event), _)) => {
                    self.note_health(event);
                    while let Ok(event) = self.health_events.try_recv() {
                        self.note_health(event);
                    }
                }
                Ok((_, Some(event))) => {
                    self.note_net(event);
                    while let Ok(event) = self.net_events.try_recv() {
                        self.note_net(event);
                    }
                    self.show_ways();
                }
                Ok(_) | Err(_) => {
                    warn!("some backends have not been probed yet; they start as down");
                    return;
                }
            }
        }
    }

    /// Attaches the program where the configuration wants it, and nowhere else.
    pub(super) fn attach_all(&mut self, links: &[Link]) -> Result<(), DatapathError> {
        self.attach_each(links)?;
        let wanted = links.iter().map(|link| link.name.as_str()).collect();
        self.datapath.detach_others(&wanted)?;
        self.warn_if_not_forwarding();
        Ok(())
    }

    /// Attaches the program to these interfaces, where it is not.
    pub(super) fn attach_each(&mut self, links: &[Link]) -> Result<(), DatapathError> {
        let mut anew = Vec::new();
        for link in links {
            let present = match link.xdp {
                Some(Xdp::Native) => Some(Mode::Native),
                Some(Xdp::Generic) => Some(Mode::Generic),
                Some(Xdp::Other) | None => None,
            };
            let modes: &[Mode] = match self.config.xdp {
                XdpMode::Auto => &[Mode::Native, Mode::Generic],
                XdpMode::Native => &[Mode::Native],
                XdpMode::Generic => &[Mode::Generic],
            };
            if (self.datapath)
                .attached_mode(&link.name, link.ifindex)
                .is_some_and(|mode| modes.contains(&mode))
            {
                continue;
            }
            let mode = (self.datapath).attach(&link.name, link.ifindex, modes, present)?;
            let words = format!("XDP on {}: {} mode", link.name, mode.name());
            info!("{words}");
            self.changes.note(ChangeKind::Network, words);
            anew.push(&link.name);
        }
        // Only now: an interface that cannot be had leaves the others' settings as they were.
        for interface in anew {
            accept_own_source(interface);
        }
        Ok(())
    }

    fn warn_if_not_forwarding(&self) {
        let uses = |v4: bool| {
            super::probes::backend_addresses(&self.config).any(|address| address.is_ipv4() == v4)
        };
        for (used, forwarding, name) in [
            (uses(true), sysctl::ipv4_forwarding(), "net.ipv4.ip_forward"),
            (
                uses(false),
                sysctl::ipv6_forwarding(),
                "net.ipv6.conf.all.forwarding",
            ),
        ] {
            if used && forwarding.is_ok_and(|enabled| !enabled) {
                warn!(
                    "{name} is 0: a packet for a backend whose MAC address is not known at that \
                     moment is lost; set it to 1"
                );
            }
        }
    }
}

/// The configuration's interfaces as the kernel knows them.
pub(super) async fn links(config: &Config, file: &Path) -> Result<Vec<Link>, StartError> {
    let (found, missing) = links_there(config).await?;
    let for_vips = config.announce.interface.as_ref();
    if missing.is_empty() && for_vips.is_none() {
        return Ok(found);
    }
    let present = links::links().await?;
    let absent = |name: &&String| present.iter().all(|link| link.name != **name);
    let (key, name) = match (missing.first(), for_vips.filter(absent)) {
        (Some(index), _) => (format!("interfaces[{index}]"), &config.interfaces[*index]),
        (None, Some(name)) => ("announce.interface".to_owned(), name),
        (None, None) => return Ok(found),
    };
    let names: Vec<&str> = present.iter().map(|link| link.name.as_str()).collect();
    Err(StartError::NoInterface {
        file: file.to_owned(),
        key,
        name: name.clone(),
        present: names.join(", "),
    })
}

/// Those of them that exist, and the places in the configuration of those that do not.
pub(super) async fn links_there(config: &Config) -> Result<(Vec<Link>, Vec<usize>), NetError> {
    let present = links::links().await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (index, name) in config.interfaces.iter().enumerate() {
        match present.iter().find(|link| link.name == *name) {
            Some(link) => found.push(link.clone()),
            None => missing.push(index),
        }
    }
    Ok((found, missing))
}

pub(super) fn bind_metrics(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.metrics else {
        return Ok(None);
    };
    let failed = |source| StartError::Metrics { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Some(listener))
}

/// Lets the kernel forward rewritten packets whose source is one of the host's own addresses: it
/// takes them for martians otherwise (`fib_validate_source`, net/ipv4/fib_frontend.c), and they
/// come by only while a backend's MAC address is unknown.
fn accept_own_source(interface: &str) {
    match sysctl::accept_local(interface) {
        Ok(true) => {}
        Ok(false) => match sysctl::set_accept_local(interface, true) {
            Ok(()) => info!("set net.ipv4.conf.{interface}.accept_local to 1"),
            Err(error) => warn!("cannot set net.ipv4.conf.{interface}.accept_local: {error}"),
        },
        Err(error) => warn!("cannot read net.ipv4.conf.{interface}.accept_local: {error}"),
    }
}
