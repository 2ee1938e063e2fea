//! `divvy run`: the daemon in the foreground.

mod folder;

use std::{fs, io::IsTerminal as _, path::PathBuf, time::Duration};

use clap::Args;
use sd_notify::NotifyState;
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use self::folder::RunDir;
use super::{Failure, Places, capabilities::Capabilities};
use crate::{
    api::server,
    config::{self, Config},
    control::{Control, Ended, Handle, MetricsSockets, Options},
    web,
};

/// Longest that the end waits for answers under way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Holds the overrides of drain, disable and weight, in a file for each run directory.
    #[arg(long, default_value = "/var/lib/divvy", value_name = "DIR")]
    state_dir: PathBuf,
    /// Members of this group may use the API's socket; without it, the daemon's own group.
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// What to log: error, warn, info, debug (with each new flow), or a filter such as
    /// `info,lb_userspace::control=debug`.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log: String,
}

impl Run {
    pub(super) async fn execute(self, places: Places) -> Result<(), Failure> {
        start_logging(&self.log)?;
        let config = config::load(&places.config).map_err(Failure::invalid_config)?;
        require_capabilities()?;
        let folder = RunDir::claim(&places.run_dir)?;
        let socket = places.run_dir.join("divvy.sock");
        let (listener, started) = match self.start(places, config).await {
            Ok(started) => started,
            Err(failure) => {
                folder.give_back();
                return Err(failure);
            }
        };
        let (control, handle, metrics_sockets) = started;
        tokio::spawn(web::serve(metrics_sockets, handle.clone()));
        let (stop, stopped) = oneshot::channel::<()>();
        let api = server::serve(listener, handle.clone(), async {
            // Ready when `stop` is dropped.
            let _ = stopped.await;
        });
        let api = tokio::spawn(api);
        tokio::spawn(obey_signals(handle.clone()));
        tokio::spawn(feed_watchdog(handle));
        notify(&[NotifyState::Ready]);
        info!("ready");

        let ended = control.run().await;
        notify(&[NotifyState::Stopping]);
        let _ = fs::remove_file(&socket);
        drop(stop);
        // Whoever asked for the end hears of it; a client that does not read is not waited for.
        let _ = tokio::time::timeout(LAST_ANSWERS, api).await;
        if ended == Ended::Detached {
            info!("detached");
        }
        // Held until here.
        drop(folder);
        Ok(())
    }

    /// The API's socket, and all that is behind it.
    async fn start(
        self,
        places: Places,
        config: Config,
    ) -> Result<(UnixListener, Started), Failure> {
        let listener = server::listen(&places.run_dir, self.socket_group.as_deref())
            .map_err(Failure::failed)?;
        let socket = places.run_dir.join("divvy.sock");
        let options = Options {
            config_path: places.config,
            run_dir: places.run_dir,
            state_dir: self.state_dir,
            trace: self.log.starts_with("debug") || self.log.starts_with("trace"),
        };
        match Control::start(options, config).await {
            Ok(started) => Ok((listener, started)),
            Err(error) => {
                // Nobody is to wait on a socket that nobody answers.
                let _ = fs::remove_file(&socket);
                Err(if error.is_config() {
                    Failure::invalid_config(error)
                } else {
                    Failure::failed(error)
                })
            }
        }
    }
}

type Started = (Control, Handle, MetricsSockets);

/// SIGHUP reloads; SIGTERM and SIGINT stop.
async fn obey_signals(control: Handle) {
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        error!("cannot listen to signals; stop the daemon with SIGKILL");
        return;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                // By the time systemd tells this reload from the one before.
                match NotifyState::monotonic_usec_now() {
                    Ok(now) => notify(&[NotifyState::Reloading, now]),
                    Err(_) => notify(&[NotifyState::Reloading]),
                }
                // The control loop logs how it went.
                let _ = control.reload(None).await;
                notify(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    control.stop().await;
}

/// Tells systemd's watchdog that the control loop is at work, for as long as it is: one that hangs gets
/// the daemon restarted.
async fn feed_watchdog(control: Handle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    while control.ping().await.is_ok() {
        notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(limit / 3).await;
    }
}

/// Tells systemd, where it started us.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot notify systemd: {error}");
    }
}

fn start_logging(filter: &str) -> Result<(), Failure> {
    // A bare level is meant for this program; its libraries speak up from info on.
    let directives = match filter {
        "debug" | "trace" => format!("info,lb_userspace={filter},divvy_ebpf={filter}"),
        other => other.to_owned(),
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| {
        Failure::failed(format!(
            "--log {filter}: {error}; use for example --log info"
        ))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

/// The permissions that every start needs, asked for before anything is touched.
fn require_capabilities() -> Result<(), Failure> {
    let missing = Capabilities::of("self").missing();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "not permitted to load eBPF programs ({} missing); run as root, or give a user of its own \
         these capabilities as divvy.service does",
        missing.join(", ")
    )))
}
