//! Secrets and personal data in a text.
//!
//! What merely looks like them is no finding: technical text is full of digests, versions, images and example addresses.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{entropy, named};
use crate::node::filter::text::pattern;
use crate::secret::{self, Shape};

/// What something found is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Token,
    PrivateKey,
    Login,
    Email,
    IpAddress,
    PhoneNumber,
    Entropy,
}

impl Class {
    /// Returns the words for the report.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::PrivateKey => "private key",
            Self::Login => "login in a URL",
            Self::Email => "e-mail address",
            Self::IpAddress => "IP address",
            Self::PhoneNumber => "phone number",
            Self::Entropy => "high-entropy string",
        }
    }

    /// Returns what takes its place.
    pub(super) const fn placeholder(self) -> &'static str {
        match self {
            Self::Token => "<TOKEN>",
            Self::PrivateKey => "<PRIVATE-KEY>",
            Self::Login => "<LOGIN>",
            Self::Email => "<EMAIL>",
            Self::IpAddress => "<IP-ADDRESS>",
            Self::PhoneNumber => "<PHONE-NUMBER>",
            Self::Entropy => "<SECRET>",
        }
    }
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) class: Class,
    pub(super) range: Range<usize>,
}

/// Returns what is in a text, in order and without overlaps; of two that overlap the surer class counts.
pub(super) fn find(text: &str, min_entropy: f64) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let secrets = secret::find(text).into_iter().map(|found| Finding { class: class(found.shape), range: found.range });
    let (examples, secrets): (Vec<Finding>, Vec<Finding>) =
        secrets.partition(|found| found.class == Class::Login && is_example_login(&text[found.range.clone()]));
    let others =
        [named::find(text), emails(text), addresses(text), phone_numbers(text), entropy::find(text, min_entropy)];
    for finding in secrets.into_iter().chain(others.into_iter().flatten()) {
        let overlaps = |other: &Finding| other.range.start < finding.range.end && finding.range.start < other.range.end;
        if !found.iter().chain(&examples).any(overlaps) {
            found.push(finding);
        }
    }
    found.sort_by_key(|finding| finding.range.start);
    found
}

const fn class(shape: Shape) -> Class {
    match shape {
        Shape::Token | Shape::WebToken => Class::Token,
        Shape::PrivateKey => Class::PrivateKey,
        Shape::Login => Class::Login,
    }
}

/// Returns whether a login only shows where one would stand: `user:password`, `<user>:<password>`, `$USER:$PASSWORD`.
fn is_example_login(login: &str) -> bool {
    let is_stand_in = |word: &str| {
        let words = ["user", "username", "login", "name", "pass", "passwd", "password", "pwd", "token", "xxx", "***"];
        word.starts_with(['<', '$', '{', '[']) || words.iter().any(|one| word.eq_ignore_ascii_case(one))
    };
    login.split_once(':').is_some_and(|(_, password)| is_stand_in(password))
}

static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)[a-z0-9_][a-z0-9._%+-]*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}\b"));

/// Domains that nobody has: RFC 2606, RFC 6761, and what clusters and desktops call their own.
const NOBODYS_DOMAINS: &[&str] = &[
    "example.com",
    "example.net",
    "example.org",
    "example",
    "test",
    "invalid",
    "localhost",
    "local",
    "internal",
    "cluster",
    "svc",
];

/// What ends a file or a unit rather than a domain: `logo@2x.png`, `getty@tty1.service`.
const NO_TOP_LEVEL: &[&str] = &[
    "conf", "css", "gif", "gz", "html", "jpeg", "jpg", "js", "json", "lock", "log", "md", "mount", "png", "rb",
    "service", "sh", "socket", "svg", "target", "tgz", "timer", "toml", "ts", "txt", "webp", "yaml", "yml", "zip",
];

fn emails(text: &str) -> Vec<Finding> {
    let is_one = |found: &regex::Match<'_>| {
        let (name, domain) = found.as_str().split_once('@').unwrap_or_default();
        let domain = domain.to_ascii_lowercase();
        let top = domain.rsplit('.').next().unwrap_or_default();
        let is_nobodys = NOBODYS_DOMAINS
            .iter()
            .any(|reserved| domain.strip_suffix(reserved).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
        // `git@host` is how repositories are named.
        name != "git" && !is_nobodys && !NO_TOP_LEVEL.contains(&top)
    };
    if !text.contains('@') {
        return Vec::new();
    }
    let mut found = findings(Class::Email, EMAIL.find_iter(text).filter(is_one));
    for Finding { range, .. } in &mut found {
        // `<ann@corp.io>` has brackets of its own, and so has the placeholder.
        if text[..range.start].ends_with('<') && text[range.end..].starts_with('>') {
            *range = range.start - 1..range.end + 1;
        }
    }
    found
}

