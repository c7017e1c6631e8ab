//! Secrets that are told by what stands before them: `password: …`, `api_key=…`, `Bearer …`.

use std::sync::LazyLock;

use regex::Regex;

use super::entropy::entropy;
use super::find::{Class, Finding};
use crate::node::filter::text::pattern;

/// A name, and what may be its value.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?xi)
        (?:\bbearer\s+
        |\b(?:[a-z0-9]+[_-])*
            (?:api[_-]?key|secret[_-]?(?:access[_-]?)?key|access[_-]?token|auth[_-]?token|client[_-]?secret|token|secret
            |passwd|password|pwd)
            ["']?\s{0,2}[:=]\s{0,2}["']?
        )
        ([a-z0-9+/=_.~!@\#%^&*-]{8,})"#,
    )
});
/// Who knows such an address may write to the channel.
static WEBHOOK: LazyLock<Regex> = LazyLock::new(|| pattern(r"https://hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"));

/// Words have fewer bits a character, and so have `xxxxxxx1` and `12345678`.
const MIN_ENTROPY: f64 = 2.75;

/// Returns the values that are no words and no stand-ins.
pub(super) fn find(text: &str) -> Vec<Finding> {
    let named = NAMED.captures_iter(text).filter_map(|found| found.get(1)).filter(|value| is_secret(value.as_str()));
    let webhooks = WEBHOOK.captures_iter(text).filter_map(|found| found.get(1));
    named.chain(webhooks).map(|value| Finding { class: Class::Token, range: value.range() }).collect()
}

fn is_secret(value: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| value.as_bytes().iter().any(kind);
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !value.starts_with(['/', '.', '-'])
        && !value.contains("://")
        && !is_name(value)
        && entropy(value.trim_end_matches(['.', '='])) >= MIN_ENTROPY
}

/// Returns whether it is what Kubernetes calls its objects: words in small letters between dashes, with few digits.
fn is_name(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let is_plain =
        value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    is_plain && value.contains('-') && digits * 4 < value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let mut hidden = text.to_owned();
        for Finding { range, .. } in find(text).into_iter().rev() {
            hidden.replace_range(range, "…");
        }
        hidden
    }

    #[test]
    fn what_stands_behind_a_secrets_name_is_found() {
        for (text, expected) in [
            ("password: hunter2-Zx9", "password: …"),
            ("DB_PASSWORD=\"hunter2Zx9\"", "DB_PASSWORD=\"…\""),
            ("aws_secret_access_key = wJalr/XUtnF/K7MDENG/bPx", "aws_secret_access_key = …"),
            ("-H 'Authorization: Bearer 0f3a9c7e51d2'", "-H 'Authorization: Bearer …'"),
            ("{\"api_key\": \"9f8e7d6c5b4a\"}", "{\"api_key\": \"…\"}"),
            ("https://hooks.slack.com/services/T012AB3CD/B045EF6GH/k9", "https://hooks.slack.com/services/…"),
        ] {
            assert_eq!(hidden(text), expected);
        }
    }

    #[test]
    fn names_words_and_stand_ins_are_left_alone() {
        for text in [
            "password: <your-password-1>",
            "token: $TOKEN_1",
            "secret: linkerd-identity-issuer",
            "secret: linkerd-proxy-injector-k8s-tls",
            "secretName: linkerd-identity-issuer2",
            "automountServiceAccountToken: false",
            "pwd=/home/ann/linkerd2",
            "a token: it is written once",
            "password=xxxxxxx1",
            "Bearer authentication",
        ] {
            assert_eq!(hidden(text), text);
        }
    }
}
