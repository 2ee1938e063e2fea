//! How programs of this instance are started: the daemon, by whom and with what, and the command line.

use std::{
    fs::OpenOptions,
    path::PathBuf,
    process::{Output, Stdio},
};

use super::{Divvy, Process, lock, process};

impl Divvy {
    /// Where the daemon keeps its overrides.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.config.with_file_name("state")
    }

    /// What `run` is told beside the common places.
    pub(super) fn state(&self) -> Vec<String> {
        let state_dir = self.state_dir().display().to_string();
        let more = lock(&self.more);
        ["--state-dir".to_owned(), state_dir]
            .into_iter()
            .chain(more.iter().cloned())
            .collect()
    }

    /// From now on the daemon is started by another program, such as `setpriv`.
    pub fn run_by(&self, words: &[&str]) {
        *lock(&self.by) = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// From now on the daemon is started with these words too, and with none of an earlier call.
    pub fn also(&self, words: &[&str]) {
        let mut more = lock(&self.more);
        *more = words.iter().map(|word| (*word).to_owned()).collect();
    }

    pub(super) fn launch(&self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", self.log.display()));
        let log_too = log
            .try_clone()
            .expect("a file just opened can be opened twice");
        let mut words = lock(&self.by).clone();
        words.extend([
            self.version().binary().display().to_string(),
            "run".to_owned(),
        ]);
        let mut command = process::command(&words);
        command.args(self.places()).args(self.state());
        command.stdout(log).stderr(log_too);
        let mut daemon = self.daemon();
        assert!(daemon.is_none(), "divvy runs already");
        *daemon = Some(self.host.spawn(command));
    }

    /// Runs the command line by another program, such as `setpriv`.
    #[must_use]
    pub fn cli_by(&self, by: &[&str], words: &[&str]) -> Output {
        let places = self.places();
        let binary = self.version().binary();
        let binary = binary.to_string_lossy();
        let mut all = by.to_vec();
        all.push(&binary);
        all.extend(places.iter().map(String::as_str));
        all.extend(words);
        self.host.run(&all)
    }

    /// Starts the command line and does not wait for its end.
    #[must_use]
    pub fn start_cli(&self, words: &[&str]) -> Process {
        let mut command = process::command(&[&self.version().binary()]);
        command.args(self.places()).args(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.host.spawn(command)
    }
}
