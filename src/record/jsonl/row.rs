//! Rows in the forms of `ShareGPT`, `OpenAI` (ChatML) and Alpaca.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::types::{Conversation, Correction, Role, Turn};
use super::import::ImportError;
use crate::store::Digest;

/// A row in any of the known forms.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawRow {
    pub(super) conversations: Option<Vec<RawMessage>>,
    pub(super) messages: Option<Vec<RawMessage>>,
    pub(super) instruction: Option<String>,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    pub(super) system: Option<String>,
    pub(super) id: Option<Id>,
    pub(super) source: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) weight: Option<f64>,
}

/// The fields of a correction, those of [`RawRow`] first.
pub(super) const CORRECTION: [&str; 12] = [
    "conversations",
    "messages",
    "instruction",
    "input",
    "output",
    "system",
    "id",
    "source",
    "thread",
    "weight",
    "supersedes",
    "note",
];

/// A row that supersedes others.
#[derive(Deserialize)]
pub(super) struct RawCorrection {
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
pub(super) enum Id {
    /// As text.
    Text(String),
    /// As a number.
    Number(u64),
}

/// One message.
#[derive(Deserialize)]
pub(super) struct RawMessage {
    #[serde(alias = "role")]
    pub(super) from: String,
    /// Nothing where a message only calls tools.
    #[serde(alias = "content", default)]
    pub(super) value: Option<RawText>,
    #[serde(default)]
    pub(super) tool_calls: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) function_call: Option<IgnoredAny>,
}

/// A message's text: whole, or in parts of which some may be no text.
pub(super) enum RawText {
    /// Whole.
    Whole(String),
    /// In parts.
    Parts(Vec<RawPart>),
}

/// One part of a message.
#[derive(Deserialize)]
pub(super) struct RawPart {
    #[serde(rename = "type", default = "text")]
    kind: String,
    text: Option<String>,
}

fn text() -> String {
    "text".to_owned()
}

/// Who speaks.
enum Speaker {
    Known(Role),
    /// A tool, or the model to a tool.
    Tool,
}

