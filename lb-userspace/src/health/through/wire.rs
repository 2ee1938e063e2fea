//! The sockets by which frames of our own leave, and answers to them are seen before this host's own
//! stack sees them: it may hold the vip itself, and would take an answer from it for a forgery.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::answer::{self, Answer, Kind};
use super::frame::{self, Ends};
use super::{Way, filter};
use crate::health::probe::{Datagram, Failure};

/// Ports that SYNs come from, of each family, by turns. A backend whose reset was lost answers no new
/// connection from the same port for a while.
const PORTS: usize = 8;
/// Until a socket that failed is read again.
const AFTER_ERROR: Duration = Duration::from_millis(10);
/// Longest datagram that is looked at, in bytes.
const ANSWER_MAX: usize = 65_536;

/// Shared by all probes.
#[derive(Debug)]
pub(in crate::health) struct Wire {
    /// Frames leave by it; it receives nothing.
    sender: Socket,
    ports4: Ports,
    ports6: Ports,
    waiting: Arc<Waiting>,
    readers: Vec<JoinHandle<()>>,
}

/// Ports that are ours: sockets that are bound and never listen, so that this host's kernel gives them
/// to nobody else.
#[derive(Debug)]
struct Ports {
    sockets: Vec<Socket>,
    numbers: Vec<u16>,
    next: AtomicUsize,
}

/// Who waits for an answer, by what it will acknowledge.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u32, Expected>>);

#[derive(Debug)]
struct Expected {
    ends: Ends,
    tell: oneshot::Sender<Kind>,
}

impl Wire {
    /// Opens the sockets, which takes CAP_NET_RAW.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(in crate::health) fn open() -> io::Result<Self> {
        let sender = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let ports4 = Ports::reserve(Ipv4Addr::UNSPECIFIED.into())?;
        // A host may be without IPv6.
        let ports6 = Ports::reserve(Ipv6Addr::UNSPECIFIED.into()).unwrap_or_default();
        let waiting = Arc::new(Waiting::default());
        let filters = [
            (libc::ETH_P_IP, filter::tcp4(&ports4.numbers)),
            (libc::ETH_P_IPV6, filter::tcp6(&ports6.numbers)),
        ];
        let readers = filters.map(|(protocol, filter)| {
            // Without the frame's header, whatever the interface.
            let protocol = i32::from((protocol as u16).to_be());
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol.into()))?;
            socket.attach_filter(&filter)?;
            socket.set_nonblocking(true)?;
            // Nothing but reading is done with it, which is the same for every kind of socket.
            let socket = UdpSocket::from_std(socket.into())?;
            Ok(tokio::spawn(listen(socket, Arc::clone(&waiting))))
        });
        Ok(Self {
            sender,
            ports4,
            ports6,
            waiting,
            readers: readers.into_iter().collect::<io::Result<_>>()?,
        })
    }

    /// Begins a connection to the vip on the backend at the end of this way, and ends one that comes
    /// about; `None` where nobody answers in time.
    pub(super) async fn connect(
        &self,
        way: &Way,
        source: IpAddr,
        vip: SocketAddr,
        deadline: Instant,
    ) -> Result<Option<Kind>, Failure> {
        let ports = if vip.is_ipv4() {
            &self.ports4
        } else {
            &self.ports6
        };
        let Some(port) = ports.take() else {
            return Err(Failure::Local(io::ErrorKind::AddrNotAvailable.into()));
        };
        let from = SocketAddr::new(source, port);
        let ends = Ends { from, vip };
        let (turn, answer) = self.waiting.enter(ends);
        let sequence = turn.acknowledges.wrapping_sub(1);
        self.send(way, frame::syn(way, ends, sequence))?;
        // A sender lives in the table until it tells or its turn is over.
        let Ok(Ok(kind)) = timeout_at(deadline, answer).await else {
            return Ok(None);
        };
        if kind == Kind::Accepted {
            // The kernel resets it too, but by its own route to the vip, not to this backend.
            self.send(way, frame::reset(way, ends, turn.acknowledges))?;
        }
        Ok(Some(kind))
    }

    /// Asks the vip on the backend at the end of this way; `None` where nobody answers in time.
    pub(super) async fn datagram(
        &self,
        way: &Way,
        source: IpAddr,
        vip: SocketAddr,
        datagram: &Datagram,
        deadline: Instant,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        let socket = UdpSocket::bind((source, 0)).await;
        let socket = socket.map_err(Failure::from_io)?;
        let from = socket.local_addr().map_err(Failure::from_io)?;
        let ends = Ends { from, vip };
        self.send(way, frame::datagram(way, ends, &datagram.send))?;
        let mut answer = vec![0; ANSWER_MAX];
        let answered = async {
            loop {
                let (length, peer) = socket.recv_from(&mut answer).await?;
                if peer.ip().to_canonical() == vip.ip() && peer.port() == vip.port() {
                    return Ok(length);
                }
            }
        };
        match timeout_at(deadline, answered).await {
            Ok(Ok(length)) => Ok(Some(datagram.judge(&answer[..length]))),
            Ok(Err(error)) => Err(Failure::from_io(error)),
            Err(_) => Ok(None),
        }
    }

    fn send(&self, way: &Way, frame: io::Result<Vec<u8>>) -> Result<(), Failure> {
        let frame = frame.map_err(Failure::Local)?;
        let sent = self.sender.send_to(&frame, &way.link);
        // An interface that is down or gone, a full queue: nothing that the backend can help.
        sent.map(drop).map_err(Failure::Local)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

impl Ports {
    fn reserve(any: IpAddr) -> io::Result<Self> {
        let mut sockets = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..PORTS {
            let address = SocketAddr::new(any, 0);
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            if any.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            let bound = socket.local_addr()?.as_socket();
            numbers.extend(bound.map(|bound| bound.port()));
            sockets.push(socket);
        }
        Ok(Self {
            sockets,
            numbers,
            next: AtomicUsize::new(0),
        })
    }

    fn take(&self) -> Option<u16> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(self.sockets.len())?;
        self.numbers.get(place).copied()
    }
}

