//! The nodes of a YAML text with their places.

use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, options};

use super::YamlError;

/// A node; its range is that of the value alone, without anchor and tag.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) form: Form,
    pub(super) range: Range<usize>,
    /// A number for its anchor; 0 without one.
    pub(super) anchor: usize,
    pub(super) tag: Option<String>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Scalar {
        value: String,
        style: ScalarStyle,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    /// By the number of an anchor.
    Alias(usize),
}

impl Form {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Scalar { .. } => "a single value",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
            Self::Alias(_) => "an alias",
        }
    }
}

impl Node {
    /// Returns the text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.form {
            Form::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Returns whether two nodes are the same but for their places. `except` is the way to one node below that may
    /// differ in its text and in how it is quoted.
    pub(super) fn is_same(&self, other: &Self, except: Option<&[usize]>) -> bool {
        if self.anchor != other.anchor || self.tag != other.tag {
            return false;
        }
        let below = |number: usize| match except {
            Some([first, rest @ ..]) if *first == number => Some(rest),
            _ => None,
        };
        match (&self.form, &other.form) {
            (Form::Scalar { .. }, Form::Scalar { .. }) if except.is_some_and(<[usize]>::is_empty) => true,
            (Form::Scalar { value, style }, Form::Scalar { value: value_2, style: style_2 }) => {
                value == value_2 && style == style_2
            }
            (Form::Alias(anchor), Form::Alias(anchor_2)) => anchor == anchor_2,
            (Form::Sequence(nodes), Form::Sequence(nodes_2)) => {
                nodes.len() == nodes_2.len()
                    && nodes.iter().zip(nodes_2).enumerate().all(|(at, (a, b))| a.is_same(b, below(at)))
            }
            (Form::Mapping(pairs), Form::Mapping(pairs_2)) => {
                pairs.len() == pairs_2.len()
                    && pairs.iter().zip(pairs_2).enumerate().all(|(at, ((key, value), (key_2, value_2)))| {
                        key.is_same(key_2, None) && value.is_same(value_2, below(at))
                    })
            }
            _ => false,
        }
    }

    /// Returns the first node with this anchor, at or below this one.
    pub(super) fn anchored(&self, anchor: usize) -> Option<&Self> {
        if self.anchor == anchor {
            return Some(self);
        }
        match &self.form {
            Form::Sequence(nodes) => nodes.iter().find_map(|node| node.anchored(anchor)),
            Form::Mapping(pairs) => {
                pairs.iter().find_map(|(key, value)| key.anchored(anchor).or_else(|| value.anchored(anchor)))
            }
            _ => None,
        }
    }

    /// Calls `found` with the place of each alias of an anchor.
    pub(super) fn aliases(&self, anchor: usize, found: &mut dyn FnMut(usize)) {
        match &self.form {
            Form::Alias(of) if *of == anchor => found(self.range.start),
            Form::Sequence(nodes) => nodes.iter().for_each(|node| node.aliases(anchor, found)),
            Form::Mapping(pairs) => pairs.iter().for_each(|(key, value)| {
                key.aliases(anchor, found);
                value.aliases(anchor, found);
            }),
            _ => {}
        }
    }
}

/// Returns the number of the line that a place is in, from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

/// A collection that is being read.
struct Open {
    node: Node,
    key: Option<Node>,
}

/// Returns the documents of a text, each by its root.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str_with_options(text, choices()) {
        let (event, span) = event.map_err(|error| YamlError::Syntax {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            what: error.info(),
        })?;
        let range = range(text, &span);
        let tag = |tag: Option<std::borrow::Cow<'_, granit_parser::Tag>>| tag.map(|tag| tag.original());
        match event {
            Event::Scalar(value, style, anchor, tagged) => {
                let form = Form::Scalar { value: value.into_owned(), style };
                add(&mut documents, &mut open, Node { form, range, anchor, tag: tag(tagged) });
            }
            Event::Alias(anchor) => {
                add(&mut documents, &mut open, Node { form: Form::Alias(anchor), range, anchor: 0, tag: None });
            }
            Event::SequenceStart(_, anchor, tagged) => {
                let node = Node { form: Form::Sequence(Vec::new()), range, anchor, tag: tag(tagged) };
                open.push(Open { node, key: None });
            }
            Event::MappingStart(_, anchor, tagged) => {
                let node = Node { form: Form::Mapping(Vec::new()), range, anchor, tag: tag(tagged) };
                open.push(Open { node, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut done) = open.pop() {
                    done.node.range.end = range.end.max(done.node.range.start);
                    add(&mut documents, &mut open, done.node);
                }
            }
            _ => {}
        }
    }
    Ok(documents)
}

/// Helm's own reader knows no end of nesting; this one stops where no real file is.
fn choices() -> Options {
    options! { emit_comments: false }
}

/// A parser of a whole text gives every place in bytes.
fn range(text: &str, span: &Span) -> Range<usize> {
    span.byte_range().filter(|range| text.get(range.clone()).is_some()).unwrap_or_default()
}

fn add(documents: &mut Vec<Node>, open: &mut [Open], node: Node) {
    let Some(Open { node: parent, key }) = open.last_mut() else {
        documents.push(node);
        return;
    };
    match &mut parent.form {
        Form::Sequence(nodes) => nodes.push(node),
        Form::Mapping(pairs) => match key.take() {
            None => *key = Some(node),
            Some(key) => pairs.push((key, node)),
        },
        _ => {}
    }
}
