//! From a record to the request that is sent for it.

use serde_json::{Value, json};

use super::setup::Settings;
use crate::node::endpoint::{Request, fenced, filled};
use crate::record::{Comment, Document, Record, Thread, neutralised};

/// Makes the request for a record and tells whether the record's text was too long for it, or says why there is none.
pub(super) fn request(record: &Record, settings: &Settings) -> Result<(Request, bool), &'static str> {
    let (title, text) = match record {
        Record::Issue(thread) | Record::Pull(thread) | Record::Discussion(thread) => {
            (thread.title.trim().to_owned(), thread_text(thread))
        }
        Record::Document(document) => (title(document).to_owned(), document.content.trim().to_owned()),
        Record::Row(_) => return Err("row: it is a question with its answer already"),
        Record::Correction(_) => return Err("correction: a person wrote it"),
    };
    let Settings { endpoint, pairs } = settings;
    if text.chars().count() < pairs.min_text_characters {
        return Err("record: too short");
    }
    let (text, is_cut) = cut(&text, pairs.max_text_characters);
    // Text that an endpoint's template could take for the end of a turn has no power in a question either.
    let (text, title) = (fenced(&neutralised(text, &[]).0), one_line(&neutralised(&title, &[]).0));
    let count = pairs.per_record.to_string();
    let prompt = filled(&pairs.prompt, &[("{count}", &count), ("{title}", &title), ("{text}", &text)]);
    Ok((endpoint.request(&prompt, "pairs", || schema(pairs.per_record)), is_cut))
}

fn schema(per_record: usize) -> Value {
    let text = json!({"type": "string"});
    let pair = json!({
        "type": "object",
        "properties": {"question": text, "answer": text},
        "required": ["question", "answer"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {"pairs": {"type": "array", "items": pair, "minItems": 1, "maxItems": per_record}},
        "required": ["pairs"],
        "additionalProperties": false,
    })
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
    fn a_text_is_cut_between_lines_and_never_within_a_character() {
        assert_eq!(cut("one\ntwo\nthree", 9), ("one\ntwo", true));
        assert_eq!(cut("üüüü", 2), ("üü", true));
        assert_eq!(cut("short", 5), ("short", false));
        assert_eq!(cut("\n\nüüüü", 4), ("\n\nüü", true));
    }
}
