//! Conditional requests: an earlier reply is sent again only when it changed.

use serde::{Deserialize, Serialize};

use super::{Secret, Url};

/// A reply that a server named by an `ETag`, or else by the time of its last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cached {
    /// The server's name for it, as it came: its `ETag`, or where it has none its `Last-Modified`.
    pub etag: String,
    /// The `Link` header, which a `304` need not repeat.
    pub link: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Where a caller keeps replies; the key says URL and token, since a server's `ETag` depends on both.
pub trait Replies {
    /// Returns the reply kept under `key`.
    fn get(&self, key: &str) -> Option<Cached>;
    /// Keeps a reply.
    fn put(&self, key: &str, reply: &Cached);
}

/// Returns the header that asks for a change since the reply with this name. No `ETag` reads as a date: it is quoted.
pub(super) fn condition(name: &str) -> &'static str {
    if httpdate::parse_http_date(name.trim()).is_ok() { "if-modified-since" } else { "if-none-match" }
}

/// Returns the key of a reply to whoever holds `token`.
pub(super) fn key(url: &Url, token: Option<&Secret>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(url.to_string().as_bytes());
    if let Some(token) = token {
        hasher.update(&[0]);
        hasher.update(token.digest().as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
