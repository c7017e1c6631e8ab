//! Strings that only chance makes: keys without a known form.
//!
//! Digests, UUIDs, names in camel case, paths, certificates and public keys are no secrets, and are left alone.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::find::{Class, Finding};
use crate::node::filter::text::pattern;

static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9+/_=-]{20,}"));
/// PEM blocks that may be known to all; those of private keys are found as such.
static PUBLIC_BLOCK: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\z)"));

/// The shortest run of letters and digits that is judged.
const SHORTEST: usize = 20;

/// What stands before a digest: Go's and npm's sums, images, fingerprints.
const DIGESTS: &[&str] = &["h1:", "sha1-", "sha256-", "sha384-", "sha512-", "sha256:", "sha512:", "md5:"];
/// How public things begin in base64: certificates, SSH keys, DER, JSON.
const PUBLIC: &[&str] = &["LS0tLS1CRUdJTiBD", "LS0tLS1CRUdJTiBQVUJM", "AAAA", "MII", "eyJ"];

/// Returns the strings of at least `min_entropy` bits a character, by their own distribution of characters.
pub(super) fn find(text: &str, min_entropy: f64) -> Vec<Finding> {
    let mut blocks: Option<Vec<std::ops::Range<usize>>> = None;
    let mut found = Vec::new();
    for candidate in CANDIDATE.find_iter(text) {
        if !is_random(candidate.as_str(), min_entropy) || !is_bare(text, candidate.start()) {
            continue;
        }
        let blocks = blocks.get_or_insert_with(|| PUBLIC_BLOCK.find_iter(text).map(|block| block.range()).collect());
        if !blocks.iter().any(|block| block.contains(&candidate.start())) {
            found.push(Finding { class: Class::Entropy, range: candidate.range() });
        }
    }
    found
}

/// Returns whether a string looks drawn by lot: one run of letters and digits that mixes both cases and digits throughout.
fn is_random(candidate: &str, min_entropy: f64) -> bool {
    if PUBLIC.iter().any(|start| candidate.starts_with(start)) {
        return false;
    }
    let runs = candidate.split(|character: char| !character.is_ascii_alphanumeric());
    runs.filter(|run| run.len() >= SHORTEST).any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().filter(kind).count();
        let digits = run.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
        let groups_of_digits = digits.filter(|group| group[0].is_ascii_digit()).count();
        let switches = switches(run);
        let is_mixed = match groups_of_digits {
            0 => false,
            1 => switches * 2 >= run.len(),
            _ => switches * 5 >= run.len() * 2,
        };
        has(u8::is_ascii_lowercase) > 1 && has(u8::is_ascii_uppercase) > 1 && is_mixed && entropy(run) >= min_entropy
    })
}

/// Returns how often the kind of character changes: upper case, lower case, digit. Camel case changes about once in three.
fn switches(run: &str) -> usize {
    let kind = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    run.as_bytes().windows(2).filter(|pair| kind(&pair[0]) != kind(&pair[1])).count()
}

/// Returns bits a character.
pub(super) fn entropy(run: &str) -> f64 {
    let mut counts: BTreeMap<u8, usize> = BTreeMap::new();
    for byte in run.bytes() {
        *counts.entry(byte).or_default() += 1;
    }
    let total = run.len() as f64;
    -counts.values().map(|count| (*count as f64 / total) * (*count as f64 / total).log2()).sum::<f64>()
}

/// Returns whether the string at `start` stands by itself: in no URL and behind no digest's name.
fn is_bare(text: &str, start: usize) -> bool {
    let word = text[..start].rfind(char::is_whitespace).map_or(0, |space| space + 1);
    // White space may be longer than one byte.
    let before = text.get(word..start).unwrap_or_default();
    !before.contains("://") && !before.contains("www.") && !DIGESTS.iter().any(|digest| before.ends_with(digest))
}
