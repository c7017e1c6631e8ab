//! What can go wrong with a request. No text in here ever holds a token.

use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;

use super::shown::{short, shown};

/// What can go wrong with a request.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum NetError {
    /// The text is no URL that can be asked.
    #[error("`{url}` is not a URL that can be fetched: {why}")]
    #[diagnostic(
        code(net::bad_url),
        help("write it as `https://HOST/PATH`; credentials go into a token, not into the URL")
    )]
    BadUrl {
        /// The text, without what stood before an `@`.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A token that no header can hold.
    #[error("the token has a character that no HTTP header can hold")]
    #[diagnostic(
        code(net::bad_token),
        help("a line break at its end is the usual reason: set the variable again without it")
    )]
    BadToken,
    /// A variable that should name a proxy does not.
    #[error("`{variable}` is no address of a proxy")]
    #[diagnostic(
        code(net::bad_proxy),
        help(
            "write it as `http://HOST:PORT` or `socks5://HOST:PORT`, or unset it; `NO_PROXY` names hosts to reach directly"
        )
    )]
    BadProxy {
        /// The variable; its value may hold a password.
        variable: &'static str,
    },
    /// No certificate is where `SSL_CERT_FILE` or `SSL_CERT_DIR` say.
    #[error("`SSL_CERT_FILE` and `SSL_CERT_DIR` name no certificate: {why}")]
    #[diagnostic(code(net::no_certificates), help("name a file of certificates in PEM form, or unset the variable"))]
    NoCertificates {
        /// What is wrong with what they name.
        why: String,
    },
    /// Nobody who is trusted vouches for the server.
    #[error("the certificate of `{url}` is not trusted")]
    #[diagnostic(
        code(net::untrusted),
        help(
            "where a proxy or a server of your own stands there, name its authority's certificate by `SSL_CERT_FILE`; \
             else check this machine's clock and the address"
        )
    )]
    Untrusted {
        /// The address.
        url: String,
        /// Why.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// No reply, after all tries.
    #[error("no reply from `{url}` after {attempts} tries")]
    #[diagnostic(
        code(net::unreachable),
        help("check the connection, the proxy settings and the host's name, then run the command again")
    )]
    Unreachable {
        /// The address.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// Why the last try failed.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// An answer took too long, after all tries.
    #[error("`{url}` did not answer within {}, in {attempts} tries", humantime::format_duration(*.limit))]
    #[diagnostic(code(net::timeout), help("the server or the connection is too slow now: run the command again later"))]
    Timeout {
        /// The address.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What one try may take.
        limit: Duration,
    },
    /// The server keeps failing.
    #[error("`{url}` answered {status} in {attempts} tries: {excerpt}")]
    #[diagnostic(code(net::server_error), help("the server has a problem of its own: run the command again later"))]
    Server {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How often it was tried.
        attempts: u32,
        /// How its answer begins.
        excerpt: String,
    },
    /// The server refuses.
    #[error("`{url}` answered {status}: {excerpt}")]
    #[diagnostic(code(net::refused), help("{}", advice(*.status)))]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How its answer begins.
        excerpt: String,
    },
    /// A rate limit that lasts longer than the caller wants to wait.
    #[error("`{host}` limits requests until {until}, which is {} away", humantime::format_duration(*.wait))]
    #[diagnostic(
        code(net::rate_limited),
        help(
            "run the command again then: it goes on where it stopped. A token raises GitHub's limit from 60 to 5,000 requests an hour; `max-wait` says how long a run may wait"
        )
    )]
    RateLimited {
        /// Who limits.
        host: String,
        /// The time in UTC, as HTTP writes it.
        until: String,
        /// From now.
        wait: Duration,
    },
    /// More bytes than allowed.
    #[error("the answer of `{url}` is larger than {limit} bytes")]
    #[diagnostic(code(net::too_large), help("this is not what such an answer looks like: check the address"))]
    TooLarge {
        /// The address.
        url: String,
        /// Bytes.
        limit: u64,
    },
    /// A file that ends before its announced length, after all tries.
    #[error("`{url}` broke off after {bytes} bytes, in {attempts} tries")]
    #[diagnostic(code(net::broken_off), help("run the command again: it goes on after the bytes that are there"))]
    BrokenOff {
        /// The address.
        url: String,
        /// How often nothing more came.
        attempts: u32,
        /// Bytes that are there.
        bytes: u64,
    },
    /// A file of another size than it should have.
    #[error("the file at `{url}` has {found} bytes, it should have {expected}")]
    #[diagnostic(
        code(net::wrong_length),
        help("the publisher replaced it, or something on the way answers in its place: check the address")
    )]
    WrongLength {
        /// The address.
        url: String,
        /// Bytes that were announced elsewhere.
        expected: u64,
        /// Bytes that the server announces.
        found: u64,
    },
    /// What was fetched cannot be written.
    #[error("`{path}` cannot be written")]
    #[diagnostic(code(net::write), help("check that the disk has room and that the folder can be written"))]
    Write {
        /// The part file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Redirects without end.
    #[error("`{url}` redirects more than {limit} times")]
    #[diagnostic(
        code(net::too_many_redirects),
        help("open the address in a browser to see where it leads, and use that one")
    )]
    TooManyRedirects {
        /// The first address.
        url: String,
        /// Redirects allowed.
        limit: u32,
    },
    /// A redirect that is not followed.
    #[error("`{from}` redirects to `{to}`: {why}")]
    #[diagnostic(code(net::bad_redirect), help("use the right address directly, if you trust it"))]
    BadRedirect {
        /// Where the redirect stood.
        from: String,
        /// Where it leads.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// A listing's next page that is not followed.
    #[error("the next page of `{url}` is `{next}`: {why}")]
    #[diagnostic(
        code(net::bad_next_page),
        help("the server's `Link` header is wrong; nothing of this listing was kept")
    )]
    BadNextPage {
        /// The page whose header names it.
        url: String,
        /// Where it leads.
        next: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The body is not the JSON that was expected.
    #[error("the answer of `{url}` is not the JSON expected: it begins {excerpt}")]
    #[diagnostic(
        code(net::not_json),
        help("a login page or a proxy's notice in its place is the usual reason: check the address and the network")
    )]
    NotJson {
        /// The address.
        url: String,
        /// How it begins.
        excerpt: String,
        /// Where it stops to be what was expected.
        #[source]
        cause: serde_json::Error,
    },
    /// A `304 Not Modified` to a question that named no earlier reply.
    #[error("`{url}` answered that nothing changed, but was not asked for changes")]
    #[diagnostic(code(net::unasked_not_modified), help("a cache between here and the server is broken: go round it"))]
    UnaskedNotModified {
        /// The address.
        url: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    #[diagnostic(code(net::cancelled))]
    Cancelled,
    /// The thread that speaks HTTP ended without a word.
    #[error("the connection to `{url}` ended inside tunesmith")]
    #[diagnostic(code(net::bug), help("this is a bug of tunesmith: please report it"))]
    Bug {
        /// The address.
        url: String,
    },
}

