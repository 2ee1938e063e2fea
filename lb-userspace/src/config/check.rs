//! Health checks as the rest of the program sees them: checked, complete, with what the files hold
//! that they name.

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use serde::Serialize;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// How the backends of a service are probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    #[serde(flatten)]
    pub probe: Probe,
    /// Port to probe; `None` for that of [`Service::probe_port`](super::Service::probe_port).
    pub port: Option<u16>,
    /// From the start of one probe to the next, 100 ms to 1 h.
    pub interval: Duration,
    /// The same while results contradict the backend's state: at most the interval.
    pub fast_interval: Duration,
    /// More than 0, at most 60 s.
    pub timeout: Duration,
    /// Successes in a row that bring a backend up, 1-100.
    pub rise: u32,
    /// Failures in a row that take it down, 1-100.
    pub fall: u32,
    /// Most that an interval is shortened or lengthened at random, 0-50 %.
    #[serde(rename = "jitter")]
    pub jitter_percent: u32,
    /// Backends are asked by the way of the service's packets as well. Only in one-way modes, and
    /// with a probe.
    pub through: bool,
    /// `None`: a backend may change as often as it likes.
    pub damping: Option<Damping>,
}

/// When a backend that changes too often is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Damping {
    /// Changes, up and down together, 2-100…
    pub changes: u32,
    /// …within 1 s to 1 h…
    pub within: Duration,
    /// …hold it down for 1 s to 1 d, once it goes down.
    pub hold: Duration,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            probe: Probe::Tcp,
            port: None,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            jitter_percent: 10,
            through: false,
            damping: None,
        }
    }
}

/// What one probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing: the backend always counts as healthy.
    None,
    /// Opens a TCP connection.
    Tcp,
    /// Sends `GET` over plain HTTP.
    Http(HttpProbe),
    /// The same over TLS.
    Https(HttpProbe, Tls),
    /// Sends a datagram and waits for an answer.
    Udp(UdpProbe),
}

impl Probe {
    /// The word for it in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
            Self::Https(..) => "https",
            Self::Udp(_) => "udp",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpProbe {
    /// Starts with `/`; visible ASCII without `#`.
    pub path: String,
    /// Value of the `Host` header, visible ASCII; `None` for the backend's address.
    pub host: Option<String>,
    /// Status codes that mean success: at least one range, within 100-599.
    pub expect: Vec<RangeInclusive<u16>>,
}

/// How the server of an `https` probe is known, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that may have signed the server's certificate, at least one; `None`: any
    /// certificate is good.
    pub authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// Sent to the server (SNI), and the name in its certificate; `None` for the backend's address.
    pub server_name: Option<ServerName<'static>>,
    pub client: Option<ClientCertificate>,
}

/// What a server that asks for it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Our own first, then those of the authorities between.
    pub chain: Arc<Vec<CertificateDer<'static>>>,
    /// Of the first certificate.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl Tls {
    /// The name or address that the certificate of a backend must be for.
    #[must_use]
    pub fn name_of(&self, backend: IpAddr) -> ServerName<'static> {
        (self.server_name.clone()).unwrap_or_else(|| ServerName::IpAddress(backend.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpProbe {
    /// 1-1,024 bytes.
    pub send: Vec<u8>,
    /// What the answer contains, 1-1,024 bytes; `None`: any answer is good.
    pub expect: Option<Vec<u8>>,
}
