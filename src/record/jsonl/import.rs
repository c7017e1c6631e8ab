//! Records from the JSON lines that people already have: `raw_issues.jsonl`, `raw_pull_requests.jsonl`, `raw_docs.jsonl`,
//! and rows in the forms of `ShareGPT`, `OpenAI` and Alpaca.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::text::Text;
use super::super::types::{Correction, Document, Record};
use super::fields::FieldMap;
use super::row::{CORRECTION, RawCorrection, RawRow};
use super::thread::RawThread;
use crate::suggest;

/// What the lines of a file hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Conversations: `{"conversations":[{"from","value"}],"source"}`, `{"messages":[{"role","content"}]}` or
    /// `{"instruction","input","output"}`.
    Rows,
    /// Issues: `{"repo","number","title","body","author","comments":[{"author","body","created_at"}],…}`.
    Issues,
    /// Pull requests: as issues, with `merged_at` and `review_threads`.
    Pulls,
    /// Documents: `{"repo","path","title","content","url"}`.
    Documents,
}

impl Form {
    /// Returns what a line should be, for messages.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Rows => {
                "a row: {\"conversations\":[{\"from\",\"value\"}]}, {\"messages\":[{\"role\",\"content\"}]} or \
                 {\"instruction\",\"output\"}"
            }
            Self::Issues => "an issue: {\"repo\",\"number\",\"title\",\"body\",\"author\",\"comments\":[…]}",
            Self::Pulls => "a pull request: {\"repo\",\"number\",\"title\",\"body\",\"author\",…}",
            Self::Documents => "a document: {\"repo\",\"path\",\"title\",\"content\"}",
        }
    }
}

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no JSON, or a field is missing or of another type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A field is missing that another may stand for.
    #[error("missing field {0}")]
    Missing(&'static str),
    /// Somebody speaks who is neither user, assistant nor system.
    #[error("unknown speaker `{0}`, expected `human`, `gpt`, `user`, `assistant` or `system`")]
    Role(String),
    /// A part of a message that is no text, such as an image.
    #[error("a message has a part of type `{0}`, and only text can be learnt")]
    Part(String),
    /// A field is missing that the settings name.
    #[error("missing field `{name}`, which `map` names for `{field}`")]
    Unmapped {
        /// What the field should be.
        field: &'static str,
        /// Its name in the line.
        name: String,
    },
    /// A field has another type than what it is mapped to.
    #[error("field `{name}`, which `map` names for `{field}`, is {found}")]
    WrongType {
        /// What the field should be.
        field: &'static str,
        /// Its name in the line.
        name: String,
        /// What it is.
        found: &'static str,
    },
    /// A field that nobody reads and that is nearly called like one that is read.
    #[error("unknown field `{field}`, did you mean `{meant}`?")]
    Misspelt {
        /// Its name.
        field: String,
        /// The field that there is.
        meant: &'static str,
    },
    /// Nothing to learn from.
    #[error("the conversation has no answer")]
    NoAnswer,
}

impl ImportError {
    /// Returns whether the line ends in the middle of a value.
    pub fn is_torn(&self) -> bool {
        matches!(self, Self::Json(error) if error.is_eof())
    }
}

/// A record that was read, and what was left out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported<S = String> {
    /// The record.
    pub record: Record<S>,
    /// Turns that only call tools or tell what they gave: nobody is trained to call what is not there.
    pub tool_turns: u64,
}

/// Reads one line. `repo` stands in for a record's own repository when that has none.
///
/// # Errors
/// [`ImportError`].
pub fn import(form: Form, line: &[u8], repo: Option<&str>) -> Result<Record, ImportError> {
    import_mapped(form, line, repo, None).map(|imported| imported.record)
}

