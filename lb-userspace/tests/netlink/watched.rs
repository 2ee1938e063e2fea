//! A watcher, and waiting for what it tells.

use std::time::Duration;

use lb_userspace::net::{Event, Interface, NextHop, Watcher};
use tokio::sync::mpsc;

use crate::ip;

const PATIENCE: Duration = Duration::from_secs(20);

/// A watcher and what it has told.
pub struct Watched {
    pub watcher: Watcher,
    pub events: mpsc::Receiver<Event>,
}

impl Watched {
    pub fn start(addresses: &[&str]) -> Self {
        let (sender, events) = mpsc::channel(64);
        let watcher = Watcher::spawn(sender).unwrap();
        watcher.track(addresses.iter().map(|address| ip(address)).collect());
        Self { watcher, events }
    }

    pub async fn event(&mut self) -> Event {
        let wait = tokio::time::timeout(PATIENCE, self.events.recv());
        wait.await
            .expect("an event in time")
            .expect("the watcher to be alive")
    }

    /// Waits until the next hop of an address is as asked for.
    pub async fn next_hop(&mut self, address: &str, wanted: impl Fn(&NextHop) -> bool) -> NextHop {
        loop {
            if let Event::NextHop {
                address: of,
                next_hop: Ok(next_hop),
            } = self.event().await
                && of == ip(address)
                && wanted(&next_hop)
            {
                return next_hop;
            }
        }
    }

    /// Waits until an interface is as asked for.
    pub async fn interface(&mut self, name: &str, wanted: impl Fn(&Interface) -> bool) {
        loop {
            if let Event::Interface {
                interface: Some(interface),
                ..
            } = self.event().await
                && interface.name == name
                && wanted(&interface)
            {
                return;
            }
        }
    }

    /// Waits until an address has no next hop, and returns why.
    pub async fn no_next_hop(&mut self, address: &str) -> String {
        loop {
            if let Event::NextHop {
                address: of,
                next_hop: Err(reason),
            } = self.event().await
                && of == ip(address)
            {
                return reason;
            }
        }
    }
}
