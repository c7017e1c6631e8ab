//! URLs as people and logs may see them: an address may carry somebody's password, a signature, or a token.

use percent_encoding::percent_decode_str;

/// Characters of a text that a server made up.
const MOST: usize = 200;

/// What stands before, between and after parameters; some servers take them in paths, and some answer them in fragments.
const SEPARATORS: [char; 4] = ['?', '&', ';', '#'];

/// How often an address may stand encoded inside of another one before all of it is hidden.
const DEEPEST: usize = 3;

/// Parameters whose value opens a door, as words of their names.
const WORDS: &[&str] = &[
    "auth",
    "authorization",
    "bearer",
    "code",
    "cookie",
    "credentials",
    "hmac",
    "jwt",
    "key",
    "oauth",
    "otp",
    "pass",
    "passphrase",
    "pwd",
    "session",
    "sid",
    "sig",
    "ticket",
];

/// The same as parts of words, which nothing harmless holds.
const PARTS: &[&str] = &["apikey", "credential", "passw", "secret", "sessionid", "signature", "token"];

/// Names that cloud stores sign addresses with begin so.
const BEGINNINGS: &[&str] = &["x-amz-", "x-goog-"];

/// Returns a URL, or what should be one, as it may be shown: without what stands before an `@`, and with `…` in place of
/// each parameter's value whose name is that of a secret. What is shown cannot be asked for.
pub fn shown(url: &str) -> String {
    let url = without_credentials(url);
    let start = url.find(SEPARATORS).unwrap_or(url.len());
    format!("{}{}", &url[..start], parameters_shown(&url[start..], DEEPEST))
}

/// Returns how a text begins.
pub(super) fn short(text: &str) -> String {
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Returns parameters as they may be shown, and what stands between them. A value may be an address with its own ones.
fn parameters_shown(text: &str, depth: usize) -> String {
    let mut shown = String::new();
    for part in text.split_inclusive(SEPARATORS) {
        let (pair, separator) = part.split_at(part.trim_end_matches(SEPARATORS).len());
        let pair = if pair.contains("://") { without_credentials(pair) } else { pair.to_owned() };
        match pair.split_once('=') {
            Some((name, value)) if is_hidden(name, value, depth) => shown.extend([name, "=…"]),
            _ => shown.push_str(&pair),
        }
        shown.push_str(separator);
    }
    shown
}

fn is_hidden(name: &str, value: &str, depth: usize) -> bool {
    if value.is_empty() {
        return false;
    }
    if is_secret(&percent_decode_str(name).decode_utf8_lossy()) {
        return true;
    }
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    decoded != value && depth.checked_sub(1).is_none_or(|depth| parameters_shown(&decoded, depth) != decoded)
}

/// Returns whether a parameter of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
        || PARTS.iter().any(|part| lower.replace(['-', '_', '.'], "").contains(part))
        || words(name).iter().any(|word| WORDS.contains(&word.as_str()))
}

/// Splits a name at what is no letter and before capitals, as in `api_key` and `apiKey`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for character in name.chars() {
        let begins = character.is_ascii_uppercase() && was_small;
        was_small = character.is_ascii_lowercase();
        if begins || !character.is_ascii_alphabetic() {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), character.is_ascii_alphabetic()) {
            word.push(character.to_ascii_lowercase());
        }
    }
    words
}

/// Cuts what stands before the last `@` of the host, so that no password enters a message.
fn without_credentials(url: &str) -> String {
    let start = match url.find("://") {
        Some(at) => at + 3,
        None if url.starts_with("//") => 2,
        None => 0,
    };
    let (scheme, rest) = url.split_at(start);
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let host = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
    format!("{scheme}{host}{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(shown(url), expected);
        assert_eq!(shown(expected), expected, "what is shown is shown as it is");
    }

    #[test]
    fn plain_addresses_stay_as_they_are() {
        for url in [
            "https://example.org/?q=me@example.org&of=me%40example.org",
            "https://api.github.com/repos/o/r/issues?state=all&per_page=100&page=2&since=2026-01-01T00:00:00Z",
            "https://example.org/a%20b?q=a%2Fb&sort=created&keyword=author&passing=1&monkey=2#section",
            "/relative?after=Y3Vyc29yOnYyOpK5&x",
            "https://example.org/?u=https%3A%2F%2Fother.org%2F%3Fpage%3D2",
            "example.org/x",
            "",
        ] {
            check(url, url);
        }
    }

    #[test]
    fn what_opens_a_door_is_hidden() {
        check(
            "https://codeload.github.com/o/r/tar.gz?token=ABC&page=2",
            "https://codeload.github.com/o/r/tar.gz?token=…&page=2",
        );
        check("https://me:hunter2@example.org/x?a=b", "https://example.org/x?a=b");
        check("//me:hunter2@example.org/x", "//example.org/x");
        check(
            "https://s3/b?X-Amz-Credential=A%2FB&X-Amz-Date=1&v=2",
            "https://s3/b?X-Amz-Credential=…&X-Amz-Date=…&v=2",
        );
        check("https://a/?b=1;sig=x;c=2#access_token=y&state=z", "https://a/?b=1;sig=…;c=2#access_token=…&state=z");
        for name in [
            "token",
            "access_token",
            "accesstoken",
            "private-token",
            "key",
            "api_key",
            "apiKey",
            "APIKEY",
            "sig",
            "Signature",
            "X-Goog-Signature",
            "jwt",
            "code",
            "client_secret",
            "password",
            "passwd",
            "pwd",
            "auth",
            "authToken",
            "session",
            "sid",
            "%74oken",
            "a[token]",
        ] {
            check(&format!("https://a/?{name}=hunter2&page=1"), &format!("https://a/?{name}=…&page=1"));
        }
    }

    #[test]
    fn an_address_inside_of_another_one_hides_its_secrets_too() {
        check("https://a/?u=https://me:pw@b/?token=c&page=1", "https://a/?u=https://b/?token=…&page=1");
        check("https://a/?u=https%3A%2F%2Fb%2F%3Ftoken%3Dc&page=1", "https://a/?u=…&page=1");
        check("https://a/?u=https%3A%2F%2Fme%3Apw%40b%2F", "https://a/?u=…");
        check("https://a/;jsessionid=c?state=token%3Dc", "https://a/;jsessionid=…?state=…");
        let mut nested = "token=c".to_owned();
        for _ in 0..40 {
            nested = format!("u={}", nested.replace('%', "%25").replace('=', "%3D"));
        }
        check(&format!("https://a/?{nested}"), "https://a/?u=…");
    }
}
