//! Where a value stands in the file: `services[0].backends[2].weight`.

use std::{
    borrow::Cow,
    fmt::{self, Display, Write},
};

/// Most characters of a key or value that a message repeats.
const SHOWN_CHARS: usize = 64;

/// The keys and indices that lead to a value from the top of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Segment>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Key(Cow<'static, str>),
    /// A key's second occurrence in its mapping.
    SecondKey(String),
    Index(usize),
}

impl Path {
    /// The path of what `segment` leads to from here.
    pub(super) fn child(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            let dot = if depth == 0 { "" } else { "." };
            match segment {
                Segment::Key(key) => write!(f, "{dot}{}", shown(key))?,
                Segment::SecondKey(key) => write!(f, "{dot}{}", shown(key))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A text as messages repeat it: on one line, and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (position, character) in text.chars().enumerate() {
        if position == SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            write!(shown, "{}", character.escape_default()).expect("writing to a String succeeds");
        } else {
            shown.push(character);
        }
    }
    shown
}
