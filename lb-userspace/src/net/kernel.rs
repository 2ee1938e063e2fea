//! The questions we ask the kernel over netlink, and the stream of what it tells by itself.

use std::future::ready;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinSet;

use super::interfaces::local;
use super::next_hop::{NeighbourKey, Route, refusal};
use super::{Link, NetError};

/// Bytes.
const RECEIVE_BUFFER: libc::c_int = 4 * 1024 * 1024;

/// A socket for questions. Its task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Requests {
    handle: Handle,
    _connection: JoinSet<()>,
}

impl Requests {
    pub(super) fn open() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetError::Socket)?;
        let mut task = JoinSet::new();
        task.spawn(connection);
        Ok(Self {
            handle,
            _connection: task,
        })
    }

    pub(super) async fn links(&self) -> Result<Vec<Link>, NetError> {
        let messages = self.link_messages().await?;
        Ok(messages.iter().map(Link::from_message).collect())
    }

    /// All interfaces, with all that the kernel tells of them.
    pub(super) async fn link_messages(&self) -> Result<Vec<LinkMessage>, NetError> {
        let links = self.handle.link().get().execute().try_collect().await;
        links.map_err(|source| NetError::Request {
            what: "list the interfaces".into(),
            source,
        })
    }

    /// All routes of one family, of all tables.
    pub(super) async fn routes(
        &self,
        family: AddressFamily,
    ) -> Result<Vec<RouteMessage>, NetError> {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let routes = self.handle.route().get(question).execute();
        let routes = routes.try_collect().await;
        routes.map_err(|source| NetError::Request {
            what: "list the routes".into(),
            source,
        })
    }

    /// All addresses of this host, IPv4 and IPv6.
    pub(super) async fn addresses(&self) -> Result<Vec<AddressMessage>, NetError> {
        let addresses = self.handle.address().get().execute().try_collect().await;
        addresses.map_err(|source| NetError::Request {
            what: "list the addresses".into(),
            source,
        })
    }

    /// Puts an address on the host; one that is there is an error.
    pub(super) async fn add_address(&self, message: AddressMessage) -> Result<(), NetError> {
        let what = || format!("put {} on the host", told(&message));
        // The crate's own request takes an address and its length, and then a whole message.
        let mut request = self
            .handle
            .address()
            .add(0, Ipv4Addr::UNSPECIFIED.into(), 0);
        request.message_mut().clone_from(&message);
        let done = request.execute().await;
        done.map_err(|source| NetError::Request {
            what: what(),
            source,
        })
    }

    /// Takes an address off the host.
    pub(super) async fn remove_address(&self, message: AddressMessage) -> Result<(), NetError> {
        let what = format!("take {} off the host", told(&message));
        let done = self.handle.address().del(message).execute().await;
        done.map_err(|source| NetError::Request { what, source })
    }

    /// All neighbours, IPv4 and IPv6.
    pub(super) async fn neighbours(&self) -> Result<Vec<NeighbourMessage>, NetError> {
        let neighbours = self.handle.neighbours().get().execute().try_collect().await;
        neighbours.map_err(|source| NetError::Request {
            what: "list the neighbours".into(),
            source,
        })
    }

    /// What the kernel knows of one neighbour; `None` if nothing.
    pub(super) async fn neighbour(
        &self,
        key: NeighbourKey,
    ) -> Result<Option<NeighbourMessage>, NetError> {
        // The crate's own question always asks for all of them.
        let mut question =
            NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(neighbour_message(key)));
        question.header.flags = NLM_F_REQUEST;
        let failed = |source| NetError::Request {
            what: format!("look up neighbour {}", key.1),
            source,
        };
        let mut answers = self.handle.clone().request(question).map_err(failed)?;
        match answers.next().await.map(|answer| answer.payload) {
            Some(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message))) => {
                Ok(Some(message))
            }
            Some(NetlinkPayload::Error(error)) if -error.raw_code() != libc::ENOENT => {
                Err(failed(rtnetlink::Error::NetlinkError(error)))
            }
            _ => Ok(None),
        }
    }

    /// The route of packets from this host to `address`. The inner `Err` says why there is none.
    pub(super) async fn route(&self, address: IpAddr) -> Result<Result<Route, String>, NetError> {
        let answer = self.route_message(address).await?;
        Ok(answer.and_then(|message| Route::from_message(address, &message)))
    }

    /// The same as the kernel tells it.
    pub(super) async fn route_message(
        &self,
        address: IpAddr,
    ) -> Result<Result<RouteMessage, String>, NetError> {
        let mut question = RouteMessage::default();
        question.header.address_family = family(address);
        question.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        question
            .attributes
            .push(RouteAttribute::Destination(address.into()));
        match self.handle.route().get(question).execute().try_next().await {
            Ok(Some(answer)) => Ok(Ok(answer)),
            Ok(None) => Ok(Err(refusal(address, libc::ENETUNREACH))),
            Err(rtnetlink::Error::NetlinkError(error)) => {
                Ok(Err(refusal(address, error.raw_code().abs())))
            }
            Err(source) => Err(NetError::Request {
                what: format!("look up the route to {address}"),
                source,
            }),
        }
    }

    /// Has the kernel use a neighbour, as if a packet had to go there. One that is not known is
    /// asked for by broadcast at once; a stale one is asked itself after 5 s
    /// (`delay_first_probe_time`); one that is reachable stays as it is. Not for fixed entries.
    pub(super) async fn resolve(&self, (ifindex, address): NeighbourKey) -> Result<(), NetError> {
        let request = self.handle.neighbours().add(ifindex, address).replace();
        let request = request
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use);
        let what = || format!("have neighbour {address} resolved");
        request.execute().await.map_err(|source| NetError::Request {
            what: what(),
            source,
        })
    }

    /// Has the kernel ask all hosts for a neighbour's MAC address at once, whatever it believed.
    ///
    /// Deleting the entry comes first. Using a stale entry would ask the old MAC address three
    /// times, 5 s later; setting the state `probe` asks it at once, but again only it; setting
    /// `incomplete` asks nobody and leaves the entry stuck.
    pub(super) async fn resolve_anew(&self, key: NeighbourKey) -> Result<(), NetError> {
        match self
            .handle
            .neighbours()
            .del(neighbour_message(key))
            .execute()
            .await
        {
            Ok(()) => {}
            Err(rtnetlink::Error::NetlinkError(error)) if -error.raw_code() == libc::ENOENT => {}
            Err(source) => {
                let what = format!("delete neighbour {}", key.1);
                return Err(NetError::Request { what, source });
            }
        }
        self.resolve(key).await
    }
}

