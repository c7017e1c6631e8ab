//! Where the server is: the setting `host`, or `OLLAMA_HOST` in the forms that Ollama's own client takes.

use crate::net::{NetError, Url};

/// Ollama's own port.
const PORT: u16 = 11_434;

/// Returns the address of a server: `HOST`, `HOST:PORT`, `:PORT` or a URL. An address that servers listen on for all is
/// asked on this machine.
///
/// # Errors
/// [`NetError::BadUrl`].
pub fn address(text: &str) -> Result<Url, NetError> {
    // Quotes that a file of variables keeps are no part of it.
    let text = text.trim().trim_matches(['"', '\'']).trim_end_matches('/');
    let (scheme, rest, port) = match text.split_once("://") {
        Some(("https", rest)) => ("https", rest, 443),
        Some(("http", rest)) => ("http", rest, 80),
        Some(_) => return Url::parse(text),
        None => ("http", text, PORT),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let bare = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    let (host, port) = match bare.rsplit_once(':') {
        Some((_, given)) if !given.is_empty() => (&authority[..authority.len() - given.len() - 1], given.to_owned()),
        _ => (authority, port.to_string()),
    };
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    Url::parse(&format!("{scheme}://{host}:{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn every_form_of_ollama_host_leads_to_the_server() {
        for (text, url) in [
            ("", "http://127.0.0.1:11434/"),
            ("example.org", "http://example.org:11434/"),
            ("example.org:80", "http://example.org/"),
            ("'example.org'", "http://example.org:11434/"),
            (":8080", "http://127.0.0.1:8080/"),
            ("0.0.0.0", "http://127.0.0.1:11434/"),
            ("[::]:9", "http://[::1]:9/"),
            ("http://example.org", "http://example.org/"),
            ("https://example.org/ollama/", "https://example.org/ollama"),
            ("https://example.org:8443", "https://example.org:8443/"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), url, "{text}");
        }
        assert!(address("ftp://example.org").is_err());
        assert!(address("a b").is_err());
    }
}
