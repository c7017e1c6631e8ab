//! Finding the value, replacing its bytes, and proving that nothing else changed.

use std::ops::Range;

use granit_parser::ScalarStyle;

use super::document::{Form, Node, line, parse};
use super::path::{Step, ValuePath, written};
use super::{Scalar, YamlError};

/// A change of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node::export::helm_values) struct Change {
    /// The whole text after it.
    pub(in crate::node::export::helm_values) text: String,
    /// The bytes that were replaced: the value as it was written.
    pub(in crate::node::export::helm_values) old: String,
    /// What took their place.
    pub(in crate::node::export::helm_values) new: String,
    /// The line that the value begins in, from 1.
    pub(in crate::node::export::helm_values) line: usize,
    /// The lines of aliases that read the value too.
    pub(in crate::node::export::helm_values) aliases: Vec<usize>,
}

/// Sets the value at `path` in the first document, the one that Helm reads.
///
/// # Errors
/// The text is no YAML, the path leads to no single value of its own, or the change cannot be proven to be the only one.
pub(in crate::node::export::helm_values) fn set(
    text: &str,
    path: &ValuePath,
    value: &Scalar,
) -> Result<Change, YamlError> {
    let place = Place::find(text, path)?;
    let Form::Scalar { style, .. } = place.node.form else { return Err(place.not_in_place(path)) };
    if let (Some(tag), Scalar::Text(_)) = (&place.node.tag, value)
        && !matches!(tag.as_str(), "!" | "!!str" | "tag:yaml.org,2002:str")
    {
        return Err(YamlError::Tag { at: path.to_string(), line: place.line(), tag: tag.clone() });
    }
    let source = &text[place.range.clone()];
    let candidates = match style {
        ScalarStyle::Literal | ScalarStyle::Folded => {
            value.in_block(source).into_iter().chain([value.in_place_of_block(source)]).collect()
        }
        _ if source.is_empty() => vec![format!(" {}", value.in_one_line(style))],
        _ => vec![value.in_one_line(style)],
    };
    let proven = candidates.into_iter().find_map(|new| place.replaced(path, &new, value.text()));
    proven.ok_or_else(|| place.not_in_place(path))
}

/// Puts the bytes of an earlier value back in the place of those that [`set`] wrote.
///
/// # Errors
/// As [`set`]; [`YamlError::ChangedSince`] when the value is neither.
pub(in crate::node::export::helm_values) fn put_back(
    text: &str,
    path: &ValuePath,
    written: &str,
    earlier: &str,
) -> Result<Change, YamlError> {
    let place = Place::find(text, path)?;
    // A value that was not written before has a space in front of it, which went in with it.
    let space = written.len() - written.trim_start_matches(' ').len();
    let start = place.range.start.checked_sub(space);
    let start = start.filter(|start| text.get(*start..start + written.len()) == Some(written));
    let Some(start) = start else {
        let found = text[place.range.clone()].trim().to_owned();
        return Err(YamlError::ChangedSince { at: path.to_string(), line: place.line(), found: format!("`{found}`") });
    };
    let place = Place { range: start..start + written.len(), ..place };
    let mut text = text.to_owned();
    text.replace_range(place.range.clone(), earlier);
    let after = parse(&text)?;
    let now = Place::find(&text, path)?;
    if !place.is_only_difference(&after) || text[now.range.clone()] != *earlier.trim_start_matches(' ') {
        return Err(place.not_in_place(path));
    }
    Ok(Change { line: now.line(), aliases: now.aliases(), old: written.to_owned(), new: earlier.to_owned(), text })
}

/// Returns the value at `path`: its characters, and the bytes that they are written by.
///
/// # Errors
/// As [`set`].
pub(in crate::node::export::helm_values) fn standing(
    text: &str,
    path: &ValuePath,
) -> Result<(String, String), YamlError> {
    let place = Place::find(text, path)?;
    let value = place.node.text().unwrap_or_default().to_owned();
    Ok((value, text[place.range.clone()].to_owned()))
}

/// A single value in a text.
struct Place<'t> {
    text: &'t str,
    documents: Vec<Node>,
    /// The value.
    node: Node,
    /// The bytes that are the value's: of one that is not written, the place behind its key's colon.
    range: Range<usize>,
    /// The way to it from the root, by numbers of entries.
    way: Vec<usize>,
}

