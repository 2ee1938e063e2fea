//! On which line of the file a path stands. Read only once there are problems to place: values
//! come from `serde_yaml`, which does not keep their lines, so this asks a second parser.
//!
//! Aliases are not followed. Where a path leads into one, or to a key that is missing, the line is
//! that of the nearest part that is written there. Where the second parser disagrees with the
//! first, there is no line.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, Span};

use super::{
    path::{Path, Segment},
    shape::MAX_DEPTH,
};

/// The lines of a document.
pub(super) struct Lines {
    root: Place,
}

/// A value: its line, and what is in it.
struct Place {
    line: usize,
    inside: Inside,
}

enum Inside {
    Nothing,
    /// By key, in the order of the file where a key is given more than once.
    Keys(HashMap<String, Vec<Place>>),
    Items(Vec<Place>),
}

impl Lines {
    /// Finds the lines of a document, or `None` where this parser does not accept it.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut parser = Parser::new_from_str(text);
        let mut open: Vec<Open> = Vec::new();
        loop {
            let (event, span) = parser.next_event()?.ok()?;
            let (value, text) = match event {
                Event::Alias(_) => (Place::new(&span, Inside::Nothing), None),
                Event::Scalar(text, ..) => (Place::new(&span, Inside::Nothing), Some(text)),
                Event::MappingStart(..) | Event::SequenceStart(..) => {
                    if open.len() == MAX_DEPTH {
                        return None;
                    }
                    let inside = match event {
                        Event::MappingStart(..) => Inside::Keys(HashMap::new()),
                        _ => Inside::Items(Vec::new()),
                    };
                    open.push(Open {
                        place: Place::new(&span, inside),
                        key: None,
                    });
                    continue;
                }
                Event::MappingEnd | Event::SequenceEnd => (open.pop()?.place, None),
                Event::StreamEnd => return None,
                _ => continue,
            };
            match open.last_mut() {
                Some(parent) => parent.put(value, text.as_deref()),
                None => return Some(Self { root: value }),
            }
        }
    }

    /// The line of `path`, from 1, or of the nearest part above it; `None` if that is the document.
    pub(super) fn line(&self, path: &Path) -> Option<usize> {
        let mut found = None;
        let mut place = &self.root;
        for segment in &path.0 {
            let next = match (segment, &place.inside) {
                (Segment::Key(key), Inside::Keys(keys)) => {
                    keys.get(key.as_ref()).and_then(|places| places.first())
                }
                (Segment::SecondKey(key), Inside::Keys(keys)) => {
                    keys.get(key).and_then(|places| places.get(1))
                }
                (Segment::Index(index), Inside::Items(items)) => items.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            found = Some(next.line);
            place = next;
        }
        found
    }
}

impl Place {
    fn new(span: &Span, inside: Inside) -> Self {
        Self {
            line: span.start.line(),
            inside,
        }
    }
}

/// A list or mapping whose end has not come yet.
struct Open {
    place: Place,
    /// A key that waits for its value, and the key's line.
    key: Option<(String, usize)>,
}

impl Open {
    fn put(&mut self, value: Place, text: Option<&str>) {
        match &mut self.place.inside {
            Inside::Items(items) => items.push(value),
            Inside::Keys(keys) => match self.key.take() {
                None => self.key = Some((text.unwrap_or_default().to_owned(), value.line)),
                Some((key, line)) => keys.entry(key).or_default().push(Place { line, ..value }),
            },
            Inside::Nothing => {}
        }
    }
}
