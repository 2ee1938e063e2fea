//! Applying an edited file: all of it, or nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::SystemTime,
};

use tokio::task::block_in_place;
use tracing::{error, info, warn};

use super::{
    CommandError, Control, start,
    view::{Reloaded, observed::ChangeKind},
};
use crate::config::{self, Backend, Config, Service};

impl Control {
    /// Applies the file; what came of it is logged.
    pub(super) async fn reload_by(&mut self, by: &str) -> Result<Reloaded, CommandError> {
        let result = self.reload().await;
        self.last_error = result.as_ref().err().map(ToString::to_string);
        match &result {
            Ok(reloaded) => {
                let words = format!("{} (by {by})", reloaded.summary);
                info!("{words}");
                self.changes.reloads_succeeded += 1;
                self.changes.note(ChangeKind::Reload, words);
            }
            Err(error) => {
                let words = format!("reload failed (by {by}): {error}");
                error!("{words}");
                self.changes.reloads_failed += 1;
                self.changes.note(ChangeKind::Refused, words);
            }
        }
        self.watch_file();
        result
    }

    /// Reads the file and applies what differs.
    async fn reload(&mut self) -> Result<Reloaded, CommandError> {
        let config = config::load(self.options.config_path())
            .map_err(|error| CommandError::InvalidConfig(error.to_string()))?;
        let links = start::links(&config, self.options.config_path())
            .await
            .map_err(|error| CommandError::InvalidConfig(error.to_string()))?;
        let metrics = if config.metrics == self.config.metrics {
            None
        } else {
            let listener = start::bind_metrics(&config)
                .map_err(|error| CommandError::Reload(error.to_string()))?;
            Some(listener)
        };
        if config.limits != self.config.limits {
            warn!("limits: changes take effect after `divvy detach` and a new start");
        }

        (self.arrivals).forget_over(&self.config, SystemTime::now());
        let before = self.replace_config(config);
        let on_veth = links.iter().any(|link| link.veth);
        let was_on_veth = std::mem::replace(&mut self.on_veth, on_veth);
        if let Err(error) = self.apply() {
            self.put_back(before, was_on_veth);
            return Err(CommandError::Reload(error.to_string()));
        }
        if let Err(error) = self.attach_all(&links) {
            self.put_back(before, was_on_veth);
            return Err(CommandError::Reload(error.to_string()));
        }
        self.arrivals.reloaded(&before, &self.config);
        self.look_after();
        self.save_overrides();
        // States of backends that went or came are settled now.
        self.apply_or_log();
        self.announced.doubt();
        self.announce().await;
        if let Some(listener) = metrics {
            self.move_metrics(listener).await;
        }
        self.config_loaded = SystemTime::now();
        Ok(Reloaded {
            summary: summary(&before, &self.config),
        })
    }

    fn put_back(&mut self, before: Config, was_on_veth: bool) {
        self.replace_config(before);
        self.on_veth = was_on_veth;
        if let Err(error) = self.apply() {
            error!("the tables could not be put back as they were: {error}");
        }
    }

    pub(super) async fn move_metrics(&self, listener: Option<TcpListener>) {
        // The metrics' task ends only with the daemon.
        let _ = self.metrics.send(listener).await;
    }

    /// An interface of the configuration came, went or came again under another index.
    pub(super) async fn attach_again(&mut self) {
        let links = match start::links_there(&self.config).await {
            Ok((links, missing)) => {
                for index in missing {
                    let name = &self.config.interfaces[index];
                    let words = format!(
                        "interface {name} is gone; the program is attached once it is back"
                    );
                    warn!("{words}");
                    self.changes.note(ChangeKind::Network, words);
                }
                links
            }
            Err(error) => {
                error!("the interfaces cannot be listed: {error}");
                return;
            }
        };
        if (links.iter()).all(|link| {
            self.datapath
                .attached_mode(&link.name, link.ifindex)
                .is_some()
        }) {
            return;
        }
        if let Err(error) = block_in_place(|| self.attach_each(&links)) {
            error!("{error}");
        }
    }
}

/// One line that says what changed.
fn summary(before: &Config, after: &Config) -> String {
    let mut parts = Vec::new();
    let names = |config: &Config| -> BTreeMap<String, Service> {
        (config.services.iter())
            .map(|service| (service.name.clone(), service.clone()))
            .collect()
    };
    let (old, new) = (names(before), names(after));
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        parts.push(format!("service {name} removed"));
    }
    for (name, service) in &new {
        match old.get(name) {
            None => parts.push(format!(
                "service {name} added with {} backends",
                service.backends.len()
            )),
            Some(old) if old != service => parts.push(service_summary(old, service)),
            Some(_) => {}
        }
    }
    if !same_settings(before, after) {
        parts.push("settings changed".to_owned());
    }
    if parts.is_empty() {
        return "reloaded: nothing changed".to_owned();
    }
    format!("reloaded: {}", parts.join("; "))
}

fn service_summary(old: &Service, new: &Service) -> String {
    let backends = |service: &Service| -> BTreeMap<std::net::SocketAddr, Backend> {
        (service.backends.iter())
            .map(|backend| (backend.address, backend.clone()))
            .collect()
    };
    let (before, after) = (backends(old), backends(new));
    let list = |word: &str, names: &BTreeSet<&str>| {
        let names: Vec<&str> = names.iter().copied().collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    };
    let added = (after.iter())
        .filter(|(address, _)| !before.contains_key(address))
        .map(|(_, backend)| backend.name.as_str());
    let removed = (before.iter())
        .filter(|(address, _)| !after.contains_key(address))
        .map(|(_, backend)| backend.name.as_str());
    let changed = (after.iter())
        .filter(|(address, backend)| before.get(address).is_some_and(|old| old != *backend))
        .map(|(_, backend)| backend.name.as_str());
    let mut parts: Vec<String> = [
        list("added", &added.collect()),
        list("removed", &removed.collect()),
        list("changed", &changed.collect()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let rest = |service: &Service| Service {
        backends: Vec::new(),
        ..service.clone()
    };
    if rest(old) != rest(new) {
        parts.push("options changed".to_owned());
    } else if parts.is_empty() {
        parts.push("order of backends changed".to_owned());
    }
    format!("service {}: {}", new.name, parts.join(", "))
}

fn same_settings(a: &Config, b: &Config) -> bool {
    let settings = |config: &Config| Config {
        services: Vec::new(),
        ..config.clone()
    };
    settings(a) == settings(b)
}
