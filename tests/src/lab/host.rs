//! A host of the lab: run programs and sockets inside it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    process::{Command, Output},
    sync::Arc,
};

use super::{
    body::Digest,
    http::{self, Connection, Response, Url},
    namespace::Namespace,
    process::{self, Process},
    report::{Report, Request},
};

/// A client, balancer or backend. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    namespace: Arc<Namespace>,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Host {
    pub(super) fn new(name: &str, namespace: Namespace, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        Self {
            name: name.to_owned(),
            namespace: Arc::new(namespace),
            v4,
            v6,
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of the balancer and of routers, which have several: the one toward the client, or toward the host
    /// that the router is for.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        self.v4
    }

    /// See [`Self::v4`].
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        self.v6
    }

    /// Runs `work` on a thread inside this host and waits for it. Sockets and programs made there
    /// stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(work)
    }

    /// Runs a program to its end.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Output {
        self.inside(|| process::command(words).output())
            .unwrap_or_else(|error| panic!("cannot start {} on {}: {error}", words[0], self.name))
    }

    /// What a program prints. Panics, with what it said, unless it succeeds.
    pub fn must_run(&self, words: &[&str]) -> String {
        process::succeeded(words, &self.run(words))
    }

    /// Starts a program. It is killed when the handle is dropped.
    #[must_use]
    pub fn spawn(&self, command: Command) -> Process {
        self.inside(|| Process::start(command))
    }

    /// Sets a kernel parameter; `key` is its path below `/proc/sys/net`.
    pub fn set(&self, key: &str, value: &str) {
        self.namespace.set(key, value);
    }

    /// Empties the neighbour cache. Under load entries come back meanwhile: `ip` then gives up after ten rounds, each
    /// of which removed all that there were.
    pub fn flush_neighbours(&self) {
        const COME_BACK: &str = "Flush not complete bailing out after 10 rounds";
        let words = ["ip", "neigh", "flush", "all"];
        let output = self.run(&words);
        if !String::from_utf8_lossy(&output.stderr).contains(COME_BACK) {
            process::succeeded(&words, &output);
        }
    }

    /// A counter of this host's kernel by the name that `nstat` has for it, such as `IpFragFails`.
    #[must_use]
    pub fn kernel_count(&self, name: &str) -> u64 {
        let said = self.must_run(&["nstat", "--ignore", "--noupdate", "--zeros", name]);
        let count = said.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
        });
        count.unwrap_or_else(|| panic!("nstat knows no {name}: {said}"))
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When it is not answered in full within [`http::TIMEOUT`].
    pub fn get(&self, url: &str) -> std::io::Result<Response> {
        let url = Url::parse(url);
        self.inside(|| http::get(&url, http::TIMEOUT))
    }

    /// The same for a body that is too long to hold, such as that of `/100mb`.
    ///
    /// # Errors
    /// As [`Self::get`], and when the answer is not 200.
    pub fn digest(&self, url: &str) -> std::io::Result<Digest> {
        let url = Url::parse(url);
        self.inside(|| http::digest(&url))
    }

    /// `count` requests one after the other, each on a connection of its own.
    #[must_use]
    pub fn get_many(&self, count: usize, url: &str) -> Report {
        let url = Url::parse(url);
        self.inside(|| {
            (0..count)
                .map(|_| Request::make(&url, http::TIMEOUT))
                .collect()
        })
    }

    /// A kept-alive connection.
    ///
    /// # Errors
    /// When it cannot be established within [`http::TIMEOUT`].
    pub fn connect(&self, url: &str) -> std::io::Result<Connection> {
        let url = Url::parse(url);
        self.inside(|| Connection::open(&url))
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}
