//! Connections that stay open and mostly say nothing.

use std::{io, net::SocketAddr};

use super::{
    host::Host,
    http::{Connection, Url},
};

/// Established, kept-alive connections.
pub struct IdleConnections {
    connections: Vec<(Connection, String)>,
    path: String,
}

impl IdleConnections {
    /// Opens `count` connections and makes one request on each. Panics when one of them fails.
    #[must_use]
    pub fn open(host: &Host, url: &str, count: usize) -> Self {
        let url = Url::parse(url);
        let connections = host.inside(|| {
            (0..count)
                .map(|number| {
                    let mut connection = Connection::open(&url).unwrap_or_else(|error| {
                        panic!("cannot open connection {number} of {count}: {error}")
                    });
                    let response = connection.get(&url.path).unwrap_or_else(|error| {
                        panic!("no answer on connection {number} of {count}: {error}")
                    });
                    (connection, response.backend)
                })
                .collect()
        });
        Self {
            connections,
            path: url.path,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The client's address and port of each.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let own = |(connection, _): &(Connection, String)| connection.socket().local_addr();
        let addresses = self.connections.iter().map(own).collect::<io::Result<_>>();
        addresses.expect("each was connected once, which names it")
    }

    /// How many of them go to this backend.
    #[must_use]
    pub fn to_backend(&self, backend: &str) -> usize {
        let to = |entry: &&(Connection, String)| entry.1 == backend;
        self.connections.iter().filter(to).count()
    }

    /// Makes a request on every connection; what failed, by connection. The same backend must
    /// answer as at first.
    #[must_use]
    pub fn broken(&mut self) -> Vec<String> {
        self.ask(|_| true)
    }

    /// The same on the connections whose number `which` accepts.
    #[must_use]
    pub fn ask(&mut self, which: impl Fn(usize) -> bool) -> Vec<String> {
        let mut broken = Vec::new();
        for (number, (connection, backend)) in self.connections.iter_mut().enumerate() {
            if !which(number) {
                continue;
            }
            match connection.get(&self.path) {
                Ok(response) if response.backend == *backend => {}
                Ok(response) => broken.push(format!(
                    "connection {number}: {backend} became {}",
                    response.backend
                )),
                Err(error) => broken.push(format!("connection {number} to {backend}: {error}")),
            }
        }
        broken
    }
}