impl NetError {
    /// Returns the error as it may be told: addresses as they may be shown, and what a server said through `mask`.
    pub(super) fn told(mut self, mask: impl Fn(&str) -> String) -> Self {
        let address = |url: &mut String| *url = shown(&mask(url));
        match &mut self {
            Self::BadUrl { url, .. }
            | Self::Untrusted { url, .. }
            | Self::Unreachable { url, .. }
            | Self::Timeout { url, .. }
            | Self::TooLarge { url, .. }
            | Self::BrokenOff { url, .. }
            | Self::WrongLength { url, .. }
            | Self::TooManyRedirects { url, .. }
            | Self::UnaskedNotModified { url }
            | Self::Bug { url } => address(url),
            Self::BadRedirect { from: url, to: other, .. } | Self::BadNextPage { url, next: other, .. } => {
                address(url);
                address(other);
                // After the mask: half a token is none that it knows.
                *other = short(other);
            }
            Self::Server { url, excerpt, .. } | Self::Refused { url, excerpt, .. } => {
                address(url);
                *excerpt = mask(excerpt);
            }
            Self::NotJson { url, excerpt, cause } => {
                address(url);
                *excerpt = mask(excerpt);
                let told = cause.to_string();
                let masked = mask(&told);
                if masked != told {
                    *cause = serde::de::Error::custom(masked);
                }
            }
            Self::RateLimited { host, .. } => *host = mask(host),
            Self::BadToken
            | Self::BadProxy { .. }
            | Self::NoCertificates { .. }
            | Self::Write { .. }
            | Self::Cancelled => {}
        }
        self
    }

    /// Returns whether the same request may succeed when it is sent again soon. After a limit that is not waited for it
    /// may not: whoever asks all the same is shut out for longer.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Server { .. } | Self::BrokenOff { .. })
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => "the token is wrong, expired or revoked: make a new one",
        403 => "the token may not read this, or the server wants one: check what it is allowed to do",
        404 => "the name is misspelt, or it is private and the token may not see it",
        410 | 451 => "it was removed: take it out of the settings",
        422 => "the server does not accept the question: please report it with this message",
        _ => "check the address",
    }
}
