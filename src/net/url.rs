//! Addresses: absolute `http` and `https` URLs, their origin, and links relative to them.

use std::fmt;

use ureq::http::Uri;

use super::shown::{short, shown};
use super::{NetError, Result};

/// An absolute `http` or `https` URL without credentials and fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    scheme: &'static str,
    host: String,
    port: u16,
    /// Path and query, from `/` on.
    path: String,
}

impl Url {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// [`NetError::BadUrl`] for another scheme, credentials before the host, a bad port, characters that must be encoded.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why| NetError::BadUrl { url: short(&shown(text)), why };
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| bad("it has characters that must be percent-encoded"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            Some(_) => return Err(bad("only `https` and `http` can be fetched")),
            None => return Err(bad("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it has credentials in it"));
        }
        if authority.host().is_empty() {
            return Err(bad("it has no host"));
        }
        let port =
            match (authority.port_u16(), authority.as_str().rsplit_once(']').map_or(authority.as_str(), |it| it.1)) {
                (Some(port), _) => port,
                (None, rest) if rest.contains(':') => return Err(bad("its port is not a number up to 65535")),
                (None, _) => default_port(scheme),
            };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, host: authority.host().to_ascii_lowercase(), port, path })
    }

    /// Reads a link that stands on this page: absolute, or relative to it.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, link: &str) -> Result<Self> {
        let origin = self.origin();
        let path = self.path.split('?').next().unwrap_or("/");
        if link.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#'])) {
            Self::parse(link)
        } else if link.starts_with("//") {
            Self::parse(&format!("{}:{link}", self.scheme))
        } else if link.starts_with('/') {
            Self::parse(&format!("{origin}{link}"))
        } else if link.starts_with('?') || link.is_empty() {
            Self::parse(&format!("{origin}{path}{link}"))
        } else {
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            Self::parse(&format!("{origin}{folder}{link}"))
        }
    }

    /// Returns scheme, host and, where it is not the scheme's own, port.
    pub fn origin(&self) -> String {
        let Self { scheme, host, port, .. } = self;
        if *port == default_port(scheme) { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
    }

    /// Returns the host, with the port where it is not the scheme's own.
    pub fn host(&self) -> String {
        self.origin().split_once("://").map_or_else(String::new, |(_, host)| host.to_owned())
    }

    /// Returns the host alone, without the brackets of an IPv6 address.
    pub(super) fn host_name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether what is sent can be read on the way.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme == "http"
    }

    /// Returns whether the host is this machine, which no proxy stands before.
    pub fn is_loopback(&self) -> bool {
        let host = self.host_name();
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// As it is sent, with all that it holds: for people it goes through [`shown`].
impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin(), self.path)
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match Url::parse(text) {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_url_is_read_in_its_shortest_form() {
        assert_eq!(parsed("HTTPS://API.GitHub.com:443"), "https://api.github.com/");
        assert_eq!(parsed("http://127.0.0.1:8080/a?b=c#d"), "http://127.0.0.1:8080/a?b=c");
        assert_eq!(parsed("http://[::1]:99?x"), "http://[::1]:99/?x");
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_without_telling_a_password() {
        assert_eq!(
            parsed("https://me:hunter2@example.org/x"),
            "`https://example.org/x` is not a URL that can be fetched: it has credentials in it"
        );
        assert!(parsed("ftp://example.org").contains("only `https` and `http`"));
        assert!(parsed("example.org/x").contains("is not a URL"));
        assert!(parsed("http://example.org:99999/").contains("is not a URL"));
        assert!(parsed("http://example.org/a b").contains("percent-encoded"));
    }

    #[test]
    fn links_are_read_relative_to_their_page() {
        let page = Url::parse("https://example.org/a/b?page=1").unwrap();
        let joined = |link: &str| page.join(link).unwrap().to_string();
        assert_eq!(joined("?page=2"), "https://example.org/a/b?page=2");
        assert_eq!(joined("c"), "https://example.org/a/c");
        assert_eq!(joined("/c?u=http://x/"), "https://example.org/c?u=http://x/");
        assert_eq!(joined("//other.org/c"), "https://other.org/c");
        assert_eq!(joined("http://other.org/c"), "http://other.org/c");
    }
}
