//! A real Prometheus on a host of the lab, and the tool that comes with it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{host::Host, process::Process, wait::wait_until};

const ADDRESS: &str = "127.0.0.1:9090";
const PATIENCE: Duration = Duration::from_secs(60);

/// One that scrapes a daemon each second and judges alarms as often. It ends when it is dropped.
pub struct Prometheus {
    host: Host,
    _server: Process,
}

impl Prometheus {
    /// Starts one on the daemon's host, with these alarms, and waits until it has scraped.
    #[must_use]
    pub fn start(host: &Host, folder: &Path, scraped: &str, alarms: &Path) -> Self {
        let folder = folder.join("prometheus");
        fs::create_dir_all(&folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let config = folder.join("prometheus.yml");
        let yaml = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: divvy\n    static_configs: [{{ targets: [\"{scraped}\"] }}]\n",
            alarms.display()
        );
        fs::write(&config, yaml)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", config.display()));
        let mut command = Command::new(program("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.display()))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = host.spawn(command);
        let prometheus = Self {
            host: host.clone(),
            _server: server,
        };
        wait_until("prometheus has scraped the daemon", PATIENCE, || {
            let answer = prometheus.ask("query", "up == 1");
            answer.is_ok_and(|found| found.as_array().is_some_and(|found| !found.is_empty()))
        });
        prometheus
    }

    /// The result of an expression now.
    ///
    /// # Errors
    /// What Prometheus says is wrong with it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let found = self.ask("query", expression)?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }

    /// Names of the alarms that Prometheus holds.
    #[must_use]
    pub fn alarms(&self) -> Vec<String> {
        let url = format!("http://{ADDRESS}/api/v1/rules");
        let answer: Value = serde_json::from_str(&self.host.must_run(&["curl", "-sS", &url]))
            .unwrap_or_else(|error| panic!("prometheus answers no JSON: {error}"));
        let groups = answer["data"]["groups"].as_array().cloned();
        (groups.unwrap_or_default().iter())
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .map(|rule| rule["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn ask(&self, what: &str, expression: &str) -> Result<Value, String> {
        let url = format!("http://{ADDRESS}/api/v1/{what}");
        let query = format!("query={expression}");
        let output = (self.host).run(&["curl", "-sS", "-G", "--data-urlencode", &query, &url]);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("no answer: {error}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }
}

/// Runs promtool with these words, and this on its standard input.
#[must_use]
pub fn promtool(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(program("promtool"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`cargo xtask test` has unpacked promtool");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    // It may end before it has read all.
    let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("promtool ends")
}

/// The host's, or the one that `cargo xtask test` unpacked.
fn program(name: &str) -> PathBuf {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/prometheus/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    (env::split_paths(&path).chain([unpacked.into()]))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("no {name}: `cargo xtask test` unpacks it first"))
}
