//! Records and record sets: what flows between sources and filters.
//!
//! A set is an id-sorted tree of content-defined chunks in the store:
//!
//! ```text
//! RecordsRef → node → node → chunk → "id"<TAB>{canonical JSON}<LF>
//! ```
//!
//! Where a chunk ends depends on the id and the size of its last record alone, so equal sets have equal trees whatever
//! their history, two versions share what they have in common, and [`diff()`], [`edit()`], [`map_records`] and [`reduce()`]
//! work in the size of a change. The module knows no node, no manifest and no format of an upstream.

mod canonical;
mod chunk;
mod counts;
mod diff;
mod edit;
mod error;
mod glance;
mod jsonl;
mod line;
mod map;
mod merge;
mod naming;
mod neutral;
mod quoted;
mod recall;
mod reduce;
mod room;
mod set;
mod summary;
mod text;
mod tree;
mod turns;
mod types;
mod unseen;

pub use chunk::{Chunk, SetWriter};
pub use counts::Counts;
pub use diff::{Changed, SetDiff, changes, diff};
pub use edit::{edit, upsert};
pub use error::{RecordError, Result};
pub use jsonl::{FieldMap, Form, ImportError, Imported, export_jsonl, import, import_correction, import_mapped};
pub use line::Line;
pub(crate) use line::line_ranges;
pub use map::{MapOutput, Mapped, map_records};
pub use merge::merge;
pub use naming::Naming;
pub use neutral::{Neutralised, neutralised};
pub(crate) use recall::{is_whole, recall, remember};
pub use reduce::{Verdict, reduce};
pub use set::{RecordSet, write, write_lines};
pub use summary::summarize;
pub use text::{LongText, RecordText, Text};
pub use tree::ChunkRef;
pub(crate) use turns::in_turns;
pub use types::{Author, Comment, Conversation, Correction, Document, Record, Role, SourceRef, Thread, Turn};
pub(crate) use unseen::is_useless;

#[cfg(test)]
mod tests;
