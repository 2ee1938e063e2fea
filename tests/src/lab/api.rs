//! Bytes to the daemon's socket, and what comes back: for requests that its own client would not make.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::Value;

use super::divvy::Divvy;

/// Longer than the daemon gives any part of a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer of the daemon.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let content_type = (head.lines())
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map(|(_, value)| value.trim().to_owned());
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            content_type: content_type.unwrap_or_default(),
            body: bytes[end + 4..].to_vec(),
        })
    }
}

impl Divvy {
    /// A connection to the API's socket that has not said anything.
    ///
    /// # Errors
    /// When nobody listens, or the queue is full.
    pub fn api_connection(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.run_dir().join("divvy.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// What the daemon answers to these bytes; `None` where it says nothing that is HTTP.
    #[must_use]
    pub fn say(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = (self.api_connection())
            .unwrap_or_else(|error| panic!("cannot connect to the API: {error}"));
        // It may have answered and closed before it has read all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    /// One request. Panics when it is not answered.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: divvy\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.say(&[head.as_bytes(), body].concat())
            .unwrap_or_else(|| panic!("{method} {path} is not answered"))
    }
}
