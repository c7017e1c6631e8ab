//! References: `HOST[:PORT]/NAME[:TAG]`.

use std::fmt;
use std::str::FromStr;

use crate::net::{NetError, Url};

/// The longest tag.
const LONGEST_TAG: usize = 128;
/// Registries take names up to so many characters with the host's.
const LONGEST_NAME: usize = 255;

/// A repository in a registry, and a tag in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) host: String,
    pub(super) name: String,
    pub(super) tag: String,
}

impl FromStr for Reference {
    /// What is wrong.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (host, rest) = text.split_once('/').ok_or("it names no registry before the first `/`")?;
        let is_host = host.contains(['.', ':']) || host == "localhost";
        if !is_host || text.contains("://") || host.contains('@') {
            return Err("it begins with a registry's host, such as `ghcr.io`, without `https://`");
        }
        if rest.contains('@') {
            return Err("it has a digest, which cannot be moved: name a tag");
        }
        let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        if name.len() + host.len() >= LONGEST_NAME || !name.split('/').all(is_component) {
            return Err("its name has parts of small letters and digits, parted by single `.`, `_` or `-`");
        }
        if !is_tag(tag) {
            return Err("its tag has letters, digits, `_`, `.` and `-`, and begins with none of the last two");
        }
        Ok(Self { host: host.to_owned(), name: name.to_owned(), tag: tag.to_owned() })
    }
}

/// A part of a name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(is_plain)
        && part.ends_with(is_plain)
        && part.chars().all(|c| is_plain(c) || ".-_".contains(c))
        && part
            .split(is_plain)
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.chars().all(|c| c == '-'))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= LONGEST_TAG
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

impl Reference {
    /// Returns registry and repository without a tag.
    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }

    /// Returns the tag with more at its end; it is cut where the whole would be too long.
    pub(super) fn tag_with(&self, more: &str) -> String {
        let room = LONGEST_TAG.saturating_sub(more.len() + 1).min(self.tag.len());
        format!("{}-{more}", &self.tag[..room])
    }

    /// Returns where the registry is: encrypted, but for one on this machine.
    pub(super) fn registry(&self) -> Result<Url, NetError> {
        // Docker's hub is a registry under another name than the one that people write.
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host };
        let url = Url::parse(&format!("https://{host}/"))?;
        if url.is_loopback() { Url::parse(&format!("http://{}/", self.host)) } else { Ok(url) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.host, self.name, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_registries_read_them() {
        let read = |text: &str| text.parse::<Reference>().map(|reference| reference.to_string());
        assert_eq!(read("ghcr.io/team/expert").as_deref(), Ok("ghcr.io/team/expert:latest"));
        assert_eq!(read("localhost:5000/a__b/c.d-e:8b").as_deref(), Ok("localhost:5000/a__b/c.d-e:8b"));
        for bad in [
            "expert",
            "team/expert",
            "https://ghcr.io/a",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a..b",
            "ghcr.io/a_",
            "ghcr.io/a:.b",
            "ghcr.io/a@sha256:0",
            "ghcr.io/a:",
            "me@ghcr.io/a",
            "ghcr.io/a___b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let reference: Reference = format!("ghcr.io/a:{}", "t".repeat(128)).parse().unwrap();
        assert_eq!(reference.tag_with("0123456789ab").len(), 128);
        let docker: Reference = "docker.io/team/expert".parse().unwrap();
        assert_eq!(docker.registry().unwrap().to_string(), "https://registry-1.docker.io/");
        let url = |text: &str| text.parse::<Reference>().unwrap().registry().unwrap().to_string();
        assert_eq!(
            (url("ghcr.io/a"), url("127.0.0.1:5000/a")),
            ("https://ghcr.io/".into(), "http://127.0.0.1:5000/".into())
        );
    }
}
