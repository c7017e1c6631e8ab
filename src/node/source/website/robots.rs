//! robots.txt (RFC 9309): what a site asks programs to leave alone.

use std::time::Duration;

/// Our name in a robots.txt.
const NAME: &str = "tunesmith";

/// As much of a file is read; RFC 9309 asks for that at least.
const MOST: usize = 500 << 10;

/// The longest pause that a site may ask for.
const LONGEST_DELAY: Duration = Duration::from_mins(1);

/// The rules of one site for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Robots {
    /// Patterns in normal form, and whether they allow.
    rules: Vec<(String, bool)>,
    /// The pause between requests that is asked for.
    pub(super) delay: Option<Duration>,
}

/// What a line says.
enum Line<'a> {
    Agent(&'a str),
    Rule(&'a str, bool),
    Delay(&'a str),
}

impl Robots {
    /// Reads the rules for us: those under our name, or else those for everybody.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]);
        let text = text.trim_start_matches('\u{feff}');
        let (mut ours, mut everybodys) = (None, Self::default());
        let mut is_ours = false;
        let mut is_everybodys = false;
        let mut in_agents = false;
        for line in text.split(['\n', '\r']).filter_map(line) {
            if let Line::Agent(name) = line {
                if !in_agents {
                    (is_ours, is_everybodys) = (false, false);
                }
                in_agents = true;
                is_ours |= is_our_name(name);
                is_everybodys |= name == "*";
                if is_ours {
                    ours.get_or_insert_with(Self::default);
                }
                continue;
            }
            in_agents = false;
            if is_ours && let Some(ours) = &mut ours {
                ours.add(&line);
            }
            if is_everybodys {
                everybodys.add(&line);
            }
        }
        ours.unwrap_or(everybodys)
    }

    fn add(&mut self, line: &Line<'_>) {
        match line {
            // An empty `Disallow` forbids nothing.
            Line::Rule("", _) | Line::Agent(_) => {}
            Line::Rule(pattern, allows) => self.rules.push((normal(pattern), *allows)),
            Line::Delay(seconds) => {
                let seconds: Option<f64> = seconds.parse().ok().filter(|seconds: &f64| *seconds >= 0.0);
                let delay = seconds.map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST_DELAY.as_secs_f64())));
                self.delay = self.delay.max(delay);
            }
        }
    }

    /// Returns whether an address may be asked for; `path` is path and query. The longest pattern counts, and where
    /// two are as long, the one that allows.
    pub(super) fn allows(&self, path: &str) -> bool {
        let path = normal(path);
        let matching = self.rules.iter().filter(|(pattern, _)| matches(pattern, &path));
        let strongest = matching.max_by_key(|(pattern, allows)| (pattern.len(), *allows));
        strongest.is_none_or(|(_, allows)| *allows)
    }
}

fn line(line: &str) -> Option<Line<'_>> {
    let line = line.split('#').next().unwrap_or_default();
    let (key, value) = line.split_once(':')?;
    let value = value.trim();
    match key.trim().to_ascii_lowercase().as_str() {
        "user-agent" => Some(Line::Agent(value)),
        "allow" => Some(Line::Rule(value, true)),
        "disallow" => Some(Line::Rule(value, false)),
        "crawl-delay" => Some(Line::Delay(value)),
        _ => None,
    }
}

/// Returns whether a product token is ours, whatever stands behind it.
fn is_our_name(name: &str) -> bool {
    let end = name.find(|character: char| !(character.is_ascii_alphabetic() || matches!(character, '-' | '_')));
    name[..end.unwrap_or(name.len())].eq_ignore_ascii_case(NAME)
}

/// Returns a path in which each character is written in one way: what may stand bare does, all else in `%XX`.
fn normal(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let decoded = path.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let decoded = decoded.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = decoded.unwrap_or(*byte);
        let is_bare = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        // `*` and `$` mean something when they stand bare, and `%2F` is no `/`.
        if is_bare || (decoded.is_none() && byte.is_ascii_graphic()) {
            normal.push(char::from(byte));
        } else {
            normal.push_str(&format!("%{byte:02X}"));
        }
        at += if decoded.is_some() { 3 } else { 1 };
    }
    normal
}

/// Returns whether a pattern fits the beginning of a path, or, with `$` at its end, the whole: in steps that grow with
/// the product of their lengths at most.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, is_whole) = match pattern.strip_suffix('$') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return !is_whole || rest.is_empty() };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    if is_whole { rest.ends_with(last) } else { rest.contains(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &str, allowed: &[&str], forbidden: &[&str]) {
        let robots = Robots::parse(format!("User-agent: *\n{rules}").as_bytes());
        for path in allowed {
            assert!(robots.allows(path), "{path} {robots:?}");
        }
        for path in forbidden {
            assert!(!robots.allows(path), "{path} {robots:?}");
        }
    }

    #[test]
    fn the_longest_rule_counts() {
        check("Disallow: /", &[], &["/", "/a"]);
        check("Disallow:", &["/", "/a"], &[]);
        check("", &["/"], &[]);
        check("Disallow: /a\nAllow: /a/b", &["/", "/b", "/a/b", "/a/bc"], &["/a", "/abc", "/a/c"]);
        check("Allow: /x\nDisallow: /x", &["/x"], &[]);
        check("disallow : /a # why\r\nDISALLOW: /b\rnonsense", &["/c"], &["/a", "/b"]);
    }

    #[test]
    fn patterns_have_stars_and_ends() {
        check("Disallow: /*.pdf$", &["/a.pdf?x", "/pdf"], &["/a.pdf", "/b/c.pdf"]);
        check("Disallow: /a*b*c", &["/ab", "/acb"], &["/abc", "/axxbxxc/d", "/abbc"]);
        check("Disallow: /fish$", &["/fish/", "/fisher"], &["/fish"]);
        check("Disallow: *?", &["/a"], &["/a?b"]);
        check("Disallow: /%7euser\nDisallow: /ö\nDisallow: /a%2fb", &["/a/b"], &["/~user", "/%C3%B6", "/a%2Fb"]);
        let robots = Robots::parse(format!("User-agent: *\nDisallow: /{}x", "*a".repeat(2_000)).as_bytes());
        assert!(robots.allows(&format!("/{}", "a".repeat(4_000))));
    }

    #[test]
    fn our_own_group_stands_before_everybodys() {
        let text = "User-agent: *\nDisallow: /\nCrawl-delay: 9\n\nUser-agent: other\nUser-Agent: TuneSmith/1.0\nDisallow: \
            /private\nCrawl-delay: 0.5\n\nUser-agent: tunesmith\nDisallow: /more\nCrawl-delay: 1e9\nCrawl-delay: x";
        let robots = Robots::parse(text.as_bytes());
        assert!(robots.allows("/a") && !robots.allows("/private") && !robots.allows("/more"));
        assert_eq!(robots.delay, Some(LONGEST_DELAY));
        assert!(!Robots::parse(b"User-agent: tunesmithy\nUser-agent: *\nDisallow: /").allows("/a"));
        assert!(Robots::parse(b"User-agent: tunesmith\nAllow: /\n\nUser-agent: *\nDisallow: /").allows("/a"));
        assert_eq!(Robots::parse(b"<html>\xff</html>"), Robots::default());
    }
}
