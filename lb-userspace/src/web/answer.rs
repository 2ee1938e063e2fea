//! The body of an answer: bytes that are there, handed out in pieces as the reader takes them, or a stream of updates.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::http::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{connection::Reading, stream::Updates};

/// Bytes that are handed to the connection at a time; it asks for more once they are on their way.
const PIECE_BYTES: usize = 64 * 1024;

/// A body.
pub(super) struct Answer {
    what: What,
    /// Held until it has been read.
    _turn: Option<OwnedSemaphorePermit>,
    reading: Option<Reading>,
}

enum What {
    Whole(Bytes),
    /// What is left of an update, and those to come.
    Stream(Bytes, Updates),
}

impl Answer {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            what: What::Whole(bytes.into()),
            _turn: None,
            reading: None,
        }
    }

    pub(super) fn stream(updates: Updates) -> Self {
        Self {
            what: What::Stream(Bytes::new(), updates),
            _turn: None,
            reading: None,
        }
    }

    /// Takes up one of the few turns until it has been read.
    pub(super) fn in_turn(mut self, turn: OwnedSemaphorePermit) -> Self {
        self._turn = Some(turn);
        self
    }

    /// Its reader has a limited time, unless it is a stream, which has limits of its own.
    pub(super) fn read_by(&mut self, reading: Reading) {
        if let What::Whole(_) = self.what {
            reading.begins();
        }
        self.reading = Some(reading);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.what {
            What::Whole(rest) => take(rest),
            What::Stream(rest, updates) => {
                if rest.is_empty() {
                    match updates.poll_next(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Ready(Some(update)) => *rest = update,
                    }
                }
                take(rest)
            }
        };
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.what, What::Whole(rest) if rest.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.what {
            What::Whole(rest) => SizeHint::with_exact(rest.len() as u64),
            What::Stream(..) => SizeHint::default(),
        }
    }
}

fn take(rest: &mut Bytes) -> Option<Bytes> {
    (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE_BYTES)))
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.ends();
        }
    }
}

/// An answer of this type. Browsers are to ask again each time, for a daemon may be another one by then.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: Answer) -> Response<Answer> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-cache")
        .body(body)
        .expect("these headers are constants")
}

/// A refusal in words.
pub(super) fn refusal(status: StatusCode, words: impl Into<String>) -> Response<Answer> {
    let words = format!("{}\n", words.into());
    answer(status, "text/plain; charset=utf-8", Answer::whole(words))
}
