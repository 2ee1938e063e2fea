//! What is no request at all never reaches a route: the HTTP library answers it by itself, with a status
//! and nothing else. Here that answer gets the body that every other one has.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

use super::ErrorBody;

/// A connection whose first bytes out are an answer of the library's own unless a request was `asked`.
pub(super) struct Answered {
    stream: UnixStream,
    asked: Arc<AtomicBool>,
    /// In place of the library's answer, and how much of it is written.
    own: Option<(Vec<u8>, usize)>,
}

impl Answered {
    pub(super) fn new(stream: UnixStream, asked: Arc<AtomicBool>) -> Self {
        Self {
            stream,
            asked,
            own: None,
        }
    }
}

impl AsyncRead for Answered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Answered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.asked.load(Ordering::Relaxed) {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        }
        let (own, done) = this.own.get_or_insert_with(|| (with_body(buf), 0));
        while *done < own.len() {
            match ready!(Pin::new(&mut this.stream).poll_write(cx, &own[*done..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *done += written,
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The answer with the same status and words about it.
fn with_body(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let status = text.lines().next().unwrap_or_default();
    let words = status
        .split_once(' ')
        .map_or("400 Bad Request", |(_, words)| words);
    let body = serde_json::to_string(&ErrorBody {
        error: format!("not a request of HTTP/1.1 that can be answered ({words})"),
    })
    .expect("a text has no keys that are none");
    format!(
        "HTTP/1.1 {words}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
