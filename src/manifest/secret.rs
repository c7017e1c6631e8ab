//! Secrets stand in the environment, never in the manifest.
//!
//! A literal secret is a problem, and its characters are masked in the texts, so that no report echoes it.

use miette::SourceSpan;

use super::error::ManifestError;
use super::field::Sink;
use super::source::Sources;
use super::value::{Data, Table, Value};
use crate::secret::{environment_name, find, is_in, is_reference};

/// What takes a literal secret's place in the settings, so that later messages cannot hold it.
const WITHHELD: &str = "env:WITHHELD";
/// The same for a URL with a password.
const WITHHELD_URL: &str = "https://withheld.invalid";

/// Returns whether a setting of this name holds a secret.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    ["token", "password", "secret", "key"]
        .iter()
        .any(|word| key.strip_suffix(word).is_some_and(|rest| rest.ends_with('-')))
        || ["token", "password", "secret"].contains(&key.as_str())
}

/// Finds literal secrets at any depth, reports them and takes them out of the table and the texts.
pub(super) fn withhold(table: &mut Table, sources: &mut Sources, problems: &mut Sink) {
    for (key, value) in table.iter_mut() {
        withhold_value(key, value, sources, problems);
    }
}

fn withhold_value(key: &str, value: &mut Value, sources: &mut Sources, problems: &mut Sink) {
    let at: SourceSpan = value.span;
    match &mut value.data {
        Data::Table(inner) => withhold(inner, sources, problems),
        Data::Array(items) => {
            for item in items {
                withhold_value(key, item, sources, problems);
            }
        }
        Data::String(text) if (is_secret(key) && environment_name(text).is_none()) || is_in(text) => {
            sources.mask(at);
            let in_url = text.contains("://");
            (if in_url { WITHHELD_URL } else { WITHHELD }).clone_into(text);
            let setting = key.escape_debug().to_string();
            let named = if is_secret(key) {
                format!("write `{setting} = \"env:NAME\"`")
            } else {
                "write `token = \"env:NAME\"`, or for a command `env = { TOKEN = \"env:NAME\" }`".to_owned()
            };
            problems.push(ManifestError::LiteralSecret { setting, named, at });
        }
        _ => {}
    }
}

/// Masks what may be a secret in a text that is no TOML: everything after `token =` and its like to the end of the line,
/// and what looks like a token.
pub(super) fn mask_text(text: &str, start: usize, sources: &mut Sources) {
    for token in find(text) {
        sources.mask((start + token.range.start, token.range.len()).into());
    }
    let mut offset = start;
    for line in text.split_inclusive('\n') {
        for (index, _) in line.match_indices('=') {
            let key = line[..index].trim_end().trim_end_matches(['"', '\'']);
            let from = key.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).map_or(0, |at| at + 1);
            let value = line[index + 1..].trim_end();
            let bare = value.trim_start().trim_start_matches(['"', '\'']);
            if is_secret(key.get(from..).unwrap_or_default()) && !is_reference(bare) {
                sources.mask((offset + index + 1, value.len()).into());
                break;
            }
        }
        offset += line.len();
    }
}
