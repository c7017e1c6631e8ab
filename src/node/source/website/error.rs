//! What can go wrong while a website is fetched.

use std::time::Duration;

use miette::Diagnostic;

use super::sitemap::SitemapProblem;
use crate::net::NetError;
use crate::node::{FailureClass, NodeError};
use crate::record::RecordError;
use crate::store::StoreError;

/// Pending pages that an error names.
const NAMED: usize = 10;

/// What can go wrong while a website is fetched.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum WebsiteError {
    /// The network or the server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// A sitemap that cannot be read.
    #[error("sitemap `{url}` cannot be read: {problem}")]
    #[diagnostic(
        code(source::website::bad_sitemap),
        help("open it in a browser; `sitemap` names the address of an XML sitemap, not of a page")
    )]
    BadSitemap {
        /// Its address.
        url: String,
        /// What is wrong with it.
        problem: SitemapProblem,
    },
    /// The site asks programs to leave alone what the settings name.
    #[error("robots.txt of `{site}` asks programs not to read `{url}`")]
    #[diagnostic(
        code(source::website::robots),
        help("name another page, or ask the site's owner to allow `User-agent: tunesmith`")
    )]
    Robots {
        /// The site.
        site: String,
        /// The address.
        url: String,
    },
    /// Nothing came.
    #[error("no page of the site became a document: {why}")]
    #[diagnostic(
        code(source::website::empty),
        help(
            "check `start`, `prefix`, `include` and `exclude`: where pages lead to another host, name that one; a site that is made by JavaScript wants `render = \"browser\"`"
        )
    )]
    Empty {
        /// What became of the pages.
        why: String,
    },
    /// Some pages did not come.
    #[error("{} pages could not be fetched: {}", pending.len(), named(pending))]
    #[diagnostic(
        code(source::website::pending),
        help(
            "all that came is kept: the next run asks for these and what they lead to; a page that never comes goes into `exclude`"
        )
    )]
    Pending {
        /// Addresses, each with the reason.
        pending: Vec<String>,
    },
    /// No browser.
    #[error("`render = \"browser\"` needs Chromium, and there is none: looked for {looked_for} on PATH")]
    #[diagnostic(
        code(source::website::no_browser),
        help("install it, with `apt-get install chromium` or the like, or leave `render` out")
    )]
    NoBrowser {
        /// The names of programs.
        looked_for: String,
    },
    /// A browser that does not render.
    #[error("Chromium could not render `{url}`: {how}")]
    #[diagnostic(
        code(source::website::browser_failed),
        help(
            "try `chromium --headless --dump-dom URL` by hand; in a container it may lack shared memory or a sandbox"
        )
    )]
    BrowserFailed {
        /// The page.
        url: String,
        /// How it ended, and its last words.
        how: String,
    },
    /// A browser that does not end.
    #[error("Chromium did not render `{url}` within {}", humantime::format_duration(*limit))]
    #[diagnostic(code(source::website::browser_slow), help("run the command again, or put the page into `exclude`"))]
    BrowserSlow {
        /// The page.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// Files of the browser.
    #[error("the browser's folder cannot be made")]
    #[diagnostic(code(source::website::io), help("check the space and the rights of the store's folder"))]
    Io(#[from] std::io::Error),
    /// Record sets.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl WebsiteError {
    /// Returns whether it concerns one page alone, so that others are fetched all the same.
    pub(super) fn is_of_one_page(&self) -> bool {
        match self {
            Self::Net(net) => net.is_transient(),
            Self::BrowserFailed { .. } | Self::BrowserSlow { .. } => true,
            _ => false,
        }
    }

    /// Makes the node's failure.
    pub(super) fn failure(self) -> NodeError {
        match &self {
            Self::Net(NetError::Cancelled) => NodeError::cancelled(),
            Self::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, net),
            error @ Self::Pending { .. } => NodeError::new(FailureClass::Transient, error),
            error => NodeError::new(FailureClass::Permanent, error),
        }
    }
}

fn named(pending: &[String]) -> String {
    let more = pending.len().saturating_sub(NAMED);
    let named = pending[..pending.len().min(NAMED)].join("; ");
    if more == 0 { named } else { format!("{named}; and {more} more") }
}