impl<'t> Place<'t> {
    fn find(text: &'t str, path: &ValuePath) -> Result<Self, YamlError> {
        let documents = parse(text)?;
        let root = documents.first().ok_or(YamlError::Empty)?;
        let mut way = Vec::new();
        let mut node = root;
        let mut key: Option<&Node> = None;
        for (number, step) in path.0.iter().enumerate() {
            let at = At { text, root, others: &documents[1..], steps: &path.0[..number], rest: &path.0[number..] };
            let (index, found_key, found) = at.step(node, step)?;
            way.push(index);
            (node, key) = (found, found_key);
        }
        let at = At { text, root, others: &[], steps: &path.0, rest: &[] };
        match &node.form {
            Form::Scalar { .. } => {}
            Form::Alias(anchor) => return Err(at.alias(node, *anchor)),
            _ => return Err(at.other_form(node, "a single value")),
        }
        let node = node.clone();
        let range = own_range(text, &node, key);
        let place = Self { text, range: range.clone().unwrap_or_default(), node, way, documents: Vec::new() };
        if range.is_none() {
            return Err(place.not_in_place(path));
        }
        Ok(Self { documents, ..place })
    }

    fn line(&self) -> usize {
        line(self.text, self.range.start.max(self.node.range.start.min(self.text.len())))
    }

    fn aliases(&self) -> Vec<usize> {
        let mut lines = Vec::new();
        if self.node.anchor != 0 {
            for document in &self.documents {
                document.aliases(self.node.anchor, &mut |at| lines.push(line(self.text, at)));
            }
        }
        lines
    }

    fn not_in_place(&self, path: &ValuePath) -> YamlError {
        YamlError::NotInPlace { at: path.to_string(), line: self.line() }
    }

    /// Returns the change to `new` if it is the only one, and a reader gets `wanted` from it.
    fn replaced(&self, path: &ValuePath, new: &str, wanted: &str) -> Option<Change> {
        let mut text = self.text.to_owned();
        text.replace_range(self.range.clone(), new);
        let after = parse(&text).ok()?;
        let now = Place::find(&text, path).ok()?;
        let space = new.len() - new.trim_start_matches(' ').len();
        // The value must begin where it was put, so that it can be found and put back.
        let is_there = now.node.text() == Some(wanted)
            && now.range.start == self.range.start + space
            && self.is_only_difference(&after);
        is_there.then(|| Change {
            line: self.line(),
            aliases: self.aliases(),
            old: self.text[self.range.clone()].to_owned(),
            new: new.to_owned(),
            text: text.clone(),
        })
    }

    fn is_only_difference(&self, after: &[Node]) -> bool {
        self.documents.len() == after.len()
            && self
                .documents
                .iter()
                .zip(after)
                .enumerate()
                .all(|(number, (before, after))| before.is_same(after, (number == 0).then_some(&self.way[..])))
    }
}

/// Returns the bytes that are a scalar's own; nothing where they cannot be told.
fn own_range(text: &str, node: &Node, key: Option<&Node>) -> Option<Range<usize>> {
    let Form::Scalar { style, .. } = &node.form else { return None };
    match style {
        ScalarStyle::Literal | ScalarStyle::Folded => block_range(text, node),
        ScalarStyle::Plain if node.range.is_empty() => {
            // One that is not written belongs behind its key's colon, or behind its anchor and its tag.
            let key_end = key.filter(|_| node.anchor == 0 && node.tag.is_none()).map(|key| key.range.end);
            let Some(key_end) = key_end else { return Some(node.range.clone()) };
            let behind = &text[key_end..];
            let colon = behind.len() - behind.trim_start_matches([' ', '\t']).len();
            behind[colon..].starts_with(':').then(|| key_end + colon + 1..key_end + colon + 1)
        }
        _ => Some(node.range.clone()),
    }
}

/// Returns the bytes of a block scalar: from its `|` or `>`, on the last written line before its text, to its last
/// character. Blank lines behind it are nobody's.
fn block_range(text: &str, node: &Node) -> Option<Range<usize>> {
    let first = text[..node.range.start].rfind('\n')?;
    let before = text[..first].trim_end();
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let header = &before[line..];
    let header =
        [" #", "\t#"].iter().fold(header, |header, comment| header.find(comment).map_or(header, |at| &header[..at]));
    let start = line + header.rfind(['|', '>'])?;
    let last = text[..node.range.end].trim_end().len();
    // Spaces at the end of the last line are the value's.
    let end = last + text[last..node.range.end].find(['\r', '\n']).unwrap_or(node.range.end - last);
    // A block without text ends with its first line.
    Some(start..end.max(before.len()))
}

