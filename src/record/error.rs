//! What can go wrong with record sets.

use miette::Diagnostic;

use crate::store::{Digest, StoreError};

/// What can go wrong with record sets.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RecordError {
    /// Two records of one set have the same id.
    #[error("two records have the id `{id}`")]
    #[diagnostic(code(record::duplicate_id), help("give one of them another id, or leave one of them out"))]
    Duplicate {
        /// The id.
        id: String,
    },
    /// Two sets that become one hold the same id.
    #[error("record `{id}` comes from both `{first}` and `{second}`")]
    #[diagnostic(
        code(record::duplicate_id),
        help("take one of the two out of `from`, or leave the record out of one of them")
    )]
    Shared {
        /// The id.
        id: String,
        /// The set that comes first.
        first: String,
        /// The other set.
        second: String,
    },
    /// A stored object is not what its reader expects.
    #[error("object {digest} is not {expected}")]
    #[diagnostic(
        code(record::format),
        help("another version of tunesmith made it; `tunesmith build --force NODE` makes it again")
    )]
    Format {
        /// Its digest.
        digest: Digest,
        /// What it should be.
        expected: &'static str,
    },
    /// The JSON of a stored record cannot be read.
    #[error("record `{id}` cannot be read")]
    #[diagnostic(
        code(record::unreadable),
        help("another version of tunesmith made it; `tunesmith build --force NODE` makes it again")
    )]
    Unreadable {
        /// The record's id.
        id: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A record has no JSON form, such as a weight that is not a number.
    #[error("record `{id}` cannot be written as JSON")]
    #[diagnostic(code(record::unwritable), help("a weight must be a finite number"))]
    Unwritable {
        /// The record's id.
        id: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A record-wise filter gave a row whose id does not start with its record's.
    #[error("row `{row}` of record `{record}` does not start with the record's id")]
    #[diagnostic(code(record::row_id), help("this is a bug of tunesmith: please report it"))]
    RowId {
        /// The row's id.
        row: String,
        /// The record's id.
        record: String,
    },
    /// Records were given in the wrong order.
    #[error("record `{next}` was given after `{last}`")]
    #[diagnostic(code(record::order), help("this is a bug of tunesmith: please report it"))]
    Order {
        /// The id that came last.
        last: String,
        /// The id that should have come before it.
        next: String,
    },
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The writer that records are exported to.
    #[error("the records cannot be written out")]
    #[diagnostic(code(record::io), help("check that the disk has room and that the folder can be written"))]
    Io(#[from] std::io::Error),
}

/// Results of this module.
pub type Result<T> = std::result::Result<T, RecordError>;
