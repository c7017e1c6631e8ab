//! Records from the JSON lines that people already have: `raw_issues.jsonl`, `raw_pull_requests.jsonl`, `raw_docs.jsonl`,
//! and rows in the forms of `ShareGPT`, `OpenAI` and Alpaca.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::super::types::{Author, Comment, Conversation, Correction, Document, Record, Role, Thread, Turn};
use crate::store::Digest;

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

/// Reads one line. `repo` stands in for a record's own repository when that has none.
///
/// # Errors
/// [`ImportError`].
pub fn import(form: Form, line: &[u8], repo: Option<&str>) -> Result<Record, ImportError> {
    Ok(match form {
        Form::Rows => Record::Row(serde_json::from_slice::<RawRow>(line)?.conversation("row")?),
        Form::Issues => Record::Issue(serde_json::from_slice::<RawThread>(line)?.thread(repo, "open")?),
        Form::Pulls => Record::Pull(serde_json::from_slice::<RawThread>(line)?.thread(repo, "closed")?),
        Form::Documents => Record::Document(serde_json::from_slice::<RawDocument>(line)?.document(repo)?),
    })
}

/// Reads one line of corrections: a row, optionally with `id`, `supersedes`, `weight` and `note`.
///
/// # Errors
/// [`ImportError`].
pub fn import_correction(line: &[u8]) -> Result<Correction, ImportError> {
    let raw: RawCorrection = serde_json::from_slice(line)?;
    let supersedes = match raw.supersedes {
        None => Vec::new(),
        Some(OneOrMany::One(id)) => vec![id],
        Some(OneOrMany::Many(ids)) => ids,
    };
    Ok(Correction { conversation: raw.row.conversation("correction")?, supersedes, note: raw.note })
}

#[derive(Deserialize)]
struct RawRow {
    conversations: Option<Vec<RawMessage>>,
    messages: Option<Vec<RawMessage>>,
    instruction: Option<String>,
    input: Option<String>,
    output: Option<String>,
    system: Option<String>,
    #[serde(default)]
    id: Option<Id>,
    source: Option<String>,
    thread: Option<String>,
    weight: Option<f64>,
}

#[derive(Deserialize)]
struct RawCorrection {
    #[serde(flatten)]
    row: RawRow,
    supersedes: Option<OneOrMany>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// An id that some tools write as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

#[derive(Deserialize)]
struct RawMessage {
    #[serde(alias = "role")]
    from: String,
    #[serde(alias = "content")]
    value: String,
}

impl RawRow {
    fn turns(&mut self) -> Result<Vec<Turn>, ImportError> {
        let system = self.system.take().filter(|text| !text.trim().is_empty());
        let mut turns: Vec<Turn> = system.map(|text| Turn { role: Role::System, text }).into_iter().collect();
        if let Some(messages) = self.conversations.take().or_else(|| self.messages.take()) {
            for RawMessage { from, value } in messages {
                turns.push(Turn { role: role(&from)?, text: value });
            }
        } else {
            let question =
                self.instruction.take().ok_or(ImportError::Missing("`conversations`, `messages` or `instruction`"))?;
            let answer = self.output.take().ok_or(ImportError::Missing("`output`"))?;
            let text = match self.input.take().filter(|input| !input.trim().is_empty()) {
                Some(input) => format!("{question}\n\n{input}"),
                None => question,
            };
            turns.push(Turn { role: Role::User, text });
            turns.push(Turn { role: Role::Assistant, text: answer });
        }
        let has_answer = turns.iter().any(|turn| turn.role == Role::Assistant && !turn.text.trim().is_empty());
        if has_answer { Ok(turns) } else { Err(ImportError::NoAnswer) }
    }

