//! A real browser on a host of the lab: Chromium without a screen, driven by WebDriver.

mod commands;

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::commands::{DevTools, Log};
use super::{host::Host, process::Process, wait::wait_until};

/// Chromium takes its time to start, beside others.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which of its looks a page is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

/// A browser with one window. It ends when it is dropped.
pub struct Browser {
    host: Host,
    runtime: Runtime,
    /// Only taken when it ends.
    client: Option<Client>,
    _driver: Process,
    profile: PathBuf,
}

impl Browser {
    /// Starts one, with a fresh profile in this folder.
    #[must_use]
    pub fn start(host: &Host, folder: &Path) -> Self {
        let profile = folder.join("browser");
        fs::create_dir_all(&profile)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", profile.display()));
        let port = host.inside(|| {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            free.expect("a port is free").port()
        });
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let driver = host.spawn(command);
        let address = format!("http://127.0.0.1:{port}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let mut client = None;
        wait_until("chromium starts", PATIENCE, || {
            let connected = host.inside(|| {
                runtime.block_on(
                    ClientBuilder::new(HttpConnector::new())
                        .capabilities(capabilities(&profile))
                        .connect(&address),
                )
            });
            client = connected.ok();
            client.is_some()
        });
        Self {
            host: host.clone(),
            runtime,
            client,
            _driver: driver,
            profile,
        }
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.wait_for(async |client| client.goto(url).await.expect("it can be opened"));
    }

    /// What this JavaScript returns, as JSON.
    #[must_use]
    pub fn run(&self, script: &str) -> Value {
        self.wait_for(async |client| {
            (client.execute(script, Vec::new()).await)
                .unwrap_or_else(|error| panic!("{script}: {error}"))
        })
    }

    /// Waits until this JavaScript returns true; panics with what the page then says.
    #[track_caller]
    pub fn wait_until(&self, what: &str, script: &str) {
        let begun = std::time::Instant::now();
        while self.run(script) != true {
            if begun.elapsed() > PATIENCE {
                let text = self.run("return document.body.innerText");
                panic!("waited in vain until {what}; the page says {text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Size of the window in CSS pixels, and how it looks.
    pub fn resize(&self, width: u32, height: u32, theme: Theme) {
        let theme = match theme {
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        self.tell_devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] }),
        );
        self.tell_devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 }),
        );
    }

    /// What there is to see, as a PNG.
    #[must_use]
    pub fn screenshot(&self) -> Vec<u8> {
        self.wait_for(async |client| client.screenshot().await.expect("it can be seen"))
    }

    /// What the page and the browser complained about since this was last asked.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        (self.log("browser").iter())
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    /// Schemes and hosts that anything was asked of since this was last asked, by the page or for it.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        (self.log("performance").iter())
            .filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok())
            .filter(|entry| entry["message"]["method"] == "Network.requestWillBeSent")
            .filter_map(|entry| {
                let url = entry["message"]["params"]["request"]["url"].as_str()?;
                let url = url::Url::parse(url).ok()?;
                // Not what is in the browser itself, such as the page that it begins with.
                let network = ["http", "https", "ws", "wss"].contains(&url.scheme());
                network.then(|| url.origin().ascii_serialization())
            })
            .collect()
    }

    fn log(&self, kind: &'static str) -> Vec<Value> {
        let entries = self.wait_for(async |client| client.issue_cmd(Log(kind)).await);
        let entries = entries.unwrap_or_else(|error| panic!("no log of {kind}: {error}"));
        entries.as_array().cloned().unwrap_or_default()
    }

    fn tell_devtools(&self, command: &'static str, parameters: Value) {
        let told =
            self.wait_for(async |client| client.issue_cmd(DevTools(command, parameters)).await);
        told.unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    /// Carries out something on the host.
    fn wait_for<T: Send>(&self, work: impl AsyncFnOnce(&Client) -> T + Send) -> T {
        let client = self.client.as_ref().expect("it has not ended");
        self.host.inside(|| self.runtime.block_on(work(client)))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // The driver's end takes a browser with it that does not obey.
            let _ = self.host.inside(|| self.runtime.block_on(client.close()));
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Nothing of its own goes to the network, and all that a page asks for is written down.
fn capabilities(profile: &Path) -> serde_json::Map<String, Value> {
    let profile = format!("--user-data-dir={}", profile.display());
    let words = [
        "--headless=new",
        // Its sandbox does not work for root.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        &profile,
    ];
    let all = json!({
        "browserName": "chrome",
        "goog:chromeOptions": { "args": words },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    });
    all.as_object().cloned().unwrap_or_default()
}