static IPV4: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"));
static IPV6: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b[23][0-9a-f]{3}:[0-9a-f:]{2,35}[0-9a-f]"));

/// Resolvers that everybody uses, and what stands for any address in examples.
const EVERYBODYS: &[[u8; 4]] = &[
    [8, 8, 8, 8],
    [8, 8, 4, 4],
    [1, 1, 1, 1],
    [1, 0, 0, 1],
    [9, 9, 9, 9],
    [208, 67, 222, 222],
    [208, 67, 220, 220],
    [1, 2, 3, 4],
    [4, 3, 2, 1],
    [2, 3, 4, 5],
    [5, 6, 7, 8],
];

fn addresses(text: &str) -> Vec<Finding> {
    let fourth = IPV4.find_iter(text).filter(|found| {
        let address = found.as_str().parse::<Ipv4Addr>();
        address.is_ok_and(is_public) && !is_part_of_version(text, found.range())
    });
    let sixth = IPV6
        .find_iter(text)
        .filter(|found| found.as_str().parse::<Ipv6Addr>().is_ok_and(|address| !is_documentation(address)));
    findings(Class::IpAddress, fourth.chain(sixth))
}

/// Returns whether the address is somebody's: in none of the ranges that IANA reserved for a purpose.
fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_benchmark = a == 198 && (18..20).contains(&b);
    let is_protocol = [a, b, c] == [192, 0, 0];
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || matches!(a, 0 | 240..)
        || is_shared
        || is_benchmark
        || is_protocol
        || EVERYBODYS.contains(&address.octets()))
}

/// Returns whether the address is in `2001:db8::/32` or `3fff::/20`.
const fn is_documentation(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    (a == 0x2001 && b == 0xdb8) || (a == 0x3fff && b < 0x1000)
}

/// What stands before a version.
const VERSION_WORDS: &[&str] = &["version", "versions", "release", "releases", "tag", "stable", "edge"];

/// Returns whether four numbers are a version: `v1.2.3.4`, `1.2.3.4-rc1`, `Chrome/1.2.3.4`, `1.2.3.4.5`, `version 1.2.3.4`.
fn is_part_of_version(text: &str, range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let mut last = before.chars().rev();
    let touches = match (last.next(), last.next()) {
        (Some('/'), Some(letter)) => letter.is_alphanumeric(),
        (Some(character), _) => character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | '+'),
        (None, _) => false,
    };
    let mut next = text[range.end..].chars();
    let goes_on = next.next().is_some_and(|character| {
        character.is_alphanumeric()
            || (matches!(character, '.' | '-' | '_' | '+') && next.next().is_some_and(char::is_alphanumeric))
    });
    let word = before.trim_end_matches([' ', ':', '=', '"', '`', '*']).rsplit(|c: char| !c.is_alphanumeric()).next();
    touches || goes_on || word.is_some_and(|word| VERSION_WORDS.iter().any(|one| word.eq_ignore_ascii_case(one)))
}

static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    let international = r"\+[1-9][0-9]{0,2}[ .-]\(?[0-9]{1,4}\)?(?:[ .-]?[0-9]{2,4}){2,4}|\+[1-9][0-9]{9,14}";
    let american = r"\([2-9][0-9]{2}\) ?[0-9]{3}-[0-9]{4}|[2-9][0-9]{2}-[0-9]{3}-[0-9]{4}";
    pattern(&format!(r"(?:{international}|{american})\b"))
});

fn phone_numbers(text: &str) -> Vec<Finding> {
    let is_one = |found: &regex::Match<'_>| {
        let digits = found.as_str().bytes().filter(u8::is_ascii_digit).count();
        let before = text[..found.start()].chars().next_back();
        let next = text[found.end()..].chars().next();
        let is_joined = |character: char| character.is_alphanumeric() || "+-._/:=".contains(character);
        let is_address = found.as_str().trim_start_matches('+').parse::<Ipv4Addr>().is_ok();
        (8..=15).contains(&digits)
            && !before.is_some_and(is_joined)
            && !next.is_some_and(|next| next == '-' || next == ':')
            && !is_address
    };
    findings(Class::PhoneNumber, PHONE.find_iter(text).filter(is_one))
}

fn findings<'t>(class: Class, found: impl Iterator<Item = regex::Match<'t>>) -> Vec<Finding> {
    found.map(|found| Finding { class, range: found.range() }).collect()
}
