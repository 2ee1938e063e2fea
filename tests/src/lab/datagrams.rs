//! Datagrams of any size: a server that sends back what it gets, and a client that compares.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::host::Host;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon a server notices that it shall stop.
const GLANCE: Duration = Duration::from_millis(50);
/// More than any datagram has.
const MOST: usize = 65_536;

/// A UDP server in one of the lab's hosts. It stops when dropped.
pub struct DatagramEcho {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DatagramEcho {
    /// Serves this port of these addresses, each by a socket of its own, so that answers come from the
    /// address that was asked.
    ///
    /// # Panics
    /// When one of them is taken.
    #[must_use]
    pub fn start(host: &Host, port: u16, addresses: &[IpAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let serve = |address: &IpAddr| {
            let socket = host
                .inside(|| UdpSocket::bind((*address, port)))
                .unwrap_or_else(|error| panic!("{address} port {port}: {error}"));
            socket
                .set_read_timeout(Some(GLANCE))
                .expect("a socket takes a timeout");
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut buffer = [0; MOST];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((length, client)) = socket.recv_from(&mut buffer) {
                        // A client that is gone is no failure.
                        let _ = socket.send_to(&buffer[..length], client);
                    }
                }
            })
        };
        let threads = addresses.iter().map(serve).collect();
        Self { stop, threads }
    }
}

impl Drop for DatagramEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Host {
    /// Sends datagrams of these sizes one after the other from one socket; each must come back as it
    /// was.
    ///
    /// # Errors
    /// When one does not, in time; names its size.
    pub fn exchange(&self, server: SocketAddr, sizes: &[usize]) -> io::Result<()> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.inside(|| {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let mut buffer = [0; MOST];
            for size in sizes {
                let sent: Vec<u8> = (0..*size).map(|at| (at * 31 / 8 + size) as u8).collect();
                socket.send(&sent)?;
                let length = socket.recv(&mut buffer).map_err(|error| {
                    io::Error::new(error.kind(), format!("{size} bytes: {error}"))
                })?;
                if buffer[..length] != sent[..] {
                    return Err(io::Error::other(format!("{size} bytes came back changed")));
                }
            }
            Ok(())
        })
    }
}
