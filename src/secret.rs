//! What secrets look like, wherever they stand: the one list, for the manifest, which must hold none, and for rows, which
//! must not teach any.
//!
//! The prefixes are those that the services gave their tokens so that scanners find them. What has no such form, a password
//! in a sentence, is not found here.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// What a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// The token of a well-known service.
    Token,
    /// A JSON Web Token.
    WebToken,
    /// A private key: its PEM block, as far as it is there, or its base64 form as Kubernetes has it.
    PrivateKey,
    /// User and password in a URL.
    Login,
}

/// One secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub shape: Shape,
    /// Where it stands.
    pub range: Range<usize>,
}

/// The groups are shapes, in their order.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    let github = r"gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,}";
    let models = r"hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}";
    let clouds = r"(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|dop_v1_[a-f0-9]{64}";
    let others = r"glpat-[A-Za-z0-9_-]{20}|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}|xox[abprs]-[A-Za-z0-9-]{10,}|[sr]k_live_[A-Za-z0-9]{16,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|AGE-SECRET-KEY-1[A-Z0-9]{50,}";
    let web = r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}";
    let pem = r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s]*-----END [A-Z ]*PRIVATE KEY-----)?";
    // `-----BEGIN PRIVATE`, `… RSA PRIV`, `… EC PRIVA`, `… OPENSSH` in base64.
    let base64 = r"LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJV|BFQyBQUklWQ|BPUEVOU1NI)[A-Za-z0-9+/=]*";
    let login = r"[a-z]://([^\s/:@]+:[^\s/@]+)@";
    #[expect(clippy::expect_used, reason = "the pattern is a constant, and a test compiles it")]
    Regex::new(&format!(
        r"(?:^|[^A-Za-z0-9])(?:({github}|{models}|{clouds}|{others})|({web}))|({pem}|\b{base64})|{login}"
    ))
    .expect("a valid pattern")
});

/// A shorter text is none of these.
const SHORTEST: usize = 8;

/// Returns the secrets of a text, in order.
pub fn find(text: &str) -> Vec<Found> {
    if text.len() < SHORTEST {
        return Vec::new();
    }
    let shapes = [Shape::Token, Shape::WebToken, Shape::PrivateKey, Shape::Login];
    let found = SECRET.captures_iter(text).filter_map(|found| {
        let (shape, group) = shapes.iter().zip(1..).find_map(|(shape, n)| Some((*shape, found.get(n)?)))?;
        Some(Found { shape, range: group.range() })
    });
    found.collect()
}

/// Returns whether a text holds a secret.
pub fn is_in(text: &str) -> bool {
    text.len() >= SHORTEST && SECRET.is_match(text)
}

/// How a text begins that names an environment variable.
const REFERENCE: &str = "env:";

/// Returns whether a text is meant as a reference to a secret, `env:NAME`, be its name right or not.
pub fn is_reference(text: &str) -> bool {
    text.starts_with(REFERENCE)
}

/// Returns the variable's name in a reference to a secret, `env:NAME`.
pub fn environment_name(reference: &str) -> Option<&str> {
    reference.strip_prefix(REFERENCE).filter(|name| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(Shape, &str)]) {
        let found = find(text);
        let found: Vec<_> = found.iter().map(|found| (found.shape, &text[found.range.clone()])).collect();
        assert_eq!(found, expect, "{text}");
        assert_eq!(is_in(text), !expect.is_empty(), "{text}");
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let token = format!("ghp_{}", "a1B2".repeat(9));
        check(&format!("curl -H 'authorization: {token}'"), &[(Shape::Token, &token)]);
        check(&token, &[(Shape::Token, &token)]);
        check("https://ann:hunter2@git.example/o/r", &[(Shape::Login, "ann:hunter2")]);
        let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----";
        check(&format!("key:\n{pem}\nend"), &[(Shape::PrivateKey, pem)]);
        check("-----BEGIN PRIVATE KEY-----\n...", &[(Shape::PrivateKey, "-----BEGIN PRIVATE KEY-----")]);
        check("tls.key: LS0tLS1CRUdJTiBFQyBQUklWQVRF", &[(Shape::PrivateKey, "LS0tLS1CRUdJTiBFQyBQUklWQVRF")]);
        let web = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLi4u";
        check(&format!("Bearer {web}"), &[(Shape::WebToken, web)]);
    }

    #[test]
    fn what_only_resembles_a_secret_is_none() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nMIIB",
            "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
            "https://example.com/a:b@c",
            "a task-force-of-many-people-that-is-here",
            "http://localhost:4191/metrics",
            "ghp_short",
        ] {
            check(text, &[]);
        }
    }
}
