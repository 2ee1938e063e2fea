//! One probe of one backend: the I/O of health checking, and how it failed, in words.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

/// How much of a body is read before we hang up.
const BODY_LIMIT: usize = 64 * 1024;
const USER_AGENT: &str = concat!("divvy/", env!("CARGO_PKG_VERSION"));

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
    /// Well when it answers GET with an expected status. Redirects are not followed.
    Http {
        path: String,
        /// The Host header; address and port if `None`.
        host: Option<String>,
        /// Status codes that are well.
        expect: Vec<RangeInclusive<u16>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// "connected" or "HTTP 200".
    pub detail: String,
    pub took: Duration,
}

/// Why a probe failed. The messages are what `divvy status` shows.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("connection refused")]
    Refused,
    #[error("timed out after {}", humantime::format_duration(*after))]
    TimedOut { after: Duration },
    #[error("connected, but no answer within {}", humantime::format_duration(*after))]
    NoAnswer { after: Duration },
    #[error("{}", .0.kind())]
    Unreachable(#[source] io::Error),
    #[error("HTTP {code}, expected {}", in_words(expected))]
    Status {
        code: u16,
        expected: Vec<RangeInclusive<u16>>,
    },
    #[error("{what}: {source}")]
    Protocol {
        what: &'static str,
        source: hyper::Error,
    },
    #[error("HTTP path {path:?} or host cannot be sent: {source}")]
    Request {
        path: String,
        source: hyper::http::Error,
    },
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Says nothing about the backend: this host ran out of something.
    #[error("cannot probe from this host: {0}")]
    Local(#[source] io::Error),
}

impl Failure {
    /// Whether the backend may have moved to another MAC address: nothing came back from it.
    #[must_use]
    pub fn suggests_stale_neighbour(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreachable(_))
    }

    /// Whether the fault is this host's own (no descriptors, no ports): no backend is to be
    /// taken down for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    fn from_connect(error: io::Error, timeout: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut { after: timeout },
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable(error),
            _ => Self::from_io(error),
        }
    }

    fn from_io(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL,
            ) => Self::Local(error),
            _ => Self::Io(error),
        }
    }

    fn from_hyper(error: hyper::Error) -> Self {
        let what = if error.is_incomplete_message() {
            "closed the connection before answering"
        } else if error.is_parse() {
            "not an HTTP answer"
        } else {
            "the HTTP exchange broke off"
        };
        Self::Protocol {
            what,
            source: error,
        }
    }
}

/// Probes once.
///
/// # Errors
/// The [`Failure`], at the latest when the target's timeout has passed.
pub async fn probe(target: &Target) -> Result<Success, Failure> {
    let started = Instant::now();
    let deadline = started + target.timeout;
    let stream = timeout_at(deadline, connect(target))
        .await
        .map_err(|_| Failure::TimedOut {
            after: target.timeout,
        })??;
    let detail = match &target.kind {
        Kind::Tcp => "connected".to_owned(),
        Kind::Http { path, host, expect } => {
            let host = host.clone().unwrap_or_else(|| target.address.to_string());
            let code = timeout_at(deadline, get(stream, path, &host, expect))
                .await
                .map_err(|_| Failure::NoAnswer {
                    after: target.timeout,
                })??;
            format!("HTTP {}", code.as_u16())
        }
    };
    Ok(Success {
        detail,
        took: started.elapsed(),
    })
}

async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(Failure::from_io)?;
    // Closing sends RST instead of FIN and leaves no TIME_WAIT behind: ten thousand backends
    // every two seconds would hold 300,000 of them, more than there are ports.
    socket.set_zero_linger().map_err(Failure::from_io)?;
    socket
        .connect(target.address)
        .await
        .map_err(|error| Failure::from_connect(error, target.timeout))
}

/// Sends GET, and reads the status and at most [`BODY_LIMIT`] of the body.
async fn get(
    stream: TcpStream,
    path: &str,
    host: &str,
    expected: &[RangeInclusive<u16>],
) -> Result<StatusCode, Failure> {
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<&[u8]>::new())
        .map_err(|source| Failure::Request {
            path: path.to_owned(),
            source,
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Failure::from_hyper)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(Failure::from_hyper)?;
        let status = response.status();
        if !expected
            .iter()
            .any(|range| range.contains(&status.as_u16()))
        {
            return Err(Failure::Status {
                code: status.as_u16(),
                expected: expected.to_vec(),
            });
        }
        let mut body = response.into_body();
        let mut read = 0;
        while read < BODY_LIMIT
            && let Some(frame) = body.frame().await
        {
            read += frame
                .map_err(Failure::from_hyper)?
                .data_ref()
                .map_or(0, |data| data.len());
        }
        Ok(status)
    };
    // The connection has to be driven beside the exchange; how it ended, the exchange learns too.
    let driver = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        result = exchange => result,
        never = driver => match never {},
    }
}

/// "200-299 or 304".
fn in_words(ranges: &[RangeInclusive<u16>]) -> String {
    let words = ranges
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start}-{end}"),
        });
    words.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
