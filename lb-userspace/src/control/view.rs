//! What the daemon tells about itself: the JSON of the API, and of `status` and `flows`. Fields
//! are added, never renamed.

pub mod diff;
pub mod explain;
pub mod observed;
pub mod trace;

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub services: Vec<ServiceStatus>,
    pub interfaces: Vec<InterfaceStatus>,
    pub flows: FlowTotals,
    /// Packets that were dropped, passed or answered, by reason, and events on the way.
    pub reasons: Vec<ReasonCount>,
    pub version: String,
    /// Version of the pinned maps' layout.
    pub layout: u32,
    /// When this daemon started, RFC 3339.
    pub started: String,
    pub config: ConfigStatus,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub mode: String,
    pub scheduler: String,
    pub protocol: String,
    /// As in the configuration: `203.0.113.10:80`, `203.0.113.10:8000-8100`, `203.0.113.10:*`.
    pub vips: Vec<String>,
    /// Addresses of its vips that `announce` put on this host.
    pub announced: Vec<IpAddr>,
    /// Too few of its backends are up: all are used, as `panic_threshold` says.
    pub panic: bool,
    pub backends: Vec<BackendStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendStatus {
    pub name: String,
    /// Without a port where packets keep the one that the client asked for.
    pub address: String,
    /// `up`, `down`, `drain` or `maint`.
    pub state: String,
    /// Why it is in this state, in words.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What the last probe found: `ok`, `failed`, `direct_only` (it answers itself, but not by the way
    /// that its service's packets go), `unknown` (not probed yet), `none` (there is no health check).
    pub probe: String,
    /// Why the last probe failed that did, in words; null if none did since the daemon started.
    pub last_error: Option<String>,
    /// When it failed, RFC 3339.
    pub last_error_at: Option<String>,
    /// The one in force.
    pub weight: u16,
    /// That of the file.
    pub weight_configured: u16,
    /// What the operator decided over it; null for nothing.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideStatus>,
    /// It gets new flows only while no other backend does.
    pub backup: bool,
    /// Confirmed flows that not both ends have closed.
    pub active_flows: u64,
    /// Flows that may yet be confirmed.
    pub opening_flows: u64,
    /// What becomes of packets of the flows it has: `forwarded` or `reset`.
    pub existing_flows: String,
    /// Flows sent to it since its entry was made.
    pub flows_total: u64,
    /// Packets and bytes, both directions together.
    pub packets_total: u64,
    pub bytes_total: u64,
    /// MAC address and interface by which packets go to it, or why there are none.
    pub next_hop: String,
}

/// What the operator decided over a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OverrideStatus {
    /// `drain`, `maint`, or null for neither.
    pub state: Option<String>,
    /// In place of the file's; null for that one.
    pub weight: Option<u16>,
    /// When the last of these was decided, RFC 3339.
    pub since: String,
    /// The user who decided it, where that is known.
    pub uid: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    pub name: String,
    /// `native`, `generic` or `detached`.
    pub xdp: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct FlowTotals {
    /// Confirmed flows of both families.
    pub confirmed: u64,
    pub half_open: u64,
    /// Most of each family.
    pub confirmed_max: u64,
    pub half_open_max: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReasonCount {
    pub reason: String,
    /// `pass`, `drop`, `answer` or `event`.
    pub kind: String,
    pub count: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    pub path: String,
    /// When the configuration in force was read, RFC 3339.
    pub loaded: String,
    /// Why the last reload changed nothing, if it failed.
    pub last_error: Option<String>,
}

/// `GET /v1/flows`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flows {
    /// How many match, even where `flows` is cut or left out.
    pub count: u64,
    pub flows: Vec<FlowStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowStatus {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub protocol: String,
    pub service: String,
    pub backend: String,
    pub backend_address: SocketAddr,
    /// Address and port that the backend sees.
    pub source: SocketAddr,
    pub state: String,
    pub confirmed: bool,
    /// Seconds since the client's last packet.
    pub idle: f64,
}

/// Which flows to tell of: all that match every given part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FlowFilter {
    pub service: Option<String>,
    /// Name of a backend.
    pub backend: Option<String>,
    pub client: Option<IpAddr>,
    pub state: Option<String>,
    /// At most so many in `flows`; the count is of all.
    pub limit: Option<usize>,
}

/// `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// One line that says what changed.
    pub summary: String,
}

/// A backend by the names of the configuration, `SERVICE/BACKEND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendPlace {
    pub service: String,
    pub backend: String,
}

impl FromStr for BackendPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((service, backend)) if !service.is_empty() && !backend.is_empty() => Ok(Self {
                service: service.to_owned(),
                backend: backend.to_owned(),
            }),
            _ => Err("write SERVICE/BACKEND, such as web/web-1".to_owned()),
        }
    }
}

impl Display for BackendPlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.backend)
    }
}

/// What an operator can decide over a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// No new flows; old ones go on for a while.
    Drain,
    /// No traffic and no probes; its flows end at once.
    Disable,
    /// In place of the file's, 0-1000.
    Weight(u16),
    /// As the file and its health say.
    Enable,
}

/// The body of `POST /v1/services/SERVICE/backends/BACKEND/weight`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    pub weight: u16,
}

/// `POST /v1/services/SERVICE/backends/BACKEND/drain`, `…/disable`, `…/weight` and `…/enable`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overridden {
    /// One line that says what changed.
    pub summary: String,
    /// What the operator may not have wanted.
    pub warning: Option<String>,
}

/// `POST /v1/detach`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detached {
    /// Those that had the program.
    pub interfaces: Vec<String>,
    /// Vips that were taken off this host.
    pub addresses: Vec<IpAddr>,
}

impl Display for Detached {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.interfaces.is_empty() {
            parts.push(format!("the program off {}", self.interfaces.join(", ")));
        }
        if !self.addresses.is_empty() {
            parts.push(format!("{} off this host", listed(&self.addresses)));
        }
        if parts.is_empty() {
            return f.write_str("nothing was attached");
        }
        write!(f, "took {}", parts.join(" and "))
    }
}

/// Addresses, one after the other.
#[must_use]
pub fn listed(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// A duration in words, by its two largest units: `3m 12s`.
#[must_use]
pub fn short(duration: Duration) -> String {
    let whole = Duration::from_secs(duration.as_secs());
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