/// What the kernel tells by itself.
#[derive(Debug)]
pub(super) enum Change {
    Message(RouteNetlinkMessage),
    /// Messages were lost: ask for everything again.
    Overrun,
}

/// A socket that listens. Its task ends when this is dropped.
pub(super) struct Changes {
    stream: BoxStream<'static, Change>,
    _connection: JoinSet<()>,
}

impl Changes {
    /// Listens from the moment this returns; what is asked afterwards cannot miss a change.
    pub(super) fn subscribe() -> Result<Self, NetError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetError::Socket)?;
        // Room for a burst, as far as net.core.rmem_max allows; an overrun is handled anyway.
        let _ = connection
            .socket_mut()
            .socket_mut()
            .set_rx_buf_sz(RECEIVE_BUFFER);
        let mut task = JoinSet::new();
        task.spawn(connection);
        let stream = messages.filter_map(|(message, _)| {
            ready(match message.payload {
                NetlinkPayload::InnerMessage(message) => Some(Change::Message(message)),
                NetlinkPayload::Overrun(_) => Some(Change::Overrun),
                _ => None,
            })
        });
        Ok(Self {
            stream: stream.boxed(),
            _connection: task,
        })
    }

    /// The next change; `None` when the socket has failed. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Change> {
        self.stream.next().await
    }
}

/// The address of a message, as people read it.
fn told(message: &AddressMessage) -> String {
    local(message).map_or_else(|| "an address".to_owned(), |address| address.to_string())
}

/// A question about one neighbour.
fn neighbour_message((ifindex, address): NeighbourKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = ifindex;
    message
        .attributes
        .push(NeighbourAttribute::Destination(address.into()));
    message
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
