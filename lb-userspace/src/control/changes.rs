//! What changed lately, for people who look: the last changes, however long ago they were. The log has them too.

use std::{collections::VecDeque, time::SystemTime};

use super::view::observed::{Change, ChangeKind};

/// How many are kept.
const KEPT: usize = 100;
/// Most bytes of one's words: what is wrong with a file may fill pages.
const WORDS_BYTES: usize = 1_000;

/// The last changes, the newest at the end, and how many reloads there were.
#[derive(Default)]
pub(super) struct Changes {
    kept: VecDeque<Change>,
    /// Of all that there ever were.
    count: u64,
    pub(super) reloads_succeeded: u64,
    pub(super) reloads_failed: u64,
}

impl Changes {
    /// Something changed just now.
    pub(super) fn note(&mut self, kind: ChangeKind, words: impl Into<String>) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.count += 1;
        self.kept.push_back(Change {
            number: self.count,
            at: SystemTime::now(),
            kind,
            words: shortened(words.into()),
        });
    }

    pub(super) fn all(&self) -> Vec<Change> {
        self.kept.iter().cloned().collect()
    }
}

/// Cut where it is too long, between two characters.
fn shortened(mut words: String) -> String {
    if words.len() > WORDS_BYTES {
        words.truncate(words.floor_char_boundary(WORDS_BYTES));
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_are_kept() {
        let mut changes = Changes::default();
        for n in 1..=250 {
            changes.note(ChangeKind::Up, format!("web/web-{n} is up"));
        }
        let kept = changes.all();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].number, 151);
        assert_eq!(kept[KEPT - 1].words, "web/web-250 is up");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let mut changes = Changes::default();
        changes.note(ChangeKind::Refused, "ä".repeat(WORDS_BYTES));
        changes.note(ChangeKind::Refused, "x".repeat(WORDS_BYTES));
        let kept = changes.all();
        assert_eq!(kept[0].words.chars().count(), WORDS_BYTES / 2 + 1);
        assert_eq!(kept[1].words.len(), WORDS_BYTES);
    }
}
