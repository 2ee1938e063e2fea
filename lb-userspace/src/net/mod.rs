//! What this host's network looks like: links, routes and neighbours, from netlink.
//!
//! [`Watcher`] follows the next hop of every backend; [`links`] and [`sysctl`] answer questions;
//! [`survey`] looks at all of it once; [`held`] puts addresses on the host, and [`gratuitous`] tells the
//! neighbours.
//! Everything is about the network namespace of the calling thread. No other room knows netlink.
#![forbid(unsafe_code)]

use std::io;
use std::net::IpAddr;

mod address;
pub mod gratuitous;
pub mod held;
mod interfaces;
mod kernel;
pub mod links;
mod neighbour;
pub mod netdev;
mod next_hop;
pub mod survey;
pub mod sysctl;
mod view;
mod watch;

pub use address::SeenAddress;
pub use links::{Link, link_by_name, links};
pub use watch::Watcher;

/// A MAC address, as on the wire.
pub type Mac = [u8; 6];

/// How packets leave for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface they leave by.
    pub ifindex: u32,
    /// Its MAC address.
    pub local_mac: Mac,
    /// MAC address of the backend, or of the gateway; `None` while it is not known.
    pub peer_mac: Option<Mac>,
    /// The address that this host would send from.
    pub source: IpAddr,
    /// The router on the way, if the backend is not on a network of ours. May be an IPv6 address
    /// for an IPv4 backend.
    pub gateway: Option<IpAddr>,
    /// Most bytes of an IP packet on that interface.
    pub mtu: u32,
}

/// An interface as packets meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// Most bytes of an IP packet.
    pub mtu: u32,
    /// Our addresses on it that others may see as a source, the best first.
    pub addresses: Vec<IpAddr>,
}

/// What a [`Watcher`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next hop of a tracked address, when it is first known and whenever it differs;
    /// `Err` says why there is none, such as "no route to 10.0.0.9".
    NextHop {
        address: IpAddr,
        next_hop: Result<NextHop, String>,
    },
    /// An interface, when it is first known and whenever its name, MTU or addresses differ; `None`
    /// when it is gone.
    Interface {
        ifindex: u32,
        interface: Option<Interface>,
    },
    /// An interface appeared, or took this name, after the watcher had started.
    LinkCame { name: String, ifindex: u32 },
    /// An interface is gone, or has another name now.
    LinkGone { name: String, ifindex: u32 },
}

#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[source] io::Error),
    #[error("cannot {what}: {source}")]
    Request {
        what: String,
        source: rtnetlink::Error,
    },
    #[error("interface {name} does not exist; this host has {}", present.join(", "))]
    NoInterface { name: String, present: Vec<String> },
    /// An address could not be put on the host or taken off it.
    #[error("{0}")]
    Address(String),
}
