//! Which repository, and at which of its commits.

use std::fmt;

/// `OWNER/NAME` or `OWNER/NAME@REF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    /// `OWNER/NAME`.
    pub(super) name: String,
    /// A branch, a tag or a commit; nothing for the default branch.
    pub(super) reference: Option<String>,
}

impl Repository {
    /// Reads a repository, or says what is wrong with its name.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, reference) = match text.split_once('@') {
            Some((name, reference)) => (name, Some(reference)),
            None => (text, None),
        };
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(in_name);
        if !name.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name)) {
            return Err("is not the name of a repository");
        }
        if reference.is_some_and(|reference| !is_reference(reference)) {
            return Err("has no name of a branch, a tag or a commit after its `@`");
        }
        Ok(Self { name: name.to_owned(), reference: reference.map(str::to_owned) })
    }

    /// Returns what is asked for: the reference, or `HEAD` for the default branch.
    pub(super) fn revision(&self) -> &str {
        self.reference.as_deref().unwrap_or("HEAD")
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Some(reference) => write!(formatter, "{}@{reference}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// The characters that stand in a URL as they are; Git allows some more, which nobody uses.
fn is_reference(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("..");
    !text.starts_with('-')
        && text.split('/').all(is_part)
        && text.bytes().all(|byte| in_name(byte) || b"/+@=,".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_may_name_a_branch_a_tag_or_a_commit() {
        let read = |text: &str| Repository::parse(text).map(|it| (it.name.clone(), it.reference));
        assert_eq!(read("o/r"), Ok(("o/r".into(), None)));
        assert_eq!(read("o/r.js@release/v2.1"), Ok(("o/r.js".into(), Some("release/v2.1".into()))));
    }

    #[test]
    fn what_names_no_repository_or_no_reference_is_refused() {
        for text in ["", "o", "o/", "/r", "o/r/x", "o/..", "https://github.com/o/r", "o/r r"] {
            assert_eq!(Repository::parse(text), Err("is not the name of a repository"), "{text}");
        }
        for text in ["o/r@", "o/r@a..b", "o/r@-x", "o/r@/x", "o/r@x/", "o/r@a b", "o/r@a?b", "o/r@../../user"] {
            assert!(Repository::parse(text).unwrap_err().starts_with("has no name of a branch"), "{text}");
        }
    }
}
