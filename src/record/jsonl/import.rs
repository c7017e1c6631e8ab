//! Records from the JSON lines that people already have: `raw_issues.jsonl`, `raw_pull_requests.jsonl`, `raw_docs.jsonl`,
//! and rows in the forms of `ShareGPT`, `OpenAI` and Alpaca.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::quoted;
use super::super::types::{Author, Comment, Correction, Document, Record, Thread};
use super::fields::FieldMap;
use super::row::{RawCorrection, RawRow};

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
    #[error("{0}")]
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
pub struct Imported {
    /// The record.
    pub record: Record,
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

/// As [`import`], from lines whose fields have other names.
///
/// # Errors
/// [`ImportError`].
pub fn import_mapped(
    form: Form,
    line: &[u8],
    repo: Option<&str>,
    map: Option<&FieldMap>,
) -> Result<Imported, ImportError> {
    let record = match form {
        Form::Rows => {
            let row: RawRow = match map {
                Some(map) => map.row(read(line)?)?,
                None => read(line)?,
            };
            let (row, tool_turns) = row.conversation("row")?;
            return Ok(Imported { record: Record::Row(row), tool_turns });
        }
        Form::Issues => Record::Issue(read::<RawThread>(line)?.thread(repo, "open")?),
        Form::Pulls => Record::Pull(read::<RawThread>(line)?.thread(repo, "closed")?),
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

/// Reads one line of corrections: a row, optionally with `id`, `supersedes`, `weight` and `note`.
///
/// # Errors
/// [`ImportError`].
pub fn import_correction(line: &[u8]) -> Result<Correction, ImportError> {
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
struct RawThread {
    repo: Option<String>,
    number: u64,
    title: Option<String>,
    body: Option<Text>,
    state: Option<String>,
    state_reason: Option<String>,
    #[serde(default)]
    labels: Vec<RawLabel>,
    #[serde(alias = "user")]
    author: Option<RawAuthor>,
    author_association: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    closed_at: Option<String>,
    merged_at: Option<String>,
    html_url: Option<String>,
    url: Option<String>,
    reactions: Option<Value>,
    comments: Option<RawComments>,
    review_threads: Option<Vec<Vec<RawComment>>>,
}

/// A long text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        quoted::read(json).map(Self).map_err(|error| {
            // The place in the value is none in the line, which the deserializer adds.
            let error = error.to_string();
            D::Error::custom(error.rsplit_once(" at line ").map_or(error.as_str(), |(what, _)| what))
        })
    }
}

/// A label by its name, or as GitHub has it.
#[derive(Deserialize)]
#[serde(from = "Named<RawLabelObject>")]
struct RawLabel(String);

#[derive(Deserialize)]
struct RawLabelObject {
    name: String,
}

/// An author by the login, or as GitHub has it.
#[derive(Deserialize)]
#[serde(from = "Named<RawUser>")]
struct RawAuthor {
    login: Option<String>,
    is_bot: bool,
}

#[derive(Deserialize)]
struct RawUser {
    login: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl From<Named<RawLabelObject>> for RawLabel {
    fn from(label: Named<RawLabelObject>) -> Self {
        match label {
            Named::Name(name) | Named::Object(RawLabelObject { name }) => Self(name),
        }
    }
}

impl From<Named<RawUser>> for RawAuthor {
    fn from(author: Named<RawUser>) -> Self {
        match author {
            Named::Name(login) => Self { login: Some(login), is_bot: false },
            Named::Object(RawUser { login, kind }) => Self { login, is_bot: kind.as_deref() == Some("Bot") },
        }
    }
}

/// A name, or an object that has it. Serde's own `untagged` would copy each value before it reads it.
enum Named<T> {
    Name(String),
    Object(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or an object that has it")
            }

            fn visit_str<E>(self, name: &str) -> Result<Named<T>, E> {
                Ok(Named::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Named<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object)).map(Named::Object)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// Comments; none where GitHub's own listing has their number.
struct RawComments(Vec<RawComment>);

impl<'de> Deserialize<'de> for RawComments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawComments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of comments, or their number")
            }

            fn visit_u64<E>(self, _: u64) -> Result<RawComments, E> {
                Ok(RawComments(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, comments: A) -> Result<RawComments, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(comments)).map(RawComments)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawComments, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(RawComments(Vec::new()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
struct RawComment {
    id: Option<u64>,
    #[serde(alias = "user")]
    author: Option<RawAuthor>,
    author_association: Option<String>,
    body: Option<Text>,
    created_at: Option<String>,
    updated_at: Option<String>,
    reactions: Option<Value>,
}

impl RawThread {
    fn thread(self, repo: Option<&str>, state: &str) -> Result<Thread, ImportError> {
        let repo = self.repo.or_else(|| repo.map(str::to_owned)).ok_or(ImportError::Missing("`repo`"))?;
        let comments = self.comments.map_or_else(Vec::new, |RawComments(comments)| comments);
        Ok(Thread {
            id: [&repo, "#", self.number.to_string().as_str()].concat(),
            repo,
            number: self.number,
            title: self.title.unwrap_or_default(),
            body: self.body.map_or_else(String::new, |Text(body)| body),
            state: self.state.unwrap_or_else(|| state.to_owned()),
            state_reason: self.state_reason,
            labels: self.labels.into_iter().map(|RawLabel(name)| name).collect(),
            author: author(self.author, self.author_association),
            created_at: self.created_at,
            updated_at: self.updated_at,
            closed_at: self.closed_at,
            merged_at: self.merged_at,
            url: self.html_url.or(self.url),
            reactions: count(self.reactions.as_ref()),
            comments: in_order_of_time(comments),
            reviews: self.review_threads.unwrap_or_default().into_iter().map(in_order_of_time).collect(),
        })
    }
}

impl RawComment {
    fn comment(self) -> Comment {
        Comment {
            id: self.id,
            author: author(self.author, self.author_association),
            body: self.body.map_or_else(String::new, |Text(body)| body),
            created_at: self.created_at,
            updated_at: self.updated_at,
            reactions: count(self.reactions.as_ref()),
            reply_to: None,
            accepted: false,
        }
    }
}

/// RFC 3339 in UTC sorts as text; comments without a time stay where they are.
fn in_order_of_time(comments: Vec<RawComment>) -> Vec<Comment> {
    let mut comments: Vec<Comment> = comments.into_iter().map(RawComment::comment).collect();
    if comments.iter().all(|comment| comment.created_at.is_some()) {
        comments.sort_by(|a, b| a.created_at.cmp(&b.created_at));
    }
    comments
}

fn author(raw: Option<RawAuthor>, association: Option<String>) -> Author {
    let (login, bot) = raw.map_or((None, false), |author| (author.login, author.is_bot));
    Author { login: login.filter(|login| !login.is_empty()), association, bot }
}

/// Returns how many reactions there are: a number, or GitHub's object with one for each and all of them.
fn count(raw: Option<&Value>) -> u64 {
    raw.and_then(|raw| raw.as_u64().or_else(|| raw.get("total_count")?.as_u64())).unwrap_or_default()
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