    /// Returns the conversation. Without `id` and `source` it is named by its content.
    fn conversation(mut self, prefix: &str) -> Result<Conversation, ImportError> {
        let turns = self.turns()?;
        let id = match self.id {
            Some(Id::Text(id)) if !id.is_empty() => Some(id),
            Some(Id::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        let id = match id.or_else(|| self.source.clone().filter(|source| !source.is_empty())) {
            Some(id) => id,
            None => format!("{prefix}-{}", &Digest::of(&serde_json::to_vec(&turns)?).to_string()[..16]),
        };
        let thread = self.thread.unwrap_or_else(|| thread_of(self.source.as_deref().unwrap_or(&id)).to_owned());
        Ok(Conversation { id, thread, turns, sources: Vec::new(), weight: self.weight })
    }
}

fn role(from: &str) -> Result<Role, ImportError> {
    match from {
        "human" | "user" | "prompter" => Ok(Role::User),
        "gpt" | "assistant" | "model" | "chatgpt" => Ok(Role::Assistant),
        "system" => Ok(Role::System),
        _ => Err(ImportError::Role(from.chars().take(40).collect())),
    }
}

/// Returns the thread that a row's source names: `o/r#12` of `o/r#12-mt`, `o/r/docs/a.md` of `o/r/docs/a.md#heading`.
fn thread_of(source: &str) -> &str {
    let Some((before, after)) = source.split_once('#') else { return source };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let is_number = digits > 0 && !after[digits..].starts_with(|c: char| c.is_alphanumeric());
    if is_number { &source[..=before.len() + digits] } else { before }
}

#[derive(Deserialize)]
struct RawThread {
    repo: Option<String>,
    number: u64,
    title: Option<String>,
    body: Option<String>,
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
    reactions: Option<RawReactions>,
    comments: Option<RawComments>,
    review_threads: Option<Vec<Vec<RawComment>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawLabel {
    Name(String),
    Label { name: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawAuthor {
    Login(String),
    User {
        login: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawReactions {
    Count(u64),
    Reactions { total_count: u64 },
    Other(IgnoredAny),
}

/// GitHub's own listing has the number of comments here.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawComments {
    Comments(Vec<RawComment>),
    Count(IgnoredAny),
}

#[derive(Deserialize)]
struct RawComment {
    id: Option<u64>,
    #[serde(alias = "user")]
    author: Option<RawAuthor>,
    author_association: Option<String>,
    body: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    reactions: Option<RawReactions>,
}

impl RawThread {
    fn thread(self, repo: Option<&str>, state: &str) -> Result<Thread, ImportError> {
        let repo = self.repo.or_else(|| repo.map(str::to_owned)).ok_or(ImportError::Missing("`repo`"))?;
        let comments = match self.comments {
            Some(RawComments::Comments(comments)) => comments,
            _ => Vec::new(),
        };
        Ok(Thread {
            id: format!("{repo}#{}", self.number),
            repo,
            number: self.number,
            title: self.title.unwrap_or_default(),
            body: self.body.unwrap_or_default(),
            state: self.state.unwrap_or_else(|| state.to_owned()),
            state_reason: self.state_reason,
            labels: self
                .labels
                .into_iter()
                .map(|label| match label {
                    RawLabel::Name(name) | RawLabel::Label { name } => name,
                })
                .collect(),
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
            body: self.body.unwrap_or_default(),
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
    let (login, bot) = match raw {
        None => (None, false),
        Some(RawAuthor::Login(login)) => (Some(login), false),
        Some(RawAuthor::User { login, kind }) => (login, kind.as_deref() == Some("Bot")),
    };
    Author { login: login.filter(|login| !login.is_empty()), association, bot }
}

fn count(raw: Option<&RawReactions>) -> u64 {
    match raw {
        Some(RawReactions::Count(count) | RawReactions::Reactions { total_count: count }) => *count,
        Some(RawReactions::Other(_)) | None => 0,
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

    fn row(text: &str) -> Conversation {
        match import(Form::Rows, text.as_bytes(), None).unwrap() {
            Record::Row(row) => row,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_three_forms_of_rows_give_the_same_turns() {
        let one =
            row(r#"{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"source":"o/r#12-mt"}"#);
        let two = row(r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#);
        let three = row(r#"{"instruction":"q","input":"","output":"a"}"#);
        assert_eq!((one.id.as_str(), one.thread.as_str()), ("o/r#12-mt", "o/r#12"));
        assert_eq!(one.turns, two.turns);
        assert_eq!(two, three);
        assert!(two.id.starts_with("row-") && two.thread == two.id);
    }

    #[test]
    fn a_source_names_its_thread() {
        assert_eq!(thread_of("o/r#12"), "o/r#12");
        assert_eq!(thread_of("o/r#12/review-1"), "o/r#12");
        assert_eq!(thread_of("o/r/docs/a.md#1st-step"), "o/r/docs/a.md");
        assert_eq!(thread_of("o/r/docs/a.md#heading"), "o/r/docs/a.md");
        assert_eq!(thread_of("by hand"), "by hand");
    }

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
        assert!(error(Form::Rows, r#"{"messages":[{"role":"tool","content":"x"}]}"#).to_string().contains("`tool`"));
        assert_eq!(
            error(Form::Rows, r#"{"messages":[{"role":"user","content":"x"}]}"#).to_string(),
            "the conversation has no answer"
        );
    }
}
