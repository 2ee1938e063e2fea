//! The keys of the schema, in its order.

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::config::SCHEMA;

/// A key of the file, by its path, such as `services[].health_check.interval`.
pub(super) struct Key {
    pub(super) path: String,
    /// What the schema says of it, with what it refers to filled in.
    node: Mapping,
    /// The name of what it refers to.
    kind: Option<String>,
    required: bool,
}

/// All of them: each section before its keys, and those of a section together.
pub(super) fn keys() -> Vec<Key> {
    // JSON is YAML, whose reader here keeps the order of keys.
    let schema: Value = serde_yaml::from_str(SCHEMA).expect("the schema is JSON");
    let root = Key {
        path: String::new(),
        node: schema.as_mapping().expect("an object").clone(),
        kind: None,
        required: true,
    };
    let mut found = Vec::new();
    let mut sections = vec![root];
    while !sections.is_empty() {
        let section = sections.remove(0);
        let mut inner = Vec::new();
        for key in section.keys(&schema) {
            if key.properties().is_some() {
                inner.push(key.clone_of());
            }
            found.push(key);
        }
        // What is inside comes before what is beside.
        inner.append(&mut sections);
        sections = inner;
    }
    found
}

impl Key {
    fn clone_of(&self) -> Self {
        Self {
            path: self.path.clone(),
            node: self.node.clone(),
            kind: self.kind.clone(),
            required: self.required,
        }
    }

    /// Its own keys, those that are required first.
    fn keys(&self, schema: &Value) -> Vec<Self> {
        let (properties, required) = self.properties().expect("a section has keys");
        let mut keys: Vec<Self> = (properties.iter())
            .map(|(name, node)| {
                let name = name.as_str().expect("a name");
                let (node, kind) = filled_in(node, schema);
                // A list of sections is one whose keys are its items'.
                let items = node.get("items").map(|items| filled_in(items, schema).0);
                let list = items.filter(|items| items.contains_key("properties"));
                let mut node = node;
                let mut path = match self.path.as_str() {
                    "" => name.to_owned(),
                    above => format!("{above}.{name}"),
                };
                if let Some(items) = list {
                    for key in ["properties", "required"] {
                        if let Some(value) = items.get(key) {
                            node.insert(key.into(), value.clone());
                        }
                    }
                    path.push_str("[]");
                }
                Self {
                    path,
                    node,
                    kind,
                    required: required.iter().any(|wanted| wanted == name),
                }
            })
            .collect();
        keys.sort_by_key(|key| !key.required);
        keys
    }

    /// What is inside it, and which of that is required. `defaults` has what a service has.
    fn properties(&self) -> Option<(Mapping, Vec<String>)> {
        if self.path == "defaults" {
            return None;
        }
        let whole = match self.node.get("oneOf") {
            Some(choices) => (choices.as_sequence()?.iter()).find_map(|one| {
                let one = one.as_mapping()?;
                one.contains_key("properties").then_some(one)
            })?,
            None => &self.node,
        };
        let required = whole.get("required").and_then(Value::as_sequence);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        Some((
            whole.get("properties")?.as_mapping()?.clone(),
            names.map(str::to_owned).collect(),
        ))
    }

    /// It has keys of its own.
    pub(super) fn is_section(&self) -> bool {
        self.properties().is_some()
    }

    /// It may be a word as well as a section.
    pub(super) fn is_word_too(&self) -> bool {
        self.node.contains_key("oneOf")
    }

    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    /// Its value names a file.
    pub(super) fn is_file(&self) -> bool {
        self.node.contains_key("x-file")
    }

    pub(super) fn about(&self) -> &str {
        self.text("description")
    }

    /// What it refers to, or else its JSON type.
    pub(super) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_else(|| self.text("type"))
    }

    pub(super) fn default(&self) -> Option<Json> {
        self.json("default")
    }

    pub(super) fn example(&self) -> Option<Json> {
        self.json("examples")?.get(0).cloned()
    }

    /// Kind of a list's items.
    pub(super) fn items(&self) -> &str {
        let items = self.node.get("items").and_then(Value::as_mapping);
        let refers = items
            .and_then(|items| items.get("$ref"))
            .and_then(Value::as_str);
        refers.map_or("text", |refers| refers.trim_start_matches("#/$defs/"))
    }

    /// The types of health check that have it; none where all have.
    pub(super) fn of(&self) -> Vec<String> {
        self.list("x-of")
    }

    /// The words that it may be.
    pub(super) fn words(&self) -> Vec<String> {
        self.list("enum")
    }

    /// What each of them means.
    pub(super) fn words_told(&self) -> Vec<String> {
        self.list("enumDescriptions")
    }

    /// Its least and its greatest value.
    pub(super) fn range(&self) -> Option<(Json, Json)> {
        if let Some(range) = self.json("x-range") {
            return Some((range[0].clone(), range[1].clone()));
        }
        let numbers = match self.kind() {
            "size" => self.json("anyOf")?.get(0)?.clone(),
            "integer" => serde_json::to_value(&self.node).ok()?,
            _ => return None,
        };
        Some((numbers["minimum"].clone(), numbers["maximum"].clone()))
    }

    fn text(&self, key: &str) -> &str {
        self.node
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn list(&self, key: &str) -> Vec<String> {
        let list = self.json(key).unwrap_or_default();
        let texts = list.as_array().into_iter().flatten();
        texts
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    }

    fn json(&self, key: &str) -> Option<Json> {
        serde_json::to_value(self.node.get(key)?).ok()
    }
}

/// What a node says, and below it what it refers to, with that one's name.
fn filled_in(node: &Value, schema: &Value) -> (Mapping, Option<String>) {
    let own = node.as_mapping().expect("an object");
    let Some(refers) = own.get("$ref").and_then(Value::as_str) else {
        return (own.clone(), None);
    };
    let name = refers.trim_start_matches("#/$defs/");
    let (mut whole, _) = filled_in(&schema["$defs"][name], schema);
    // A key of the same name as what describes it: only what has no more to say is a kind of its own.
    let kind = !whole.contains_key("description");
    whole.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    let deeper = schema["$defs"][name].get("$ref").and_then(Value::as_str);
    let kind = match (kind, deeper) {
        (true, _) => Some(name.to_owned()),
        (false, Some(deeper)) => Some(deeper.trim_start_matches("#/$defs/").to_owned()),
        (false, None) => None,
    };
    (whole, kind)
}
