//! Streams of updates: while somebody listens, all is looked at each second, and everyone is sent what differs from what
//! they have. An update is limited; what does not fit comes with the next. One who does not read is left out until
//! there is room again, and sent away when that takes too long.

mod hub;
mod listener;

use std::{
    collections::HashSet,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::Bytes;
use tokio::sync::mpsc;

pub(super) use self::hub::Hub;

/// Most streams at a time.
pub(super) const MOST: usize = 32;
/// Services that one may look into at a time.
const OPEN: usize = 20;
/// Updates that wait for a reader.
const QUEUE: usize = 4;
/// Bytes of an update, but of the first, which holds everything.
const UPDATE_BYTES: usize = 64 * 1024;
/// How long a reader may leave no room for another update.
const PATIENCE: Duration = Duration::from_secs(30);

/// There are [`MOST`] streams already.
#[derive(Debug, thiserror::Error)]
#[error("{MOST} pages are open already; close one, and this one goes on by itself")]
pub(super) struct Full;

/// What a listener wants to know beyond what everyone is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Services to look into.
    open: HashSet<String>,
}

impl Wish {
    /// Of a query such as `open=web,dns`. Names need no escaping; what is none is nobody's.
    pub(super) fn parse(query: &str) -> Self {
        let names = (query.split('&'))
            .filter_map(|part| part.strip_prefix("open="))
            .flat_map(|names| names.split(','));
        Self {
            open: (names.filter(|name| !name.is_empty()))
                .take(OPEN)
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// The updates of one listener, ready to be sent.
pub(super) struct Updates {
    queue: mpsc::Receiver<Bytes>,
}

impl Updates {
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.queue.poll_recv(context)
    }
}

#[cfg(test)]
mod tests;
