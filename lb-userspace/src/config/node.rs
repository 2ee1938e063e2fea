//! A YAML document as a tree, just as it is written: keys given twice are still there, in their
//! order, so that they can be reported beside everything else. Aliases and merge keys are
//! replaced by what they stand for, within a budget that stops alias bombs.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    problem::ConfigError,
    shape::{MAX_FILE_BYTES, MAX_VALUES},
};

/// Most text in a document once its aliases are replaced, bytes.
const MAX_TEXT_BYTES: usize = 2 * MAX_FILE_BYTES;

/// The key that takes over another mapping's entries: <https://yaml.org/type/merge.html>.
const MERGE: &str = "<<";

/// A value and all that is in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// A value with a tag of its own, such as `!secret`.
    Tagged,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What it is, in words that follow "is".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Tagged => "tagged",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one document.
pub(super) fn read(text: &str, file_name: &str) -> Result<Node, ConfigError> {
    let budget = Budget {
        values: Cell::new(MAX_VALUES),
        text_bytes: Cell::new(MAX_TEXT_BYTES),
        exceeded: Cell::new(false),
    };
    let file = || file_name.to_owned();
    match Tree(&budget).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(Node::Null) => Err(ConfigError::Empty { file: file() }),
        Ok(node) => Ok(node),
        // The second is the limit that `serde_yaml` has of its own.
        Err(error) if budget.exceeded.get() || error.to_string() == "repetition limit exceeded" => {
            Err(ConfigError::TooManyValues { file: file() })
        }
        Err(error) => Err(ConfigError::syntax(file_name, text, &error)),
    }
}

/// What may still be added to the tree. An alias costs as much as what it stands for.
struct Budget {
    values: Cell<usize>,
    text_bytes: Cell<usize>,
    exceeded: Cell<bool>,
}

/// Builds nodes while the budget lasts.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Budget);

impl Tree<'_> {
    fn spend<E: de::Error>(self, purse: &Cell<usize>, cost: usize) -> Result<(), E> {
        match purse.get().checked_sub(cost) {
            Some(left) => {
                purse.set(left);
                Ok(())
            }
            None => {
                self.0.exceeded.set(true);
                Err(de::Error::custom("too large"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.spend(&self.0.values, 1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        // Every number the format knows is far smaller: out of range is out of range.
        Ok(Node::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.spend(&self.0.text_bytes, value.len())?;
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Node, A::Error> {
        let (_tag, value) = data.variant_seed(self)?;
        de::VariantAccess::newtype_variant_seed(value, self)?;
        Ok(Node::Tagged)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry_seed(self, self)? {
            map.push((name(key), value));
        }
        Ok(Node::Map(merged(map)))
    }
}

/// A key as text. Keys of the format are words; any other kind ends as an unknown key.
fn name(key: Node) -> String {
    match key {
        Node::Text(text) => text,
        Node::Integer(number) => number.to_string(),
        Node::Float(number) => number.to_string(),
        Node::Bool(value) => value.to_string(),
        Node::Null => "null".to_owned(),
        Node::Tagged | Node::List(_) | Node::Map(_) => "?".to_owned(),
    }
}

/// Replaces the first merge key by the entries it brings. A mapping's own keys win, then earlier
/// mappings. A merge key that brings no mapping stays, and ends as an unknown key.
fn merged(mut map: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let Some(position) = map.iter().position(|(key, _)| key == MERGE) else {
        return map;
    };
    let bases = match map[position].1 {
        Node::Map(_) => vec![map.remove(position).1],
        Node::List(ref list) if list.iter().all(|base| matches!(base, Node::Map(_))) => {
            match map.remove(position).1 {
                Node::List(list) => list,
                _ => Vec::new(),
            }
        }
        _ => return map,
    };
    let mut own: HashSet<String> = map.iter().map(|(key, _)| key.clone()).collect();
    for base in bases {
        let Node::Map(entries) = base else { continue };
        // A key that the base itself gives twice comes along twice, to be reported.
        let fresh: Vec<_> = entries
            .into_iter()
            .filter(|(key, _)| !own.contains(key))
            .collect();
        own.extend(fresh.iter().map(|(key, _)| key.clone()));
        map.extend(fresh);
    }
    map
}
