//! Steady traffic in the background: many clients, one request a connection.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    host::Host,
    http::{self, Url},
    report::{Report, Request},
    wait::wait_until,
};

/// Load to be started with [`Planned::from`].
#[derive(Clone, Debug)]
pub struct Planned {
    url: Url,
    clients: usize,
    per_second: u32,
    patience: Duration,
}

/// Running load. It stops when dropped.
pub struct Load {
    done: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Load on this URL: 8 clients that make 400 requests a second together, unless told
    /// otherwise.
    #[must_use]
    pub fn on(url: &str) -> Planned {
        Planned {
            url: Url::parse(url),
            clients: 8,
            per_second: 400,
            patience: http::TIMEOUT,
        }
    }

    /// All requests that have ended.
    #[must_use]
    pub fn so_far(&self) -> Report {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.iter().cloned().collect()
    }

    /// Waits until `count` more requests have ended, whatever their end.
    pub fn wait_for(&self, count: usize) {
        let ended = || {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.len()
        };
        let goal = ended() + count;
        wait_until(
            &format!("{count} more requests have ended"),
            Duration::from_secs(60),
            || ended() >= goal,
        );
    }

    /// Lets the requests under way end, and starts no more.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // A client panics only where it cannot enter its namespace, and has said so.
            let _ = client.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Planned {
    /// Number of clients that ask at once.
    #[must_use]
    pub fn clients(mut self, count: usize) -> Self {
        self.clients = count;
        self
    }

    /// Most requests a second, over all clients.
    #[must_use]
    pub fn per_second(mut self, count: u32) -> Self {
        self.per_second = count;
        self
    }

    /// How long connecting, and each read or write, may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts it on this host.
    #[must_use]
    pub fn from(self, host: &Host) -> Load {
        let done = Arc::default();
        let stop = Arc::default();
        let count = u32::try_from(self.clients).expect("a lab has few clients");
        let pause = Duration::from_secs(1) * count / self.per_second;
        let start = Instant::now();
        let clients = (0..count)
            .map(|number| {
                let client = Client {
                    url: self.url.clone(),
                    patience: self.patience,
                    first: start + pause * number / count,
                    pause,
                    done: Arc::clone(&done),
                    stop: Arc::clone(&stop),
                };
                let host = host.clone();
                thread::spawn(move || {
                    host.namespace().enter();
                    client.run();
                })
            })
            .collect();
        Load {
            done,
            stop,
            clients,
        }
    }
}

struct Client {
    url: Url,
    patience: Duration,
    first: Instant,
    pause: Duration,
    done: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn run(&self) {
        let mut next = self.first;
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let request = Request::make(&self.url, self.patience);
            // After a request that hung, go on at the old pace rather than catch up in a burst.
            next = (next + self.pause).max(request.started);
            self.done
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request);
        }
    }
}
