//! Records and record sets.

mod types;

pub use types::{Author, Comment, Conversation, Correction, Document, Record, Role, SourceRef, Thread, Turn};
