//! A mapping while it is being read: keys are taken by name, and what nobody took is unknown.
//!
//! Take every key first, then `finish`, and only then give up on a `None`.

use std::collections::HashSet;

use super::{field::Field, node::Node, path::Segment, units};

/// A mapping whose keys are taken by name; `finish` reports those that nobody asked for.
pub(super) struct Section<'a> {
    field: Field<'a>,
    entries: &'a [(String, Node)],
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) const fn new(field: Field<'a>, entries: &'a [(String, Node)]) -> Self {
        Self {
            field,
            entries,
            known: Vec::new(),
        }
    }

    /// The value of a key, if the key is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        Some(self.field.child(Segment::Key(key.into()), node))
    }

    /// A key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        reader: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.take(key) {
            Some(field) => reader(field),
            None => self
                .field
                .refuse_child(Segment::Key(key.into()), "is missing; add it".to_owned()),
        }
    }

    /// A key that may be missing: then it is `default`.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        default: T,
        reader: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<T> {
        self.take(key).map_or(Some(default), reader)
    }

    /// A key that may be missing: then, or if it is wrong, `base` stands in.
    pub(super) fn inherited<T: Clone>(
        &mut self,
        key: &'static str,
        base: &T,
        reader: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> T {
        self.take(key)
            .and_then(reader)
            .unwrap_or_else(|| base.clone())
    }

    /// Reports the keys that were not asked for, and those given more than once.
    pub(super) fn finish(self) {
        let mut seen = HashSet::new();
        for (key, _) in self.entries {
            let known = self.known.contains(&key.as_str());
            let first = seen.insert(key);
            if !first && known {
                let segment = Segment::SecondKey(key.clone());
                self.field
                    .refuse_child::<()>(segment, "is given more than once; keep one".to_owned());
            } else if first && !known {
                let segment = Segment::Key(key.clone().into());
                self.field
                    .refuse_child::<()>(segment, unknown(key, &self.known));
            }
        }
    }
}

fn unknown(key: &str, known: &[&'static str]) -> String {
    if key == "<<" {
        return "is not a known key; to merge, give one alias of a mapping or a list of them"
            .into();
    }
    match units::closest(key, known) {
        Some(word) => format!("is not a known key; did you mean `{word}`?"),
        None => format!("is not a known key; use one of {}", known.join(", ")),
    }
}