/// As [`import`], from lines whose fields have other names, and with texts that may stay in the line.
///
/// # Errors
/// [`ImportError`].
pub fn import_mapped<'l, S: From<Text<'l>>>(
    form: Form,
    line: &'l [u8],
    repo: Option<&'l str>,
    map: Option<&FieldMap>,
) -> Result<Imported<S>, ImportError> {
    let record = match form {
        Form::Rows => {
            let row: RawRow = match map {
                Some(map) => map.row(read(line)?)?,
                None => read(line)?,
            };
            let (row, tool_turns) = row.conversation("row")?;
            return Ok(Imported { record: Record::Row(row), tool_turns });
        }
        Form::Issues => Record::Issue(read::<RawThread<'_>>(line)?.thread(repo, "open")?),
        Form::Pulls => Record::Pull(read::<RawThread<'_>>(line)?.thread(repo, "closed")?),
        Form::Documents => {
            let document: RawDocument = match map {
                Some(map) => serde_json::from_value(map.document(read(line)?)?)?,
                None => read(line)?,
            };
            Record::Document(document.document(repo)?)
        }
    };
    Ok(Imported { record, tool_turns: 0 })
}

/// Reads one line of corrections: a row, optionally with `id`, `supersedes`, `weight` and `note`. People write it by hand, so
/// a misspelt field is an error; other fields are theirs.
///
/// # Errors
/// [`ImportError`].
pub fn import_correction(line: &[u8]) -> Result<Correction, ImportError> {
    let fields: Map<String, Value> = read(line)?;
    for (field, _) in fields.into_iter().filter(|(field, _)| !CORRECTION.contains(&field.as_str())) {
        if let Some(meant) = suggest::nearest(&field, CORRECTION).first() {
            return Err(ImportError::Misspelt { field, meant });
        }
    }
    read::<RawCorrection>(line)?.correction()
}

/// Reads a line's JSON. Its encoding is looked at once: by the string it would take a tenth longer.
fn read<'de, T: Deserialize<'de>>(line: &'de [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(line) {
        Ok(line) => serde_json::from_str(line),
        // The error tells where, unless it is in a field that is not read.
        Err(_) => serde_json::from_slice(line),
    }
}

#[derive(Deserialize)]
struct RawDocument {
    repo: Option<String>,
    path: Option<String>,
    title: Option<String>,
    content: String,
    url: Option<String>,
}

impl RawDocument {
    fn document(self, repo: Option<&str>) -> Result<Document, ImportError> {
        let repo = self.repo.or_else(|| repo.map(str::to_owned)).unwrap_or_default();
        let path = self.path.filter(|path| !path.is_empty()).or_else(|| self.url.clone());
        let path = path.ok_or(ImportError::Missing("`path` or `url`"))?;
        let id = if repo.is_empty() { path.clone() } else { format!("{repo}/{}", path.trim_start_matches('/')) };
        Ok(Document { id, repo, path, title: self.title.unwrap_or_default(), content: self.content, url: self.url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_come_as_text_as_objects_and_not_at_all() {
        let text = r#"{"number":1,"title":"t","body":null,"user":{"login":"ann","type":"User"},"author_association":"MEMBER",
            "labels":["a",{"name":"b"}],"reactions":{"total_count":3},"comments":[
            {"author":"bob","body":"later","created_at":"2020-01-02T00:00:00Z"},
            {"author":null,"body":"first","created_at":"2020-01-01T00:00:00Z"},
            {"user":{"login":"ci","type":"Bot"},"body":"last","created_at":"2020-01-03T00:00:00Z"}]}"#;
        let Record::Issue(issue) = import(Form::Issues, text.as_bytes(), Some("o/r")).unwrap() else { panic!() };
        assert_eq!((issue.id.as_str(), issue.body.as_str(), issue.reactions), ("o/r#1", "", 3));
        assert_eq!(issue.labels, ["a", "b"]);
        assert_eq!(issue.author.association.as_deref(), Some("MEMBER"));
        let comments: Vec<_> =
            issue.comments.iter().map(|c| (c.author.login.as_deref(), c.author.bot, c.body.as_str())).collect();
        assert_eq!(comments, [(None, false, "first"), (Some("bob"), false, "later"), (Some("ci"), true, "last")]);
    }

    #[test]
    fn a_line_that_is_no_record_says_why() {
        let error = |form, text: &str| import(form, text.as_bytes(), None).unwrap_err();
        assert!(error(Form::Rows, r#"{"conversations":[{"from":"hu"#).is_torn());
        assert_eq!(error(Form::Rows, "{}").to_string(), "missing field `conversations`, `messages` or `instruction`");
        assert_eq!(error(Form::Issues, r#"{"number":1}"#).to_string(), "missing field `repo`");
        assert!(
            error(Form::Rows, r#"{"messages":[{"role":"oracle","content":"x"}]}"#).to_string().contains("`oracle`")
        );
        let strange = error(Form::Issues, r#"{"repo":"o/r","number":1,"comments":[{"body":1}]}"#).to_string();
        assert!(strange.starts_with("invalid type: integer `1`, expected a string"), "{strange}");
        let strange = error(Form::Issues, r#"{"repo":"o/r","number":1,"author":[]}"#).to_string();
        assert!(strange.starts_with("invalid type: sequence, expected a name, or an object that has it"), "{strange}");
        let strange = import(Form::Issues, b"{\"repo\":\"o/r\",\"number\":1,\"title\":\"\xff\"}", None).unwrap_err();
        assert!(strange.to_string().starts_with("invalid unicode code point at line 1"), "{strange}");
        assert_eq!(
            error(Form::Rows, r#"{"messages":[{"role":"user","content":"x"}]}"#).to_string(),
            "the conversation has no answer"
        );
    }
}
