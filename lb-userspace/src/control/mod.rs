//! The control loop: an event comes in (a probe's result, a changed next hop, a command, a sweep's
//! report), what the tables should hold is computed, and the difference is applied.

mod announce;
mod arrivals;
mod changes;
mod decisions;
mod diff;
mod events;
mod explain;
mod file;
mod handle;
mod observe;
mod overrides;
mod packet;
mod panics;
mod probes;
mod reload;
mod repair;
mod start;
mod status;
mod sweeper;
mod targets;
mod trace;
mod unused;
pub mod view;
mod ways;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, task::block_in_place, time::sleep_until};
use tracing::{debug, error, info};

pub(crate) use self::status::rfc3339;
use self::{
    announce::Announced, arrivals::Arrivals, changes::Changes, decisions::Decisions,
    file::FileWatch, handle::Command, overrides::Kept, panics::Panics, unused::Unused,
    view::Detached,
};
pub use self::{
    handle::{CommandError, Handle, Peer},
    start::{MetricsSockets, Options, StartError},
};
use crate::{
    config::Config,
    datapath::{Counters, Datapath, DatapathError, FlowTables, Report},
    health::{self, Checker, Tally},
    net::{self, NextHop, Watcher},
    tables::{self, Health, Inputs, RingCache, TableError, Tables, diff::difference, ids::Ids},
};

/// Questions to the control loop that wait for their turn.
const COMMAND_QUEUE: usize = 64;
/// Until a change by time that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop; packets keep flowing unless `on_exit` says otherwise.
    Stopped,
    /// Everything was taken off.
    Detached,
}

/// What is known of a backend's health.
struct Probed {
    health: Health,
    reason: String,
}

/// The control loop's state.
pub struct Control {
    options: Options,
    config: Config,
    /// Where in it each backend stands, by identity: its service's place and its own.
    places: HashMap<u64, (usize, usize)>,
    config_loaded: SystemTime,
    last_error: Option<String>,
    changes: Changes,
    started: SystemTime,

    datapath: Datapath,
    flow_tables: Arc<FlowTables>,
    counters: Arc<Counters>,
    applied: Tables,
    ids: Ids,
    rings: RingCache,

    checker: Checker,
    probed: HashMap<u64, Probed>,
    /// What came of probes, by service.
    tallies: HashMap<String, Tally>,
    overrides: Kept,
    arrivals: Arrivals,
    /// When the tables change next by the passing of time alone.
    due: Option<Instant>,
    decisions: Decisions,
    panics: Panics,
    announced: Announced,
    watcher: Watcher,
    next_hops: HashMap<IpAddr, NextHop>,
    /// This host's, by index.
    interfaces: BTreeMap<u32, net::Interface>,
    /// Why there is no next hop, for addresses that have none.
    unreachable: HashMap<IpAddr, String>,
    /// Some interface of the configuration is one end of a veth pair.
    on_veth: bool,

    report: Report,
    unused: Unused,
    /// With `watch: true`.
    file: Option<FileWatch>,
    /// How often the tables were checked.
    looks: usize,
    /// Somebody is, or is about to.
    tracing: bool,
    /// New sockets for metrics, as the configuration changes; `None` for none.
    metrics: mpsc::Sender<Option<TcpListener>>,

    commands: mpsc::Receiver<Command>,
    health_events: mpsc::Receiver<health::Event>,
    net_events: mpsc::Receiver<net::Event>,
    reports: mpsc::Receiver<Report>,
}

/// The tables could not be brought to what they should hold.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

