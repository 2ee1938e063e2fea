//! One probe of one backend: the I/O of health checking, and how it failed, in words.

mod failure;
mod http;
mod tls;
mod udp;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

pub use failure::Failure;
pub use http::Http;
pub use tls::{ClientCertificate, Tls};
pub use udp::Datagram;

/// What to probe, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    pub kind: Kind,
    /// For the whole exchange, from the first packet to the last.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Well when it accepts a connection.
    Tcp,
    /// Well when it answers GET as expected.
    Http(Http),
    /// The same over TLS.
    Https(Http, Tls),
    /// Well when it answers a datagram as expected.
    Udp(Datagram),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// "connected", "HTTP 200" or "answered".
    pub detail: String,
    pub took: Duration,
    /// What was not found out.
    pub note: Option<String>,
}

/// Probes once.
///
/// # Errors
/// The [`Failure`], at the latest when the target's timeout has passed.
pub async fn probe(target: &Target) -> Result<Success, Failure> {
    let started = Instant::now();
    let deadline = started + target.timeout;
    let after = target.timeout;
    let detail = match &target.kind {
        Kind::Udp(datagram) => {
            let asked = udp::ask(target, datagram);
            within(deadline, asked, Failure::Silence { after }).await?;
            "answered".to_owned()
        }
        Kind::Tcp => {
            connect(target, deadline).await?;
            "connected".to_owned()
        }
        Kind::Http(http) => {
            let stream = connect(target, deadline).await?;
            let host = host(http, target);
            let asked = http::get(stream, http, &host);
            in_status(within(deadline, asked, Failure::NoAnswer { after }).await?)
        }
        Kind::Https(http, tls) => {
            let stream = connect(target, deadline).await?;
            let host = host(http, target);
            let asked = async { http::get(tls.handshake(stream).await?, http, &host).await };
            in_status(within(deadline, asked, Failure::NoAnswer { after }).await?)
        }
    };
    Ok(Success {
        detail,
        took: started.elapsed(),
        note: None,
    })
}

/// What comes of it by then, or else `late`.
async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Failure>>,
    late: Failure,
) -> Result<T, Failure> {
    timeout_at(deadline, work).await.unwrap_or(Err(late))
}

fn host(http: &Http, target: &Target) -> String {
    (http.host.clone()).unwrap_or_else(|| target.address.to_string())
}

fn in_status(code: hyper::StatusCode) -> String {
    format!("HTTP {}", code.as_u16())
}

async fn connect(target: &Target, deadline: Instant) -> Result<TcpStream, Failure> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(Failure::from_io)?;
    // Closing sends RST instead of FIN and leaves no TIME_WAIT behind: ten thousand backends
    // every two seconds would hold 300,000 of them, more than there are ports.
    socket.set_zero_linger().map_err(Failure::from_io)?;
    let after = target.timeout;
    let connected = async {
        let connected = socket.connect(target.address).await;
        connected.map_err(|error| Failure::from_connect(error, after))
    };
    within(deadline, connected, Failure::TimedOut { after }).await
}

#[cfg(test)]
mod tests;
