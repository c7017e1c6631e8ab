//! What can go wrong with a store.

use std::path::PathBuf;

use miette::Diagnostic;

use super::Digest;

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StoreError {
    /// No store has the object.
    #[error("object {digest} is in no store")]
    #[diagnostic(code(store::missing_object), help("the node that makes it runs again on the next `tunesmith build`"))]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// The bytes are not those that were stored.
    #[error("object {digest} is damaged: its bytes have another digest")]
    #[diagnostic(
        code(store::damaged_object),
        help("it was dropped; the node that makes it runs again on the next `tunesmith build`")
    )]
    Damaged {
        /// The digest that it should have.
        digest: Digest,
    },
    /// The store was made by another version.
    #[error("store `{root}` has the format `{found}`, this tunesmith reads `{expected}`")]
    #[diagnostic(
        code(store::format),
        help("use the tunesmith that made it, or move the folder away: what it held is then built again")
    )]
    Format {
        /// The store's folder.
        root: PathBuf,
        /// What its `format` file says.
        found: String,
        /// What this version writes.
        expected: &'static str,
    },
    /// The store's folder cannot be written.
    #[error("store `{root}` cannot be written")]
    #[diagnostic(
        code(store::read_only),
        help(
            "make the folder writable, or name another one by `[cache] dir`; one that is only read can be `[cache] remote`"
        )
    )]
    ReadOnly {
        /// The store's folder.
        root: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file changed while it was read.
    #[error("file `{path}` changed while it was read")]
    #[diagnostic(code(store::file_changed), help("run the command again when nothing writes to the file"))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A path that should name a plain file names something else.
    #[error("`{path}` is not a plain file")]
    #[diagnostic(code(store::not_a_file), help("a folder, a socket or a device cannot be an input here"))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A record in the store cannot be read.
    #[error("{what} in the store cannot be read")]
    #[diagnostic(
        code(store::unreadable),
        help("`tunesmith cache verify` drops what is damaged; it is then built again")
    )]
    Unreadable {
        /// Which record.
        what: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A build uses the store.
    #[error("a build uses the store right now")]
    #[diagnostic(code(store::in_use), help("run the command again when it has ended"))]
    InUse,
    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(store::io), help("check that the disk has room and that the folder can be written"))]
    Io(#[from] std::io::Error),
    /// SQLite.
    #[error("the store's index cannot be used")]
    #[diagnostic(
        code(store::index),
        help("if it says that the disk is full, make room; if it is damaged, delete `cache/`: it is only a cache")
    )]
    Sqlite(#[from] rusqlite::Error),
}
