//! One who listens: what they have been sent, and what they lack.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
    time::Instant,
};

use hyper::body::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{PATIENCE, UPDATE_BYTES, Wish};
use crate::web::picture::{Picture, Piece};

pub(super) struct Listener {
    pub(super) wish: Wish,
    sender: mpsc::Sender<Bytes>,
    too_slow: Arc<Notify>,
    /// Since when there has been no room for an update.
    full_since: Option<Instant>,
    sent: Sent,
}

impl Listener {
    pub(super) fn new(wish: Wish, sender: mpsc::Sender<Bytes>, too_slow: Arc<Notify>) -> Self {
        Self {
            wish,
            sender,
            too_slow,
            full_since: None,
            sent: Sent::default(),
        }
    }

    pub(super) fn has_left(&self) -> bool {
        self.sender.is_closed()
    }

    /// They have not been told anything.
    pub(super) fn is_new(&self) -> bool {
        self.sent.pieces.is_empty()
    }

    /// Sends what is new to them. Where there is no room they get it another time, or are sent away.
    pub(super) fn tell(&mut self, picture: &Picture, now: Instant) {
        let Ok(room) = self.sender.try_reserve() else {
            let since = *self.full_since.get_or_insert(now);
            if now.duration_since(since) > PATIENCE {
                self.too_slow.notify_one();
            }
            return;
        };
        self.full_since = None;
        let visible: Vec<&Piece> = visible(picture, &self.wish).collect();
        room.send(Bytes::from(self.sent.update(picture.at_ms, &visible)));
    }
}

/// What this wish lets them see.
fn visible<'a>(picture: &'a Picture, wish: &'a Wish) -> impl Iterator<Item = &'a Piece> {
    let inside = picture.inside.iter().flat_map(|inside| {
        let open = wish.open.contains(&inside.service);
        (inside.all.iter().zip(&inside.to_everyone))
            .filter(move |(_, to_everyone)| open || **to_everyone)
            .map(|(piece, _)| piece)
    });
    picture.common.iter().chain(inside)
}

/// What one has been sent, by key: the hashes of what was urgent, and of all.
#[derive(Default)]
pub(super) struct Sent {
    pieces: HashMap<String, (u64, u64)>,
    /// Where the last update ended that did not hold everything.
    next: usize,
}

impl Sent {
    /// The next update, as a server-sent event: `set` has pieces by key, `gone` has keys.
    pub(super) fn update(&mut self, at_ms: u64, visible: &[&Piece]) -> String {
        let first = self.pieces.is_empty();
        let limit = if first { usize::MAX } else { UPDATE_BYTES };
        let mut set = String::new();
        let mut put = |piece: &Piece, sent: &mut HashMap<String, (u64, u64)>| {
            if set.len() + piece.json.len() > limit && !set.is_empty() {
                return false;
            }
            let comma = if set.is_empty() { "" } else { "," };
            let key = serde_json::Value::from(piece.key.as_str());
            // Writing into a string does not fail.
            let _ = write!(set, "{comma}{key}:{}", piece.json);
            sent.insert(piece.key.clone(), (piece.urgent, piece.hash));
            true
        };
        let urgent = |piece: &&&Piece, sent: &HashMap<String, (u64, u64)>| {
            (sent.get(&piece.key)).is_none_or(|(urgent, _)| *urgent != piece.urgent)
        };
        let mut complete = true;
        // In order: a page knows the service of a backend before the backend.
        for piece in visible {
            if complete && urgent(&piece, &self.pieces) {
                complete = put(piece, &mut self.pieces);
            }
        }
        // Each has its turn, wherever the last update had to end.
        let begin = self.next.min(visible.len());
        let turns = (begin..visible.len()).chain(0..begin);
        for place in turns {
            let piece = visible[place];
            let same = |(_, hash): &(u64, u64)| *hash == piece.hash;
            if complete && !self.pieces.get(&piece.key).is_some_and(same) {
                complete = put(piece, &mut self.pieces);
                if !complete {
                    self.next = place;
                }
            }
        }
        let keys: HashSet<&str> = visible.iter().map(|piece| &*piece.key).collect();
        let mut gone = Vec::new();
        self.pieces.retain(|key, _| {
            let stays = keys.contains(key.as_str());
            if !stays {
                gone.push(key.clone());
            }
            stays
        });
        let gone = serde_json::Value::from(gone);
        format!("data: {{\"at\":{at_ms},\"first\":{first},\"set\":{{{set}}},\"gone\":{gone}}}\n\n")
    }
}