impl Default for Ports {
    /// None.
    fn default() -> Self {
        Self {
            sockets: Vec::new(),
            numbers: Vec::new(),
            next: AtomicUsize::new(0),
        }
    }
}

/// A place among those that wait, which is left when this is dropped.
struct Turn<'a> {
    waiting: &'a Waiting,
    acknowledges: u32,
}

impl Waiting {
    fn enter(&self, ends: Ends) -> (Turn<'_>, oneshot::Receiver<Kind>) {
        let (tell, answer) = oneshot::channel();
        let mut expected = self.lock();
        let acknowledges = loop {
            let any: u32 = rand::random();
            if !expected.contains_key(&any) {
                break any;
            }
        };
        expected.insert(acknowledges, Expected { ends, tell });
        let turn = Turn {
            waiting: self,
            acknowledges,
        };
        (turn, answer)
    }

    /// An answer came, which may be to nobody.
    fn tell(&self, answer: &Answer) {
        let mut expected = self.lock();
        let ours = (expected.get(&answer.acknowledged)).is_some_and(|expected| {
            expected.ends
                == Ends {
                    from: answer.to,
                    vip: answer.from,
                }
        });
        if ours && let Some(Expected { tell, .. }) = expected.remove(&answer.acknowledged) {
            // Whoever waited may have just given up.
            let _ = tell.send(answer.kind);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Expected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.acknowledges);
    }
}

/// Hands on what comes, as long as there is somebody to hand it to.
async fn listen(socket: UdpSocket, waiting: Arc<Waiting>) {
    let mut packet = [0; 512];
    loop {
        let Ok(length) = socket.recv(&mut packet).await else {
            // An interface went down, which is told once each; nothing to be busy with.
            sleep(AFTER_ERROR).await;
            continue;
        };
        if let Some(answer) = answer::read(&packet[..length]) {
            waiting.tell(&answer);
        }
    }
}
