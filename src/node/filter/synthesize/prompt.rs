//! From a record to the request that is sent for it.

use serde_json::{Value, json};

use super::setup::{ResponseFormat, Settings};
use crate::record::{Comment, Document, Record, Thread, neutralised};
use crate::store::Digest;

/// A request.
pub(super) struct Request {
    /// What is sent.
    pub(super) body: Value,
    /// The digest of it, which its answer is kept under.
    pub(super) digest: Digest,
    /// Whether the record's text was too long for it.
    pub(super) is_cut: bool,
}

/// Makes the request for a record, or says why there is none.
pub(super) fn request(record: &Record, settings: &Settings) -> Result<Request, &'static str> {
    let (title, text) = match record {
        Record::Issue(thread) | Record::Pull(thread) | Record::Discussion(thread) => {
            (thread.title.trim().to_owned(), thread_text(thread))
        }
        Record::Document(document) => (title(document).to_owned(), document.content.trim().to_owned()),
        Record::Row(_) => return Err("row: it is a question with its answer already"),
        Record::Correction(_) => return Err("correction: a person wrote it"),
    };
    if text.chars().count() < settings.min_text_characters {
        return Err("record: too short");
    }
    let (text, is_cut) = cut(&text, settings.max_text_characters);
    // Text that an endpoint's template could take for the end of a turn has no power in a question either.
    let (text, title) = (fenced(&neutralised(text, &[]).0), one_line(&neutralised(&title, &[]).0));
    let count = settings.per_record.to_string();
    let prompt = filled(&settings.prompt, &[("{count}", &count), ("{title}", &title), ("{text}", &text)]);
    let mut body = json!({
        "model": settings.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "stream": false,
    });
    match settings.response_format {
        ResponseFormat::JsonSchema => body["response_format"] = schema(settings.per_record),
        ResponseFormat::JsonObject => body["response_format"] = json!({"type": "json_object"}),
        ResponseFormat::None => {}
    }
    let digest = Digest::of(body.to_string().as_bytes());
    Ok(Request { body, digest, is_cut })
}

fn schema(per_record: usize) -> Value {
    let text = json!({"type": "string"});
    let pair = json!({
        "type": "object",
        "properties": {"question": text, "answer": text},
        "required": ["question", "answer"],
        "additionalProperties": false,
    });
    let pairs = json!({
        "type": "object",
        "properties": {"pairs": {"type": "array", "items": pair, "minItems": 1, "maxItems": per_record}},
        "required": ["pairs"],
        "additionalProperties": false,
    });
    json!({"type": "json_schema", "json_schema": {"name": "pairs", "strict": true, "schema": pairs}})
}

/// Puts values in place of their placeholders, in one pass: what looks like a placeholder in a value stays.
fn filled(prompt: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(prompt.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = prompt;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = values.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
        let (placeholder, value) = found.unwrap_or(&("{", "{"));
        filled.push_str(value);
        rest = &rest[placeholder.len()..];
    }
    filled.push_str(rest);
    filled
}

/// Puts a text between two fences that no line of it can be.
fn fenced(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(3) + 1);
    format!("{fence}\n{text}\n{fence}")
}

/// Returns a text with single spaces in place of all white space: a title that has lines would go on behind its heading.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns what people call a document.
fn title(document: &Document) -> &str {
    let title = document.title.trim();
    if title.is_empty() { &document.path } else { title }
}

/// Returns what was said in a thread, in order of time; bots say nothing.
fn thread_text(thread: &Thread) -> String {
    let mut parts = vec![thread.body.trim().to_owned()];
    let comments = thread.comments.iter().chain(thread.reviews.iter().flatten());
    parts.extend(comments.filter(|comment| !comment.author.bot).map(said));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn said(comment: &Comment) -> String {
    match (comment.body.trim(), comment.author.login.as_deref()) {
        ("", _) => String::new(),
        (text, Some(login)) => format!("{login}: {text}"),
        (text, None) => text.to_owned(),
    }
}

/// Cuts a text between lines, or where its first line is too long within that.
fn cut(text: &str, limit: usize) -> (&str, bool) {
    let Some((end, _)) = text.char_indices().nth(limit) else { return (text, false) };
    let within = &text[..end];
    let end = within.rfind('\n').filter(|at| !within[..*at].trim().is_empty()).unwrap_or(end);
    (text[..end].trim_end(), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_placeholder_in_a_value_stays() {
        let values = [("{title}", "{text} {title}"), ("{text}", "{count}"), ("{count}", "3")];
        assert_eq!(filled("{ {count} {x} # {title}\n{text}{", &values), "{ 3 {x} # {text} {title}\n{count}{");
    }

    #[test]
    fn no_text_ends_its_own_fence() {
        assert_eq!(fenced("a"), "````\na\n````");
        assert_eq!(fenced("```\na\n`````"), "``````\n```\na\n`````\n``````");
    }

    #[test]
    fn a_text_is_cut_between_lines_and_never_within_a_character() {
        assert_eq!(cut("one\ntwo\nthree", 9), ("one\ntwo", true));
        assert_eq!(cut("üüüü", 2), ("üü", true));
        assert_eq!(cut("short", 5), ("short", false));
        assert_eq!(cut("\n\nüüüü", 4), ("\n\nüü", true));
    }
}
