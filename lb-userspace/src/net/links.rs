//! The interfaces of this host.

use std::net::IpAddr;

use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};

use super::kernel::Requests;
use super::{Mac, NetError};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub ifindex: u32,
    /// `None` where there are none, such as on a tunnel.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it is administratively up; the cable may be out.
    pub up: bool,
    /// Whether neighbours on it are asked for their MAC addresses: Ethernet, neither loopback
    /// nor point-to-point, ARP not switched off.
    pub resolves: bool,
    /// It is one end of a veth pair.
    pub veth: bool,
    /// Where an XDP program is attached to it, if one is.
    pub xdp: Option<Xdp>,
}

/// Where in the network stack an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdp {
    Native,
    Generic,
    /// In the device itself, or in several places at once.
    Other,
}

/// All interfaces.
///
/// # Errors
/// When the kernel does not answer.
pub async fn links() -> Result<Vec<Link>, NetError> {
    Requests::open()?.links().await
}

/// The index of the interface by which packets to an address leave; the inner `Err` says why there is none.
///
/// # Errors
/// When the kernel does not answer.
pub async fn interface_toward(address: IpAddr) -> Result<Result<u32, String>, NetError> {
    let route = Requests::open()?.route(address).await?;
    Ok(route.map(|route| route.ifindex))
}

/// The interface of that name.
///
/// # Errors
/// [`NetError::NoInterface`], which lists those that exist; or the kernel does not answer.
pub async fn link_by_name(name: &str) -> Result<Link, NetError> {
    let mut links = links().await?;
    match links.iter().position(|link| link.name == name) {
        Some(index) => Ok(links.swap_remove(index)),
        None => Err(NetError::NoInterface {
            name: name.to_owned(),
            present: links.into_iter().map(|link| link.name).collect(),
        }),
    }
}

impl Link {
    pub(super) fn from_message(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let no_arp = LinkFlags::Noarp | LinkFlags::Loopback | LinkFlags::Pointopoint;
        let mut link = Self {
            name: String::new(),
            ifindex: message.header.index,
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            resolves: message.header.link_layer_type == LinkLayerType::Ether
                && !flags.intersects(no_arp),
            veth: false,
            xdp: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::LinkInfo(parts) => {
                    link.veth = parts.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                LinkAttribute::Xdp(parts) => link.xdp = parts.iter().find_map(Xdp::from_part),
                _ => {}
            }
        }
        link
    }
}

impl Xdp {
    fn from_part(part: &LinkXdp) -> Option<Self> {
        match part {
            LinkXdp::Attached(XdpAttached::Driver) => Some(Self::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Self::Generic),
            LinkXdp::Attached(XdpAttached::None) => None,
            LinkXdp::Attached(_) => Some(Self::Other),
            _ => None,
        }
    }
}
