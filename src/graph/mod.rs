//! Declarations to a checked directed graph without cycles, or everything that is wrong with them.
//!
//! The graph knows kinds of nodes only through [`Catalog`]: no store, no files, no run. A [`Node`] has all that the
//! engine needs to plan it: canonical settings, edges in a fixed order, `out`, options.
//!
//! ```text
//! declarations ──expand──▶ drafts ──resolve──▶ edges ──out──▶ paths ──order──▶ Graph
//! ```

mod build;
mod catalog;
mod draw;
mod error;
mod expand;
mod node;
mod order;
mod out;
mod placeholder;
mod resolve;
mod select;

pub use catalog::{Catalog, Content, FieldReference, KindFacts, LocalFiles, Output, Refusal};
pub use draw::{Drawing, State};
pub use error::{GraphError, RefusedSetting, UnknownTarget};
pub use expand::{Look, NamedFiles};
pub use node::{Edge, Graph, Node, NodeIndex, Note, Reference, Role, RunLimits};

#[cfg(test)]
pub(crate) mod tests;
