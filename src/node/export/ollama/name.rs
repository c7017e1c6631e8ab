//! Names of models as Ollama has them: `[HOST/][NAMESPACE/]NAME[:TAG]`.

use std::fmt;
use std::str::FromStr;

/// A name with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelName {
    /// All before the tag.
    pub(super) model: String,
    pub(super) tag: String,
}

/// Characters of one part: Ollama's own bound.
const LONGEST: usize = 80;

impl FromStr for ModelName {
    /// What is wrong.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (model, tag) = match text.rsplit_once(':') {
            Some((model, tag)) if !tag.contains('/') => (model, tag),
            _ => (text, "latest"),
        };
        let is_part = |part: &str| {
            part.len() <= LONGEST
                && part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let parts: Vec<&str> = model.split('/').collect();
        // A host may have a port.
        let is_host = |part: &str| part.split(':').all(is_part) && part.split(':').count() <= 2;
        let is_model = match parts.as_slice() {
            [name] => is_part(name),
            [namespace, name] => is_part(namespace) && is_part(name),
            [host, namespace, name] => is_host(host) && is_part(namespace) && is_part(name),
            _ => false,
        };
        if !is_model {
            return Err("its parts have letters, digits, `-`, `_` and `.`, and begin with a letter or a digit");
        }
        if !is_part(tag) {
            return Err("its tag has letters, digits, `-`, `_` and `.`, and begins with a letter or a digit");
        }
        Ok(Self { model: model.to_owned(), tag: tag.to_owned() })
    }
}

impl ModelName {
    /// Returns the name with more at the end of its tag, which is cut where the whole would be too long.
    pub(super) fn with(&self, more: &str) -> String {
        let room = LONGEST.saturating_sub(more.len() + 1).min(self.tag.len());
        format!("{}:{}-{more}", self.model, &self.tag[..room])
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.model, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_ollama_reads_them() {
        let read = |text: &str| text.parse::<ModelName>().map(|name| name.to_string());
        assert_eq!(read("expert").as_deref(), Ok("expert:latest"));
        assert_eq!(read("linkerd-llama3.1:8b").as_deref(), Ok("linkerd-llama3.1:8b"));
        assert_eq!(
            read("registry.example.org:5000/team/expert").as_deref(),
            Ok("registry.example.org:5000/team/expert:latest")
        );
        for bad in ["", ":8b", "a:", "a b", "a/b/c/d", "-a", "a:b c", "a\n", &"x".repeat(81), "é"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let name: ModelName = format!("a:{}", "t".repeat(80)).parse().unwrap();
        assert!(name.with("0123456789ab").parse::<ModelName>().is_ok());
    }
}
