//! A query as a question that makes sense: which packet, by which interface.

use std::net::{IpAddr, SocketAddr};

use lb_common::{PROTOCOL_TCP, PROTOCOL_UDP};

use super::{CommandError, Control, ExplainQuery};
use crate::{
    config::Protocol, control::start::links_there, datapath::FRAME_MAX,
    net::links::interface_toward,
};

/// The client's port where none is named.
const SOME_PORT: u16 = 40_000;
/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;
/// The least that makes a packet with a payload.
const SIZE_MIN: u32 = 68;

/// Which packet to try.
pub(super) struct Question {
    pub(super) client: SocketAddr,
    /// Of the client's family.
    pub(super) vip: SocketAddr,
    /// IP protocol number: TCP's or UDP's.
    pub(super) protocol: u8,
    pub(super) interface: String,
    pub(super) ifindex: u32,
    /// The interface's own.
    pub(super) mac: [u8; 6],
    /// Bytes of the large packet, its IP header included.
    pub(super) size: u32,
}

impl Question {
    pub(super) fn protocol_name(&self) -> &'static str {
        match self.protocol {
            PROTOCOL_UDP => Protocol::Udp.name(),
            _ => Protocol::Tcp.name(),
        }
    }
}

impl Control {
    pub(super) async fn question(&self, query: &ExplainQuery) -> Result<Question, CommandError> {
        let client = client(&query.client)?;
        let (vip, own_protocol) = self.vip(&query.vip, client.ip())?;
        if client.is_ipv4() != vip.is_ipv4() {
            return Err(wrong(format!(
                "{} and {} are of different address families; name a client and a vip of one",
                client.ip(),
                vip.ip()
            )));
        }
        let protocol = match query.protocol.as_deref() {
            None => own_protocol,
            Some("tcp") => PROTOCOL_TCP,
            Some("udp") => PROTOCOL_UDP,
            Some(other) => return Err(wrong(format!("protocol {other} is neither tcp nor udp"))),
        };
        let (links, _) = links_there(&self.config).await?;
        let link = match &query.interface {
            Some(name) => (links.iter().find(|link| link.name == *name)).ok_or_else(|| {
                let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
                wrong(format!(
                    "{name} is none of the configuration's interfaces; there are {}",
                    names.join(", ")
                ))
            })?,
            None => {
                // A client that this host has no route to may come by any.
                let toward = interface_toward(client.ip()).await?.ok();
                (links.iter())
                    .find(|link| Some(link.ifindex) == toward)
                    .or_else(|| links.first())
                    .ok_or_else(|| {
                        wrong("none of the configuration's interfaces is there".to_owned())
                    })?
            }
        };
        let most = FRAME_MAX as u32 - ETHERNET;
        let size = query.size.unwrap_or_else(|| link.mtu.min(most));
        if !(SIZE_MIN..=most).contains(&size) {
            return Err(wrong(format!(
                "size {size} is not within {SIZE_MIN}-{most} bytes"
            )));
        }
        Ok(Question {
            client,
            vip,
            protocol,
            interface: link.name.clone(),
            ifindex: link.ifindex,
            mac: link.mac.unwrap_or_default(),
            size,
        })
    }

    /// Address and port, and the protocol that a vip with them has; TCP for none. A service's name stands for
    /// its first vip of the client's family.
    fn vip(&self, text: &str, client: IpAddr) -> Result<(SocketAddr, u8), CommandError> {
        let number = |protocol| match protocol {
            Protocol::Tcp => PROTOCOL_TCP,
            Protocol::Udp => PROTOCOL_UDP,
        };
        if let Some(service) = self.config.services.iter().find(|one| one.name == text) {
            let vip = (service.listen.iter())
                .find(|vip| vip.is_ipv4() == client.is_ipv4())
                .ok_or_else(|| {
                    wrong(format!(
                        "{text} has no vip of the address family of {client}"
                    ))
                })?;
            let address = SocketAddr::new(vip.address, vip.ports.first);
            return Ok((address, number(service.protocol)));
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            wrong(format!(
                "{text} is neither a vip such as 203.0.113.10:80 or [2001:db8::10]:80, nor the name of \
                 a service"
            ))
        })?;
        let own = (self.config.services.iter()).find(|service| {
            (service.listen.iter()).any(|vip| {
                vip.address == address.ip()
                    && (vip.ports.first..=vip.ports.last).contains(&address.port())
            })
        });
        Ok((
            address,
            own.map_or(PROTOCOL_TCP, |service| number(service.protocol)),
        ))
    }
}

fn client(text: &str) -> Result<SocketAddr, CommandError> {
    let bare = text
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, SOME_PORT));
    bare.or_else(|_| text.parse()).map_err(|_| {
        wrong(format!(
            "{text} is no client; write an address such as 198.51.100.7, or with its port 198.51.100.7:40000 \
             or [2001:db8::7]:40000"
        ))
    })
}

fn wrong(words: String) -> CommandError {
    CommandError::Question(words)
}
