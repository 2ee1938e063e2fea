//! How a probe failed, in words that `divvy status` shows.

use std::{error::Error as _, io, ops::RangeInclusive, time::Duration};

use tokio_rustls::rustls;

use super::tls;
use crate::health::{
    Probed,
    through::{Mode, Trouble},
};

/// Why a probe failed.
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
    /// No datagram came back.
    #[error("no answer within {}", humantime::format_duration(*after))]
    Silence { after: Duration },
    #[error(
        "answered \"{}\", which does not contain \"{}\"",
        shown(answer),
        shown(expected)
    )]
    Answer { answer: Vec<u8>, expected: Vec<u8> },
    #[error("{}", tls::words(.0))]
    Tls(#[source] rustls::Error),
    #[error("closed the connection in the TLS handshake")]
    TlsClosed,
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
    /// It answers itself, but not by the way of its service's packets.
    #[error(transparent)]
    Through(#[from] Trouble),
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("cannot probe through {}: the next hop is not known yet", mode.name())]
    NoWay { mode: Mode },
    /// Says nothing about the backend: this host ran out of something.
    #[error("cannot probe from this host: {0}")]
    Local(#[source] io::Error),
}

impl Failure {
    /// Whether the backend may have moved to another MAC address: nothing came back from it.
    #[must_use]
    pub fn suggests_stale_neighbour(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Silence { .. } | Self::Unreachable(_)
        )
    }

    /// Whether the fault is this host's own (no descriptors, no ports): no backend is to be
    /// taken down for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_) | Self::NoWay { .. })
    }

    /// What it says of the backend.
    pub(in crate::health) fn probed(&self) -> Probed {
        match self {
            Self::Through(_) => Probed::DirectOnly,
            _ => Probed::Failed,
        }
    }

    pub(super) fn from_connect(error: io::Error, timeout: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut { after: timeout },
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable(error),
            _ => Self::from_io(error),
        }
    }

    pub(in crate::health) fn from_io(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL,
            ) => Self::Local(error),
            _ => Self::Io(error),
        }
    }

    /// From the end of a TLS handshake.
    pub(super) fn from_handshake(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(error) => Self::Tls(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::TlsClosed,
            None if error.kind() == io::ErrorKind::ConnectionReset => Self::TlsClosed,
            None => Self::from_io(error),
        }
    }

    pub(super) fn from_hyper(error: hyper::Error) -> Self {
        // What a server finds wrong with our certificate, it may say after the handshake.
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        if let Some(error) = cause.and_then(tls_error) {
            return Self::Tls(error);
        }
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

/// What TLS made of it, if the error is one of TLS.
fn tls_error(error: &io::Error) -> Option<rustls::Error> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(cause.clone())
}

/// The beginning of a datagram, with escapes for what is not text.
fn shown(bytes: &[u8]) -> String {
    /// Bytes.
    const MOST: usize = 32;
    let mut shown = bytes[..bytes.len().min(MOST)].escape_ascii().to_string();
    if bytes.len() > MOST {
        shown.push('…');
    }
    shown
}

/// "200-299 or 304".
pub(super) fn in_words(ranges: &[RangeInclusive<u16>]) -> String {
    let words = ranges
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start}-{end}"),
        });
    words.collect::<Vec<_>>().join(" or ")
}
