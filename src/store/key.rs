//! Keys: one traversal gives both the hash and the explanation, so that they cannot drift.
//!
//! What never enters a key: times, paths of this machine, the host, the device, the number of threads.
//! Encoding: every part is its path and its value, each with its length in front, in a fixed order.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Digest;

/// All that shapes a node's output.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The kind, as `family.type`.
    pub kind: &'a str,
    /// The kind's version.
    pub kind_version: u32,
    /// Canonical settings.
    pub settings: &'a Value,
    /// Settings that shape no byte, by their names in the node's own table; `judge.token` is one of a table in it.
    pub outside: &'a [&'a str],
    /// Inputs in the manifest's order: role or node's output, content digest.
    pub inputs: &'a [(String, Digest)],
    /// Local files: setting and relative name, content digest.
    pub files: &'a [(String, Digest)],
    /// Tools that shape the bytes: name, version.
    pub tools: &'a [(String, String)],
}

/// Takes the parts of a key.
pub trait KeySink {
    /// Takes one part; called in the same order for the same key.
    fn part(&mut self, path: &str, value: &str);
}

impl Key<'_> {
    /// Gives every part to `sink`.
    pub fn walk(&self, sink: &mut impl KeySink) {
        sink.part("kind", self.kind);
        sink.part("kind version", &self.kind_version.to_string());
        self.walk_settings(sink);
        for (index, (name, digest)) in self.inputs.iter().enumerate() {
            sink.part(&format!("input {index} {name}"), &digest.to_string());
        }
        for (name, digest) in self.files {
            sink.part(&format!("file {name}"), &digest.to_string());
        }
        for (name, version) in self.tools {
            sink.part(&format!("tool {name}"), version);
        }
    }

    fn walk_settings(&self, sink: &mut impl KeySink) {
        let mut path = SETTINGS.to_owned();
        let mut text = String::new();
        match self.settings {
            Value::Object(map) if map.keys().any(|key| !self.outside.contains(&key.as_str())) => {
                for (key, value) in map {
                    walk_below(&mut path, key, value, (self.outside, &mut text), sink);
                }
            }
            Value::Object(_) => sink.part(&path, "{}"),
            other => walk_value(&mut path, other, (self.outside, &mut text), sink),
        }
    }

    /// Returns the key's hash.
    pub fn digest(&self) -> Digest {
        let mut sink = HashSink(blake3::Hasher::new());
        self.walk(&mut sink);
        Digest::from_bytes(*sink.0.finalize().as_bytes())
    }

    /// Returns the key in parts, for people and for `explain`.
    pub fn explained(&self) -> Explained {
        let mut explained = Explained::default();
        self.walk(&mut explained);
        explained
    }
}

/// The path of the settings.
const SETTINGS: &str = "settings";

/// Gives the parts of a value but for those that are outside of the key; `text` is room for one as text.
fn walk_value(path: &mut String, value: &Value, (outside, text): (&[&str], &mut String), sink: &mut impl KeySink) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                walk_below(path, key, value, (outside, text), sink);
            }
        }
        other => {
            text.clear();
            // Writing to a string cannot fail.
            write!(text, "{other}").ok();
            sink.part(path, text);
        }
    }
}

fn walk_below(
    path: &mut String,
    key: &str,
    value: &Value,
    (outside, text): (&[&str], &mut String),
    sink: &mut impl KeySink,
) {
    let length = path.len();
    path.push('.');
    path.push_str(key);
    if !outside.contains(&&path[SETTINGS.len() + 1..]) {
        walk_value(path, value, (outside, text), sink);
    }
    path.truncate(length);
}

struct HashSink(blake3::Hasher);

impl KeySink for HashSink {
    fn part(&mut self, path: &str, value: &str) {
        for text in [path, value] {
            self.0.update(&(text.len() as u64).to_le_bytes());
            self.0.update(text.as_bytes());
        }
    }
}

/// A key in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Explained {
    parts: Vec<(String, String)>,
}

impl KeySink for Explained {
    fn part(&mut self, path: &str, value: &str) {
        self.parts.push((path.to_owned(), value.to_owned()));
    }
}

/// One difference between two keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeyChange {
    /// The part, such as `settings.rank` or `file path docs/a.md`.
    pub part: String,
    /// The value before, when there was one.
    pub old: Option<String>,
    /// The value now, when there is one.
    pub new: Option<String>,
}

impl Explained {
    /// Returns the parts: path and value.
    pub fn parts(&self) -> &[(String, String)] {
        &self.parts
    }

    /// Returns what changed from `self` to `new`, in the order of `new`, with what is gone at the end.
    pub fn changes(&self, new: &Self) -> Vec<KeyChange> {
        let find = |parts: &[(String, String)], path: &str| {
            parts.iter().find(|(part, _)| part == path).map(|(_, value)| value.clone())
        };
        let mut changes: Vec<KeyChange> = new
            .parts
            .iter()
            .map(|(part, value)| KeyChange {
                part: part.clone(),
                old: find(&self.parts, part),
                new: Some(value.clone()),
            })
            .filter(|change| change.old != change.new)
            .collect();
        changes.extend(
            self.parts.iter().filter(|(part, _)| find(&new.parts, part).is_none()).map(|(part, value)| KeyChange {
                part: part.clone(),
                old: Some(value.clone()),
                new: None,
            }),
        );
        changes
    }
}
