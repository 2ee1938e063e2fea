//! The watcher: keeps the next hop of every tracked address and the interfaces, and says when one changes.
//!
//! It subscribes first, then asks for everything, then applies what the kernel tells. Routes are
//! not kept here: whatever could have changed one, the kernel is asked again, which honours its
//! rules, tables and multipath hashing as our packets would meet them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rtnetlink::packet_route::RouteNetlinkMessage as Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{debug, warn};

use super::kernel::{Change, Changes, Requests};
use super::neighbour::is_fixed;
use super::next_hop::NeighbourKey;
use super::view::{Learned, View};
use super::{Event, NetError};

/// How long to gather changes of routes, links and addresses before asking for routes again and telling of
/// interfaces.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How many routes to ask for before looking at other work again.
const BATCH: usize = 64;
/// How often neighbours are looked after: unknown ones asked for, stale ones made sure of.
const ROUND: Duration = Duration::from_secs(1);
/// How long to wait before opening sockets again after they failed.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the next hops of a set of addresses. Dropping it ends its task.
#[derive(Debug)]
pub struct Watcher {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    Track(Vec<IpAddr>),
    Refresh(IpAddr),
}

impl Watcher {
    /// Starts watching the network namespace of the calling thread.
    ///
    /// # Errors
    /// When netlink sockets cannot be opened.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(events: mpsc::Sender<Event>) -> Result<Self, NetError> {
        let sockets = Sockets::open()?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let watch = Watch {
            view: View::default(),
            routes_due: None,
            to_route: VecDeque::new(),
            commands: receiver,
            events,
        };
        Ok(Self {
            commands,
            task: tokio::spawn(watch.run(sockets)),
        })
    }

    /// Replaces the set of tracked addresses. Each new one is reported once its route is known;
    /// one that was tracked already, only when its next hop changes.
    pub fn track(&self, addresses: Vec<IpAddr>) {
        self.command(Command::Track(addresses));
    }

    /// Doubts the MAC address of a tracked address (its gateway's, if it has one): has the kernel
    /// ask for it by broadcast at once. Harmless if it was right; at most once a second each.
    pub fn refresh(&self, address: IpAddr) {
        self.command(Command::Refresh(address));
    }

    fn command(&self, command: Command) {
        // The task ends by itself only when nobody listens to its events.
        let _ = self.commands.send(command);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One to listen, one to ask: an overrun of the first cannot harm an answer on the second.
struct Sockets {
    changes: Changes,
    requests: Requests,
}

impl Sockets {
    fn open() -> Result<Self, NetError> {
        Ok(Self {
            changes: Changes::subscribe()?,
            requests: Requests::open()?,
        })
    }
}

/// How to have the kernel make sure of a neighbour.
#[derive(Clone, Copy)]
enum Ask {
    /// As if a packet went there.
    Use,
    /// Whatever the kernel believes.
    Anew,
}

/// Why the watcher stops following.
enum Stop {
    /// Nobody listens any more.
    Finished,
    /// Netlink failed; to be opened again.
    Failed(String),
}

impl From<NetError> for Stop {
    fn from(error: NetError) -> Self {
        Self::Failed(error.to_string())
    }
}

struct Watch {
    view: View,
    /// When to ask for all routes again.
    routes_due: Option<tokio::time::Instant>,
    /// Addresses whose route is to be asked for.
    to_route: VecDeque<IpAddr>,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<Event>,
}

impl Watch {
    async fn run(mut self, mut sockets: Sockets) {
        let mut first = true;
        loop {
            let Err(stop) = self.follow(&mut sockets, first).await;
            let Stop::Failed(error) = stop else { return };
            first = false;
            warn!("watching the network failed: {error}; trying again");
            sockets = loop {
                sleep(RETRY).await;
                match Sockets::open() {
                    Ok(sockets) => break sockets,
                    Err(error) => warn!("watching the network failed: {error}; trying again"),
                }
            };
        }
    }

    async fn follow(
        &mut self,
        Sockets { changes, requests }: &mut Sockets,
        first: bool,
    ) -> Result<std::convert::Infallible, Stop> {
        self.synchronise(requests, first).await?;
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let idle = self.to_route.is_empty();
            let routes_due = self.routes_due.unwrap_or_else(tokio::time::Instant::now);
            tokio::select! {
                change = changes.next() => match change {
                    Some(Change::Message(message)) => self.changed(requests, message).await?,
                    Some(Change::Overrun) => {
                        debug!("netlink messages were lost, asking for everything again");
                        self.synchronise(requests, false).await?;
                    }
                    None => return Err(Stop::Failed("the netlink socket has closed".into())),
                },
                command = self.commands.recv() => {
                    self.command(requests, command.ok_or(Stop::Finished)?).await?;
                }
                _ = rounds.tick() => self.look_after_neighbours(requests).await?,
                () = sleep_until(routes_due), if self.routes_due.is_some() && idle => {
                    self.routes_due = None;
                    let news = self.view.news_of_interfaces();
                    self.tell(news).await?;
                    self.to_route = self.view.tracked().collect();
                }
                () = std::future::ready(()), if !idle => self.ask_for_routes(requests).await?,
            }
        }
    }

    /// Asks for everything.
    async fn synchronise(&mut self, requests: &Requests, first: bool) -> Result<(), Stop> {
        let news = self.view.all_links(requests.links().await?);
        if !first {
            self.tell(news).await?;
        }
        self.view.all_addresses(&requests.addresses().await?);
        let news = self.view.news_of_interfaces();
        self.tell(news).await?;
        let neighbours = requests.neighbours().await?;
        for learned in self.view.all_neighbours(&neighbours, Instant::now()) {
            self.learned(requests, learned).await?;
        }
        self.to_route = self.view.tracked().collect();
        Ok(())
    }

    async fn changed(&mut self, requests: &Requests, message: Message) -> Result<(), Stop> {
        match message {
            Message::NewNeighbour(message) => {
                let learned = self.view.neighbour(&message, false, Instant::now());
                self.learned(requests, learned).await?;
            }
            Message::DelNeighbour(message) => {
                let learned = self.view.neighbour(&message, true, Instant::now());
                self.learned(requests, learned).await?;
            }
            Message::NewLink(message) => {
                let news = self.view.link(&message, false);
                self.tell(news).await?;
                self.routes_changed();
            }
            Message::DelLink(message) => {
                let news = self.view.link(&message, true);
                self.tell(news).await?;
                self.routes_changed();
            }
            Message::NewAddress(message) => {
                self.view.address(&message, false);
                self.routes_changed();
            }
            Message::DelAddress(message) => {
                self.view.address(&message, true);
                self.routes_changed();
            }
            Message::NewRoute(_)
            | Message::DelRoute(_)
            | Message::NewRule(_)
            | Message::DelRule(_) => self.routes_changed(),
            _ => {}
        }
        Ok(())
    }

    fn routes_changed(&mut self) {
        self.routes_due
            .get_or_insert_with(|| tokio::time::Instant::now() + DEBOUNCE);
    }

    async fn learned(&mut self, requests: &Requests, learned: Learned) -> Result<(), Stop> {
        match learned {
            Learned::Nothing => {}
            Learned::Moved(key) => {
                let news = self.view.news_through(key);
                self.tell(news).await?;
            }
            Learned::Lost(key) => self.ask_for_neighbour(requests, key, Ask::Use).await?,
        }
        Ok(())
    }

    async fn command(&mut self, requests: &Requests, command: Command) -> Result<(), Stop> {
        match command {
            Command::Track(addresses) => {
                let new = self.view.track(addresses);
                self.to_route.extend(new);
            }
            Command::Refresh(address) => {
                if let Some(key) = self.view.begin_refresh(address, Instant::now()) {
                    self.ask_for_neighbour(requests, key, Ask::Anew).await?;
                }
            }
        }
        Ok(())
    }

    async fn look_after_neighbours(&mut self, requests: &Requests) -> Result<(), Stop> {
        let now = Instant::now();
        let news = self.view.give_up_lost(now);
        self.tell(news).await?;
        let unknown = self.view.unknown();
        for key in unknown.into_iter().chain(self.view.take_unconfirmed(now)) {
            self.ask_for_neighbour(requests, key, Ask::Use).await?;
        }
        Ok(())
    }

    /// Has the kernel make sure of a neighbour, after a look at what it knows: that may be news,
    /// and entries that others look after must not be touched.
    async fn ask_for_neighbour(
        &mut self,
        requests: &Requests,
        key: NeighbourKey,
        ask: Ask,
    ) -> Result<(), Stop> {
        // A refusal is no reason to stop: the link may be going down, or the table be full.
        match requests.neighbour(key).await {
            Ok(Some(message)) => {
                let learned = self.view.neighbour(&message, false, Instant::now());
                if learned == Learned::Moved(key) {
                    let news = self.view.news_through(key);
                    self.tell(news).await?;
                }
                if is_fixed(&message) {
                    return Ok(());
                }
            }
            Ok(None) => {}
            Err(error) => debug!("{error}"),
        }
        let asked = match ask {
            Ask::Use => requests.resolve(key).await,
            Ask::Anew => requests.resolve_anew(key).await,
        };
        if let Err(error) = asked {
            debug!("{error}");
        }
        Ok(())
    }

    async fn ask_for_routes(&mut self, requests: &Requests) -> Result<(), Stop> {
        for _ in 0..BATCH {
            let Some(address) = self.to_route.pop_front() else {
                break;
            };
            let route = requests.route(address).await?;
            let (news, unknown) = self.view.routed(address, route);
            if let Some(key) = unknown {
                self.ask_for_neighbour(requests, key, Ask::Use).await?;
            }
            self.tell(news).await?;
        }
        Ok(())
    }

    async fn tell(&self, news: impl IntoIterator<Item = Event>) -> Result<(), Stop> {
        for event in news {
            self.events.send(event).await.map_err(|_| Stop::Finished)?;
        }
        Ok(())
    }
}
