//! Changes one value of a YAML text and nothing else: comments, order, quotes, anchors and line ends stay as they are.
//!
//! A parser with places says where the value stands; only those bytes are replaced. The result is parsed again and held
//! against the text before: every node of every document must be the same but the one, and that one must be what was
//! asked for. What cannot be proven so is refused. Nothing is read, resolved or expanded: aliases stay aliases.

mod document;
mod edit;
mod error;
mod path;
mod scalar;

pub(super) use edit::{put_back, set, standing};
pub(super) use error::YamlError;
pub(super) use path::ValuePath;
pub(super) use scalar::Scalar;

#[cfg(test)]
mod tests;