/// Where a path has come to, for steps and their errors.
struct At<'a> {
    text: &'a str,
    root: &'a Node,
    /// The documents that Helm does not read.
    others: &'a [Node],
    steps: &'a [Step],
    rest: &'a [Step],
}

impl At<'_> {
    /// Takes one step: returns the number of the entry, its key and its value.
    fn step<'n>(&self, node: &'n Node, step: &Step) -> Result<(usize, Option<&'n Node>, &'n Node), YamlError> {
        match (&node.form, step) {
            (Form::Mapping(pairs), Step::Key(key)) => self.key(pairs, key),
            (Form::Sequence(nodes), Step::Index(index)) => {
                let count = nodes.len();
                let node = nodes.get(*index).ok_or(YamlError::NoEntry { at: self.path(), index: *index, count })?;
                Ok((*index, None, node))
            }
            (Form::Alias(anchor), _) => Err(self.alias(node, *anchor)),
            (_, Step::Key(_)) => Err(self.other_form(node, "a mapping")),
            (_, Step::Index(_)) => Err(self.other_form(node, "a list")),
        }
    }

    fn key<'n>(&self, pairs: &'n [(Node, Node)], key: &str) -> Result<(usize, Option<&'n Node>, &'n Node), YamlError> {
        let mut found = pairs.iter().enumerate().filter(|(_, (known, _))| known.text() == Some(key));
        if let Some((index, (known, value))) = found.next() {
            return match found.next() {
                None => Ok((index, Some(known), value)),
                Some((_, (again, _))) => Err(YamlError::KeyTwice {
                    at: self.path(),
                    key: key.to_owned(),
                    first: line(self.text, known.range.start),
                    second: line(self.text, again.range.start),
                }),
            };
        }
        if let Some((merge, _)) =
            pairs.iter().find(|(known, merged)| known.text() == Some("<<") && self.has(merged, key))
        {
            let line = line(self.text, merge.range.start);
            return Err(YamlError::Merged { at: self.path(), key: key.to_owned(), line });
        }
        let names: Vec<&str> = pairs.iter().filter_map(|(known, _)| known.text()).collect();
        Err(YamlError::NoKey { at: self.path(), key: key.to_owned(), help: self.help(&names, key) })
    }

    /// Returns whether what is merged has a key.
    fn has(&self, merged: &Node, key: &str) -> bool {
        match &merged.form {
            Form::Alias(anchor) => {
                let target = self.root.anchored(*anchor);
                target.is_some_and(|target| !matches!(target.form, Form::Alias(_)) && self.has(target, key))
            }
            Form::Sequence(nodes) => {
                nodes.iter().any(|node| matches!(node.form, Form::Alias(_)) && self.has(node, key))
            }
            Form::Mapping(pairs) => pairs.iter().any(|(known, _)| known.text() == Some(key)),
            Form::Scalar { .. } => false,
        }
    }

    fn help(&self, names: &[&str], key: &str) -> String {
        let is_elsewhere = |document: &Node| {
            let way = self.rest.iter().try_fold(document, |node, step| match (&node.form, step) {
                (Form::Mapping(pairs), Step::Key(key)) => {
                    pairs.iter().find(|(known, _)| known.text() == Some(key)).map(|(_, value)| value)
                }
                (Form::Sequence(nodes), Step::Index(index)) => nodes.get(*index),
                _ => None,
            });
            self.steps.is_empty() && way.is_some()
        };
        if let Some(other) = self.others.iter().find(|document| is_elsewhere(document)) {
            let line = line(self.text, other.range.start);
            return format!("a later document, from line {line}, has it, but Helm reads the first one alone");
        }
        let near = names.iter().filter(|name| strsim::jaro(name, key) > 0.7);
        match near.max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key))) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => "write the value by hand first: tunesmith changes values and adds none".into(),
            None => {
                let more = if names.len() > 8 { ", …" } else { "" };
                let names: Vec<String> = names.iter().take(8).map(|name| format!("`{name}`")).collect();
                format!("its keys are {}{more}; tunesmith changes values and adds none", names.join(", "))
            }
        }
    }

    fn alias(&self, node: &Node, anchor: usize) -> YamlError {
        let target = self.root.anchored(anchor).map_or(0, |target| line(self.text, target.range.start));
        YamlError::Alias { at: self.path(), line: line(self.text, node.range.start), anchor: target }
    }

    fn other_form(&self, node: &Node, expected: &'static str) -> YamlError {
        let line = line(self.text, node.range.start);
        YamlError::OtherForm { at: self.path(), found: node.form.word(), expected, line }
    }

    fn path(&self) -> String {
        written(self.steps)
    }
}
