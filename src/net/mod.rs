//! HTTP for everything that fetches or sends: the only user of an HTTP client.
//!
//! A [`Client`] sends one [`Request`] at a time and gives back a whole [`Response`]. It retries what a busy or broken
//! server refuses, waits where a server says how long, asks again only for what changed when the caller keeps
//! [`Cached`] replies, and follows redirects itself, so that a token never travels to another origin. [`Client::pages`]
//! walks a listing by its `Link: rel="next"` headers alone.
//!
//! Every call can be cancelled within a tenth of a second and ends by itself: bodies, redirects, pages, tries and
//! waits are all bounded by the [`Policy`]. What a server sends is not trusted, and no error names a token: each address
//! that people or logs see goes through [`shown()`].
//!
//! What is too large for memory is a [`Download`]: it goes into a file of the caller's, and goes on there.
//!
//! It does not know what is fetched, keeps nothing else on disk, and prints nothing: a caller that wants to know what goes
//! on passes a [`Watch`].

mod cached;
mod client;
mod download;
mod error;
mod exchange;
mod forward;
mod graphql;
mod network;
mod pages;
mod policy;
mod request;
mod secret;
mod shown;
mod tries;
mod url;

pub use cached::{Cached, Replies};
pub use client::{Client, Response, Watch};
pub use download::Download;
pub use error::NetError;
pub use network::{Network, proxy_variables};
pub use pages::Pages;
pub use policy::Policy;
pub use request::Request;
pub use secret::Secret;
pub use shown::shown;
pub use tries::rest;
pub use url::Url;

/// Results of this module's calls.
pub type Result<T> = std::result::Result<T, NetError>;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
