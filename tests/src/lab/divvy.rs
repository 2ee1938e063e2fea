//! The balancer under test: the real binary, its files, and its command line.

mod started;
mod version;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use lb_common::LAYOUT_VERSION;
use nix::sys::signal::Signal;
use serde_json::Value;

pub use self::version::Version;
use super::{
    config::Config,
    host::Host,
    process::{self, Process},
    refusal::Refusal,
    terminal::Terminal,
    wait::wait_until,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The line of a configuration by which [`Divvy::metrics`] is served.
pub const METRICS: &str = "metrics: \"127.0.0.1:9127\"";
const METRICS_URL: &str = "http://127.0.0.1:9127/metrics";

/// Runs a program with root's name and no capability.
pub const WITHOUT_RIGHTS: [&str; 3] = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"];

/// A `divvy` with a configuration file and a run folder of its own. Dropping it kills the daemon;
/// when that happens in a panic, what the daemon printed is shown.
pub struct Divvy {
    host: Host,
    version: Mutex<Version>,
    config: PathBuf,
    run_dir: PathBuf,
    log: PathBuf,
    /// More words for `run`.
    more: Mutex<Vec<String>>,
    /// Words of a program that starts the daemon.
    by: Mutex<Vec<String>>,
    daemon: Mutex<Option<Process>>,
}

impl Divvy {
    pub(super) fn new(host: Host, lab_folder: &Path, yaml: &str) -> Self {
        static INSTANCES: AtomicU32 = AtomicU32::new(0);
        let number = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let folder = lab_folder.join(format!("divvy-{number}"));
        fs::create_dir(&folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let divvy = Self {
            host,
            version: Mutex::new(Version::This),
            config: folder.join("divvy.yaml"),
            run_dir: folder.join("run"),
            log: folder.join("divvy.log"),
            more: Mutex::new(Vec::new()),
            by: Mutex::new(Vec::new()),
            daemon: Mutex::new(None),
        };
        divvy.write_config(yaml);
        divvy
    }

    /// Starts the daemon, adopting what an earlier one left pinned, and waits until it answers.
    pub fn start_again(&self) {
        self.launch();
        wait_until("divvy answers `status`", PATIENCE, || {
            let ended = self.daemon().as_mut().and_then(Process::ended);
            assert!(ended.is_none(), "divvy ended before it answered: {ended:?}");
            self.cli(&["status", "-o", "json"]).status.success()
        });
    }

    /// Starts the daemon and waits for it to end by itself: for configurations and hosts that it
    /// must refuse.
    #[must_use]
    pub fn run_to_its_end(&self) -> Output {
        self.to_its_end("run", &[])
    }

    /// The same by a user who may do nothing: root's name without any capability.
    #[must_use]
    pub fn run_without_rights(&self) -> Output {
        self.to_its_end("run", &WITHOUT_RIGHTS)
    }

    /// The same on a kernel that refuses a system call.
    #[must_use]
    pub fn run_refused(&self, refusal: Refusal) -> Output {
        self.refused("run", refusal)
    }

    /// Runs a verb to its end on a kernel that refuses a system call.
    #[must_use]
    pub fn refused(&self, verb: &str, refusal: Refusal) -> Output {
        let words = self.patiently(verb, &[]);
        ended(self.host.inside(|| {
            refusal.hold_for_this_thread();
            process::command(&words).output()
        }))
    }

    /// Runs a verb to its end by another program, such as `prlimit`.
    #[must_use]
    pub fn to_its_end(&self, verb: &str, by: &[&str]) -> Output {
        let words = self.patiently(verb, by);
        ended(self.host.inside(|| process::command(&words).output()))
    }

    /// The words that run a verb for a while: what should have ended by itself must not outlive its
    /// test.
    fn patiently(&self, verb: &str, by: &[&str]) -> Vec<String> {
        let patience = PATIENCE.as_secs().to_string();
        let binary = self.version().binary();
        let binary = binary.to_string_lossy();
        let before = ["timeout", "--signal=KILL", &patience];
        let words = before.iter().chain(by).copied().chain([&*binary, verb]);
        let words = words.map(str::to_owned).chain(self.places());
        words
            .chain((verb == "run").then(|| self.state()).into_iter().flatten())
            .collect()
    }

    /// Runs the command line, with this instance's `--config` and `--run-dir`.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> Output {
        let places = self.places();
        let binary = self.version().binary();
        let binary = binary.to_string_lossy();
        let mut all = vec![&*binary];
        all.extend(places.iter().map(String::as_str));
        all.extend(words);
        self.host.run(&all)
    }

    /// Starts the command line, with its output thrown away. It is killed when the handle is dropped.
    #[must_use]
    pub fn spawn(&self, words: &[&str]) -> Process {
        let mut command = Command::new(self.version().binary());
        command.args(self.places()).args(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.host.spawn(command)
    }

    /// Runs the command line on a terminal of so many columns and rows.
    #[must_use]
    pub fn on_terminal(&self, words: &[&str], columns: u16, rows: u16) -> Terminal {
        self.on_terminal_by(&[], words, columns, rows)
    }

    /// The same by another program, such as `env`.
    #[must_use]
    pub fn on_terminal_by(&self, by: &[&str], words: &[&str], columns: u16, rows: u16) -> Terminal {
        let places = self.places();
        let binary = self.version().binary();
        let binary = binary.to_string_lossy();
        let mut all = by.to_vec();
        all.push(&*binary);
        all.extend(places.iter().map(String::as_str));
        all.extend(words);
        Terminal::start(&self.host, &all, columns, rows)
    }

    /// What the command line prints. Panics, with what it said, unless it succeeds.
    pub fn must(&self, words: &[&str]) -> String {
        process::succeeded(words, &self.cli(words))
    }

    /// `divvy status -o json`. Panics when it fails.
    #[must_use]
    pub fn status(&self) -> Value {
        self.json(&["status", "-o", "json"])
    }

    /// `divvy flows -o json`. Panics when it fails.
    #[must_use]
    pub fn flows(&self) -> Value {
        self.json(&["flows", "-o", "json"])
    }

    /// What `status` says of one backend, `SERVICE/BACKEND`; null when it is not listed.
    #[must_use]
    pub fn backend(&self, place: &str) -> Value {
        let (service, backend) = split(place);
        let named = |list: &Value, name: &str| {
            list.as_array()
                .and_then(|entries| entries.iter().find(|entry| entry["name"] == *name))
                .cloned()
                .unwrap_or_default()
        };
        let service = named(&self.status()["services"], service);
        named(&service["backends"], backend)
    }

    /// How often `status` says that this reason came up.
    #[must_use]
    pub fn reason(&self, name: &str) -> u64 {
        let status = self.status();
        let mut reasons = status["reasons"].as_array().into_iter().flatten();
        reasons
            .find(|entry| entry["reason"] == name)
            .and_then(|entry| entry["count"].as_u64())
            .unwrap_or_else(|| panic!("`status` counts no {name}: {}", status["reasons"]))
    }

    /// The metrics by name and labels, such as `divvy_flows{table="half_open"}`. Panics unless the
    /// configuration has the line [`METRICS`].
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.metrics_text();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap_or((line, ""));
                let value = (value.parse())
                    .unwrap_or_else(|_| panic!("not a metric and its value: {line:?}"));
                (name.to_owned(), value)
            })
            .collect()
    }

    /// The same as they are served.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let scraped = (self.host.get(METRICS_URL))
            .unwrap_or_else(|error| panic!("cannot scrape {METRICS_URL}: {error}"));
        String::from_utf8_lossy(&scraped.body).into_owned()
    }

    /// Waits until `SERVICE/BACKEND` is in this state, and returns what `status` then said of it.
    pub fn wait_for_state(&self, place: &str, state: &str) -> Value {
        let mut said = Value::Null;
        wait_until(&format!("{place} is {state}"), PATIENCE, || {
            said = self.backend(place);
            said["state"] == *state
        });
        said
    }

    /// Waits until every backend of every service is up.
    pub fn wait_for_all_up(&self) {
        wait_until("every backend is up", PATIENCE, || {
            let status = self.status();
            let services = status["services"].as_array().cloned().unwrap_or_default();
            services
                .iter()
                .flat_map(|service| service["backends"].as_array().cloned().unwrap_or_default())
                .all(|backend| backend["state"] == "up")
        });
    }

    /// Replaces the configuration file. The daemon does not notice by itself.
    pub fn write_config(&self, yaml: &str) {
        fs::write(&self.config, yaml)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", self.config.display()));
    }

    /// `divvy reload`.
    #[must_use]
    pub fn reload(&self) -> Output {
        self.cli(&["reload"])
    }

    /// Replaces the configuration file and reloads. Panics unless the daemon takes it.
    pub fn apply(&self, config: &Config) {
        self.write_config(&config.yaml());
        self.must(&["reload"]);
    }

    /// SIGKILL; returns when the daemon is gone. Its program and maps stay pinned.
    pub fn kill9(&self) {
        let mut daemon = self.daemon().take().expect("divvy runs");
        daemon.kill();
    }

    /// Waits for a daemon that was told to end in another way, such as by `divvy detach`.
    pub fn wait_for_its_end(&self) -> ExitStatus {
        let mut daemon = self.daemon().take().expect("divvy runs");
        (daemon.wait(PATIENCE)).unwrap_or_else(|error| panic!("divvy should end: {error}"))
    }

    /// SIGTERM; returns when the daemon has ended.
    pub fn terminate(&self) -> ExitStatus {
        let mut daemon = self.daemon().take().expect("divvy runs");
        daemon.signal(Signal::SIGTERM);
        daemon
            .wait(PATIENCE)
            .unwrap_or_else(|error| panic!("after SIGTERM, {error}"))
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        let daemon = self.daemon();
        daemon.as_ref().expect("divvy runs").signal(signal);
    }

    /// Process id of the daemon.
    #[must_use]
    pub fn id(&self) -> u32 {
        let daemon = self.daemon();
        daemon.as_ref().expect("divvy runs").id()
    }

    /// All that the daemon has printed, over its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[must_use]
    pub fn config_path(&self) -> &Path {
        &self.config
    }

    /// Where this version's maps, program and links are pinned.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.run_dir().join(format!("bpf/v{LAYOUT_VERSION}"))
    }

    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn places(&self) -> [String; 4] {
        [
            "--config".to_owned(),
            self.config.display().to_string(),
            "--run-dir".to_owned(),
            self.run_dir.display().to_string(),
        ]
    }

    fn json(&self, words: &[&str]) -> Value {
        let text = self.must(words);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{words:?} printed no JSON ({error}): {text}"))
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Process>> {
        lock(&self.daemon)
    }
}

impl Drop for Divvy {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(60);
            eprintln!("divvy printed:\n{}", lines[tail..].join("\n"));
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `timeout` dies by the signal that it sends.
fn ended(output: io::Result<Output>) -> Output {
    let output = output.unwrap_or_else(|error| panic!("cannot start divvy: {error}"));
    assert!(
        output.status.code().is_some_and(|code| code < 128),
        "divvy should have ended by itself: {output:?}"
    );
    output
}

fn split(place: &str) -> (&str, &str) {
    place
        .split_once('/')
        .unwrap_or_else(|| panic!("{place:?} is not SERVICE/BACKEND"))
}
