//! As much of an HTTP client as the tests need, on plain blocking sockets: what happens to a
//! connection must show, so there is no retry and no pool.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::SockRef;

use super::body::Digest;

/// How long connecting, and each read or write, may take, unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// `http://ADDRESS[:PORT]/PATH`, with a literal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub address: SocketAddr,
    pub path: String,
}

impl Url {
    /// Panics when the text is not such a URL.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::try_parse(text)
            .unwrap_or_else(|| panic!("not a URL like http://203.0.113.10:80/path: {text}"))
    }

    fn try_parse(text: &str) -> Option<Self> {
        let (authority, path) = text.strip_prefix("http://")?.split_once('/')?;
        let address = authority
            .parse()
            .or_else(|_| format!("{authority}:80").parse())
            .ok()?;
        Some(Self {
            address,
            path: format!("/{path}"),
        })
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// The name that the server gave itself in the header `X-Backend`; empty without one.
    pub backend: String,
    /// The client's address as the server sees it, from the header `X-Client`; empty without one.
    pub client: String,
    pub body: Vec<u8>,
}

/// A connection that is kept alive between requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// One request on a connection of its own, which the server closes. Reads up to that end, so that
/// a lost FIN is a failure too. Connecting, and each read or write, may take `patience`.
pub(super) fn get(url: &Url, patience: Duration) -> io::Result<Response> {
    let mut connection = Connection::open_within(url, patience)?;
    let response = connection.ask(&url.path, "close")?;
    let mut rest = [0];
    match connection.stream.read(&mut rest)? {
        0 => Ok(response),
        _ => Err(invalid("the body is longer than announced")),
    }
}

/// The same without holding the body.
pub(super) fn digest(url: &Url) -> io::Result<Digest> {
    let mut connection = Connection::open(url)?;
    let (response, length) = connection.head(&url.path, "close")?;
    if response.status != 200 {
        return Err(invalid(&format!("the answer is {}", response.status)));
    }
    let mut digest = Digest::default();
    loop {
        let piece = connection.stream.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        digest.add(piece);
        let taken = piece.len();
        connection.stream.consume(taken);
    }
    if digest.length() == length as u64 {
        Ok(digest)
    } else {
        Err(invalid("the body is not as long as announced"))
    }
}

impl Connection {
    /// Connects to the URL's address.
    pub(super) fn open(url: &Url) -> io::Result<Self> {
        Self::open_within(url, TIMEOUT)
    }

    fn open_within(url: &Url, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&url.address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Asks for `path` and leaves the connection open.
    ///
    /// # Errors
    /// When the answer is not complete within [`TIMEOUT`].
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.ask(path, "keep-alive")
    }

    /// Ends the connection with a RST instead of a FIN.
    ///
    /// # Errors
    /// When the socket does not take the option.
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(self.socket()).set_linger(Some(Duration::ZERO))
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn ask(&mut self, path: &str, connection: &str) -> io::Result<Response> {
        let (mut response, length) = self.head(path, connection)?;
        response.body = vec![0; length];
        self.stream.read_exact(&mut response.body)?;
        Ok(response)
    }

    /// Asks, and reads the answer without its body, whose announced length is the second value.
    fn head(&mut self, path: &str, connection: &str) -> io::Result<(Response, usize)> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: {connection}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;

        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| invalid(&format!("not a status line: {status_line:?}")))?;
        let mut response = Response {
            status,
            backend: String::new(),
            client: String::new(),
            body: Vec::new(),
        };
        let mut length = 0;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(|_| invalid("no content length"))?;
            } else if name.eq_ignore_ascii_case("x-backend") {
                value.clone_into(&mut response.backend);
            } else if name.eq_ignore_ascii_case("x-client") {
                value.clone_into(&mut response.client);
            }
        }
        Ok((response, length))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}
