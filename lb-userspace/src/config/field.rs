//! A value while it is being read: what it is, where it stands, and where its problems go.
//!
//! A reader that finds a problem reports it and gives `None`; its caller goes on with what comes
//! next, so that one walk finds every problem.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    lines::Lines,
    node::Node,
    path::{Path, Segment, shown},
    problem::Problem,
    section::Section,
    units,
};

/// Most problems that are told one by one. A file of 4 MiB can hold a million, and nobody reads
/// more than the first page.
pub(super) const MAX_TOLD: usize = 1_000;

/// All problems found so far.
#[derive(Default)]
pub(super) struct Report {
    found: RefCell<Vec<(Path, String)>>,
    /// How many there are beyond [`MAX_TOLD`].
    more: Cell<usize>,
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    fn add(&self, path: Path, message: String) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_TOLD {
            found.push((path, message));
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    /// The problems with their lines in `text`, by line; those without one come first. Beside them,
    /// how many more there are.
    pub(super) fn into_problems(self, text: &str) -> (Vec<Problem>, usize) {
        let lines = Lines::of(text);
        let mut problems: Vec<Problem> = self
            .found
            .into_inner()
            .into_iter()
            .map(|(path, message)| Problem {
                line: lines.as_ref().and_then(|lines| lines.line(&path)),
                path: path.to_string(),
                message,
            })
            .collect();
        problems.sort_by_key(|problem| problem.line);
        (problems, self.more.get())
    }
}

/// A value, where it stands, and where its problems go.
#[derive(Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    pub(super) path: Path,
    report: &'a Report,
}

impl<'a> Field<'a> {
    /// The document as a whole.
    pub(super) fn root(node: &'a Node, report: &'a Report) -> Self {
        Self {
            node,
            path: Path::default(),
            report,
        }
    }

    /// A value below this one.
    pub(super) fn child(&self, segment: Segment, node: &'a Node) -> Self {
        Self {
            node,
            path: self.path.child(segment),
            report: self.report,
        }
    }

    /// The same value under the path of a key below it, which may be missing: for problems of what is
    /// settled there.
    pub(super) fn below(&self, key: &'static str) -> Self {
        self.child(Segment::Key(key.into()), self.node)
    }

    /// Reports a problem of this value.
    pub(super) fn refuse<T>(&self, message: impl Into<String>) -> Option<T> {
        self.report.add(self.path.clone(), message.into());
        None
    }

    /// Reports a problem of something below this value.
    pub(super) fn refuse_child<T>(&self, segment: Segment, message: String) -> Option<T> {
        self.report.add(self.path.child(segment), message);
        None
    }

    fn wrong_kind<T>(&self, wanted: &str) -> Option<T> {
        match self.node {
            Node::Null => self.refuse(format!("has no value; give {wanted} or remove it")),
            Node::Tagged => self.refuse("has a YAML tag; remove the tag"),
            other => self.refuse(format!("is {}; give {wanted}", other.kind())),
        }
    }

    /// Whether it is a mapping, where a value may be that or a word.
    pub(super) const fn is_section(&self) -> bool {
        matches!(self.node, Node::Map(_))
    }

    /// A mapping, to be read key by key.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        match self.node {
            Node::Map(entries) => Some(Section::new(self.clone(), entries)),
            _ => self.wrong_kind("a mapping of keys to values"),
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let Node::List(list) = self.node else {
            return self.wrong_kind("a list");
        };
        let item = |(index, node)| self.child(Segment::Index(index), node);
        Some(list.iter().enumerate().map(item).collect())
    }

    /// The items of a list that must not be empty.
    pub(super) fn filled(&self, remedy: &str) -> Option<Vec<Self>> {
        let items = self.items()?;
        if items.is_empty() {
            return self.refuse(format!("is empty; {remedy}"));
        }
        Some(items)
    }

    /// Text, as `reader` understands it. What YAML takes for a number is refused: the text that
    /// was meant (`1.10`, `0x1f`) is lost.
    pub(super) fn text<T>(&self, reader: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.node {
            Node::Text(text) => self.read(text, reader),
            Node::Integer(_) | Node::Float(_) | Node::Bool(_) => self.refuse(format!(
                "YAML takes this for {}; put it in quotes",
                self.node.kind()
            )),
            _ => self.wrong_kind("text"),
        }
    }

    /// Text or a number, as `reader` understands it.
    pub(super) fn quantity<T>(&self, reader: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.node {
            Node::Text(text) => self.read(text, reader),
            Node::Integer(number) => self.read(&number.to_string(), reader),
            Node::Float(number) => self.read(&number.to_string(), reader),
            _ => self.wrong_kind("a number or text"),
        }
    }

    fn read<T>(&self, text: &str, reader: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match reader(text) {
            Ok(value) => Some(value),
            Err(message) => self.refuse(message),
        }
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<i128>,
    {
        let Node::Integer(number) = self.node else {
            return match self.node {
                Node::Float(number) => {
                    let (first, last) = (range.start(), range.end());
                    self.refuse(format!("{number} is no whole number, use {first}-{last}"))
                }
                _ => self.wrong_kind("a number without quotes"),
            };
        };
        match T::try_from(*number) {
            Ok(value) if range.contains(&value) => Some(value),
            _ => self.refuse(units::out_of_range(number, range.start(), range.end())),
        }
    }

    /// A size such as `65536`, `64k` or `1M`, within `range`.
    pub(super) fn size(&self, range: RangeInclusive<u32>) -> Option<u32> {
        self.quantity(|text| units::size(text, &range))
    }

    /// A duration such as `500ms`, within `range`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.quantity(|text| units::duration(text, &range))
    }

    /// One of the words of `all`; those of `later` are for a later version.
    pub(super) fn word<T: Copy>(
        &self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
        later: &[&str],
    ) -> Option<T> {
        self.text(|text| {
            if let Some(value) = all.iter().find(|value| name(**value) == text) {
                return Ok(*value);
            }
            let words: Vec<&str> = all.iter().map(|value| name(*value)).collect();
            let choice = units::either(&words);
            let text_shown = shown(text);
            if later.contains(&text) {
                return Err(format!(
                    "`{text_shown}` is not available in this version; use {choice}"
                ));
            }
            Err(match units::closest(text, &words) {
                Some(word) => format!("`{text_shown}` is not known; did you mean `{word}`?"),
                None => format!("`{text_shown}` is not known; use {choice}"),
            })
        })
    }

    /// A switch.
    pub(super) fn switch(&self) -> Option<bool> {
        match self.node {
            Node::Bool(on) => Some(*on),
            _ => self.wrong_kind("true or false"),
        }
    }
}