impl<'de> Deserialize<'de> for RawText {
    /// Reads either form without a copy in between, which serde's untagged enums would make.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RawText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawText, E> {
                Ok(RawText::Whole(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<RawText, E> {
                Ok(RawText::Whole(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<RawText, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(RawText::Parts)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl RawText {
    fn text(self) -> Result<String, ImportError> {
        match self {
            Self::Whole(text) => Ok(text),
            Self::Parts(parts) => {
                let texts = parts.into_iter().map(|part| match (part.kind.as_str(), part.text) {
                    ("text" | "input_text" | "output_text", Some(text)) => Ok(text),
                    _ => Err(ImportError::Part(part.kind.chars().take(40).collect())),
                });
                Ok(texts.collect::<Result<Vec<_>, ImportError>>()?.join("\n\n"))
            }
        }
    }
}

impl RawRow {
    /// Returns the turns, and how many turns of tools are left out.
    fn turns(&mut self) -> Result<(Vec<Turn>, u64), ImportError> {
        let system = self.system.take().filter(|text| !text.trim().is_empty());
        let mut turns: Vec<Turn> = system.map(|text| Turn { role: Role::System, text }).into_iter().collect();
        let mut tool_turns = 0;
        if let Some(messages) = self.conversations.take().or_else(|| self.messages.take()) {
            tool_turns = add_messages(messages, &mut turns)?;
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
        if has_answer { Ok((turns, tool_turns)) } else { Err(ImportError::NoAnswer) }
    }

    /// Returns the conversation, and how many turns of tools are left out of it. Without `id` and `source` it is named by
    /// its content.
    pub(super) fn conversation(mut self, prefix: &str) -> Result<(Conversation, u64), ImportError> {
        let (turns, tool_turns) = self.turns()?;
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
        Ok((Conversation { id, thread, turns, sources: Vec::new(), weight: self.weight }, tool_turns))
    }
}

impl RawCorrection {
    /// Returns the correction.
    pub(super) fn correction(self) -> Result<Correction, ImportError> {
        let supersedes = match self.supersedes {
            None => Vec::new(),
            Some(OneOrMany::One(id)) => vec![id],
            Some(OneOrMany::Many(ids)) => ids,
        };
        let has_thread = self.row.thread.is_some() || self.row.source.is_some();
        let (mut conversation, _) = self.row.conversation("correction")?;
        // It is about the same as what it supersedes, and is never parted from that.
        if let (false, Some(corrected)) = (has_thread, supersedes.first()) {
            thread_of(corrected).clone_into(&mut conversation.thread);
        }
        Ok(Correction { conversation, supersedes, note: self.note })
    }
}

/// Adds messages as turns; returns how many are left out because tools speak in them. What the model said before and
/// after a tool is one turn.
fn add_messages(messages: Vec<RawMessage>, turns: &mut Vec<Turn>) -> Result<u64, ImportError> {
    let mut tool_turns = 0;
    let mut was_tool = false;
    for message in messages {
        let calls = message.tool_calls.is_some() || message.function_call.is_some();
        let role = match speaker(&message.from)? {
            Speaker::Known(role) => role,
            Speaker::Tool => {
                tool_turns += 1;
                was_tool = true;
                continue;
            }
        };
        let text = message.value.map(RawText::text).transpose()?;
        let text = match text {
            Some(text) if !(calls && text.trim().is_empty()) => text,
            None if !calls => return Err(ImportError::Missing("`value` or `content`")),
            _ => {
                tool_turns += 1;
                was_tool = true;
                continue;
            }
        };
        match turns.last_mut().filter(|last| was_tool && last.role == role) {
            Some(last) => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            None => turns.push(Turn { role, text }),
        }
        was_tool = false;
    }
    Ok(tool_turns)
}

fn speaker(from: &str) -> Result<Speaker, ImportError> {
    Ok(Speaker::Known(match from.to_ascii_lowercase().as_str() {
        "human" | "user" | "prompter" => Role::User,
        "gpt" | "assistant" | "model" | "chatgpt" => Role::Assistant,
        "system" | "developer" => Role::System,
        "tool" | "function" | "tool_call" | "tool_response" | "function_call" | "observation" | "ipython" => {
            return Ok(Speaker::Tool);
        }
        _ => return Err(ImportError::Role(from.chars().take(40).collect())),
    }))
}

/// What the names of documents end with.
const DOCUMENTS: [&str; 7] = [".md", ".mdx", ".markdown", ".rst", ".adoc", ".txt", ".html"];

/// Returns the thread that a row's source names: `o/r#12` of `o/r#12-mt`, `o/r/docs/a.md` of `o/r/docs/a.md#1-heading` and of
/// `o/r/docs/a.md:page:part-2`.
fn thread_of(source: &str) -> &str {
    let Some((before, after)) = source.split_once('#') else { return without_part(source) };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let is_document =
        before.matches('/').count() > 1 || DOCUMENTS.iter().any(|ending| before.to_ascii_lowercase().ends_with(ending));
    let is_number = digits > 0 && !is_document && !after[digits..].starts_with(|c: char| c.is_alphanumeric());
    if is_number { &source[..=before.len() + digits] } else { before }
}

/// Takes off what rows of one record are told apart by: `:page`, `:part-2`, `:synthetic-3`.
fn without_part(mut name: &str) -> &str {
    while let Some((before, part)) = name.rsplit_once(':') {
        let number = part.strip_prefix("part-").or_else(|| part.strip_prefix("synthetic-"));
        let is_numbered = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()));
        if before.is_empty() || !(is_numbered || part == "page") {
            break;
        }
        name = before;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::super::types::Record;
    use super::super::import::{Form, import, import_mapped};
    use super::*;

    fn row(text: &str) -> Conversation {
        match import(Form::Rows, text.as_bytes(), None).unwrap() {
            Record::Row(row) => row,
            other => panic!("{other:?}"),
        }
    }

    /// Returns who says what.
    fn said(text: &str) -> Vec<String> {
        row(text).turns.into_iter().map(|turn| format!("{:?}: {}", turn.role, turn.text)).collect()
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
        for row in ["#heading", "#1st-step", "#1-step", "#1-step:part-2", ":page", ":page:part-2", ":synthetic-12"] {
            assert_eq!(thread_of(&format!("o/r/docs/a.md{row}")), "o/r/docs/a.md");
            assert_eq!(thread_of(&format!("RELEASE.md{row}")), "RELEASE.md");
        }
        assert_eq!(thread_of("o/r#12:synthetic-3"), "o/r#12");
        assert_eq!(thread_of("https://a.org/b:part-x"), "https://a.org/b:part-x");
        assert_eq!(thread_of("by hand"), "by hand");
    }

    #[test]
    fn a_message_may_come_in_parts_of_text() {
        let parts = r#"{"messages":[{"role":"developer","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"one"},{"type":"input_text","text":"two"}]},
            {"role":"assistant","content":"three"}]}"#;
        assert_eq!(said(parts), ["System: Be brief.", "User: one\n\ntwo", "Assistant: three"]);
        let image = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#;
        let error = import(Form::Rows, image.as_bytes(), None).unwrap_err();
        assert_eq!(error.to_string(), "a message has a part of type `image_url`, and only text can be learnt");
    }

    #[test]
    fn turns_of_tools_are_left_out_and_counted() {
        let text = r#"{"messages":[{"role":"user","content":"q"},
            {"role":"assistant","content":"Let me look.","tool_calls":[{"id":"1"}]},{"role":"tool","content":"42"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"2"}]},{"role":"function","content":"43"},
            {"role":"assistant","content":"It is 42."}]}"#;
        assert_eq!(said(text), ["User: q", "Assistant: Let me look.\n\nIt is 42."]);
        assert_eq!(import_mapped::<String>(Form::Rows, text.as_bytes(), None, None).unwrap().tool_turns, 3);
        let only = r#"{"conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"f()"}]}"#;
        assert_eq!(
            import(Form::Rows, only.as_bytes(), None).unwrap_err().to_string(),
            "the conversation has no answer"
        );
        let empty = r#"{"messages":[{"role":"assistant"}]}"#;
        assert_eq!(
            import(Form::Rows, empty.as_bytes(), None).unwrap_err().to_string(),
            "missing field `value` or `content`"
        );
    }
}
