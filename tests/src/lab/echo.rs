//! A small TCP server for what nginx cannot be made to do: who closes first, and how.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use super::host::Host;

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends back what it gets, as it comes, until the client closes.
    Echo,
    /// Says `hello` and closes; then reads on until the client closes too.
    CloseFirst,
    /// Waits until the client has closed its sending side, then sends back everything: the
    /// connection is half closed for as long as the answer takes.
    AnswerAfterClose,
    /// Reads once, then ends the connection with a RST.
    Reset,
}

/// A server in one of the lab's hosts, for IPv4 and IPv6. It stops when dropped; connections that
/// are open then go on until their clients close.
pub struct EchoServer {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens on `port` of this host. A port below 1024 other than the backend's is free.
    #[must_use]
    pub fn start(host: &Host, port: u16, manner: Manner) -> Self {
        let listener = host.inside(|| listen(port)).unwrap_or_else(|error| {
            panic!("cannot listen on {} port {port}: {error}", host.name())
        });
        let accepting = listener
            .try_clone()
            .expect("a socket just made can be opened twice");
        let thread = thread::spawn(move || {
            for stream in accepting.incoming() {
                let Ok(stream) = stream else { break };
                thread::spawn(move || {
                    // A client that goes away early is a thing that tests do.
                    let _ = serve(stream, manner);
                });
            }
        });
        Self {
            listener,
            thread: Some(thread),
        }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        // On Linux this wakes the thread from `accept`, with EINVAL.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn serve(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    let mut buffer = [0; 16_384];
    match manner {
        Manner::Echo => loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length])?,
            }
        },
        Manner::CloseFirst => {
            stream.write_all(b"hello")?;
            stream.shutdown(Shutdown::Write)?;
            while stream.read(&mut buffer)? != 0 {}
            Ok(())
        }
        Manner::AnswerAfterClose => {
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)
        }
        Manner::Reset => {
            let _ = stream.read(&mut buffer)?;
            // Dropped with a linger time of 0, a socket sends RST.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))
        }
    }
}