impl Control {
    /// Runs until told to stop.
    pub async fn run(mut self) -> Ended {
        let mut looks = tokio::time::interval(repair::INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.watch_file();
        loop {
            tokio::select! {
                Some(event) = self.health_events.recv() => {
                    self.note_health(event);
                    while let Ok(event) = self.health_events.try_recv() {
                        self.note_health(event);
                    }
                    self.apply_or_log();
                    self.announce().await;
                }
                Some(event) = self.net_events.recv() => {
                    let mut links_changed = self.note_net(event);
                    while let Ok(event) = self.net_events.try_recv() {
                        links_changed |= self.note_net(event);
                    }
                    self.show_ways();
                    if links_changed {
                        self.attach_again().await;
                    }
                    self.apply_or_log();
                    self.announce().await;
                }
                () = until(self.due) => {
                    if !self.apply_or_log() {
                        self.due = Some(Instant::now() + TRY_AGAIN);
                    }
                    self.announce().await;
                }
                Some(report) = self.reports.recv() => self.note_report(report),
                () = changed(&mut self.file) => {
                    // What came of it is logged.
                    let _ = self.reload_by("the file's change").await;
                }
                _ = looks.tick() => self.repair().await,
                command = self.commands.recv() => {
                    if let Some(ended) = self.carry_out(command).await {
                        return ended;
                    }
                }
            }
        }
    }

    async fn carry_out(&mut self, command: Option<Command>) -> Option<Ended> {
        // A reply that nobody waits for any more is dropped.
        match command {
            Some(Command::Observe(reply)) => self.answer_observe(reply),
            Some(Command::Flows(filter, reply)) => self.answer_flows(filter, reply),
            Some(Command::Diff(config, name, reply)) => {
                self.answer_diff(*config, &name, reply).await;
            }
            Some(Command::Reload(by, reply)) => {
                let by = by.map_or_else(|| "signal".to_owned(), |peer| peer.to_string());
                let _ = reply.send(self.reload_by(&by).await);
            }
            Some(Command::Override(place, to, by, reply)) => {
                let overridden = self.override_backend(&place, to, &by);
                self.announce().await;
                let _ = reply.send(overridden);
            }
            Some(Command::Explain(query, reply)) => self.answer_explain(&query, reply).await,
            Some(Command::TraceBegin(service, reply)) => {
                let _ = reply.send(self.begin_trace(&service));
            }
            Some(Command::TraceBy(program, reply)) => {
                let _ = reply.send(block_in_place(|| self.trace_by(program)));
            }
            Some(Command::Directory(reply)) => drop(reply.send(Ok(self.directory()))),
            Some(Command::TraceEnd) => block_in_place(|| self.end_trace()),
            Some(Command::Ping(reply)) => drop(reply.send(Ok(()))),
            Some(Command::Detach(by, reply)) => {
                info!("detaching (by {by})");
                let result = self.detach().await;
                let done = result.is_ok();
                let _ = reply.send(result);
                return done.then_some(Ended::Detached);
            }
            Some(Command::Stop) | None => return Some(self.stop().await),
        }
        None
    }

    /// Looks after the file, or no longer, as the configuration says.
    fn watch_file(&mut self) {
        if self.config.watch == self.file.is_some() {
            return;
        }
        self.file = None;
        if !self.config.watch {
            return;
        }
        match FileWatch::new(self.options.config_path(), self.config_loaded) {
            Ok(watch) => self.file = Some(watch),
            Err(error) => error!(
                "watch: the file's changes cannot be heard: {error}; use `divvy reload`, or raise \
                 fs.inotify.max_user_instances and fs.inotify.max_user_watches"
            ),
        }
    }

    /// Takes everything away: nobody is to send packets here any more before nothing balances them.
    async fn detach(&mut self) -> Result<Detached, CommandError> {
        let addresses = self.withdraw().await?;
        let interfaces = block_in_place(|| Datapath::remove(&self.options.run_dir))?;
        Ok(Detached {
            interfaces,
            addresses,
        })
    }

    async fn stop(&mut self) -> Ended {
        block_in_place(|| self.end_trace());
        if self.config.on_exit == crate::config::OnExit::Detach {
            match self.detach().await {
                Ok(detached) => {
                    info!("stopped; {detached}");
                    return Ended::Detached;
                }
                Err(error) => error!("{error}"),
            }
        } else {
            info!("stopped; packets keep flowing (`divvy detach` takes the program off)");
        }
        Ended::Stopped
    }

    /// Brings the tables to what they should hold. Returns how many entries were written.
    fn apply(&mut self) -> Result<usize, ApplyError> {
        let begun = Instant::now();
        let health = (self.probed.iter())
            .map(|(id, probed)| (*id, probed.health))
            .collect();
        let now = SystemTime::now();
        let inputs = Inputs {
            config: &self.config,
            health: &health,
            overrides: self.overrides.all(),
            came_up: self.arrivals.came_up(),
            now,
            next_hops: &self.next_hops,
            interfaces: &self.interfaces,
            on_veth: self.on_veth,
        };
        self.due = tables::next_change(&inputs)
            .map(|at| Instant::now() + at.duration_since(now).unwrap_or_default());
        let panics = panics::panics(&inputs);
        let desired = tables::compute(&inputs, &self.applied, &mut self.ids, &mut self.rings)?;
        let changes = difference(&self.applied, &desired);
        let computed = begun.elapsed();
        if changes.is_empty() {
            self.decisions.forget();
            self.note_panics(panics);
            return Ok(0);
        }
        if let Err(error) = block_in_place(|| self.datapath.write(&changes)) {
            // Some writes may be in force: what is applied has to be read anew.
            self.applied = block_in_place(|| self.datapath.read())?;
            return Err(error.into());
        }
        self.applied = desired;
        self.decisions.written();
        self.note_panics(panics);
        debug!(
            entries = changes.len(),
            computing_micros = computed.as_micros(),
            writing_micros = (begun.elapsed() - computed).as_micros(),
            "tables written"
        );
        Ok(changes.len())
    }

    /// True when it succeeds.
    fn apply_or_log(&mut self) -> bool {
        match self.apply() {
            Ok(_) => true,
            Err(error) => {
                error!("the tables could not be brought up to date: {error}");
                false
            }
        }
    }
}

/// Ready when the file has changed; never for one that nobody looks after.
async fn changed(file: &mut Option<FileWatch>) {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}

/// Ready at that time; never without one.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
