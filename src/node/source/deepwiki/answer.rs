//! An answer of an MCP server over streamable HTTP: one JSON-RPC message, plain or among server-sent events.

use serde::Deserialize;
use serde_json::Value;

use super::error::{DeepwikiError, begins};

/// A JSON-RPC message, as far as answers have it.
#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult {
    #[serde(default)]
    content: Vec<Content>,
    #[serde(default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    text: Option<String>,
}

/// What a tool said, and whether it called that an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    pub(super) is_error: bool,
}

/// Returns the result of the message that answers request `id`.
///
/// # Errors
/// [`DeepwikiError::BadAnswer`] when there is none, or when it is a refusal.
pub(super) fn result(body: &[u8], id: u64) -> Result<Value, DeepwikiError> {
    let bad = |what: String| DeepwikiError::BadAnswer { what };
    let body = String::from_utf8_lossy(body);
    let body = body.trim_start_matches('\u{feff}');
    let messages: Vec<String> =
        if body.trim_start().starts_with(['{', '[']) { vec![body.to_owned()] } else { events(body) };
    for message in messages.iter().flat_map(|text| parsed(text)) {
        if message.id.as_ref().and_then(Value::as_u64) != Some(id) {
            continue;
        }
        return match (message.result, message.error) {
            (Some(result), None) => Ok(result),
            (_, Some(refusal)) => Err(bad(format!("error {}: {:?}", refusal.code, begins(&refusal.message)))),
            (None, None) => Err(bad("an answer without a result".into())),
        };
    }
    Err(bad(format!("it holds no message that answers request {id}; it begins {:?}", begins(body))))
}

/// Returns what a tool said: the texts of its result in order.
pub(super) fn told(result: Value) -> Result<Told, DeepwikiError> {
    let result = ToolResult::deserialize(result)
        .map_err(|error| DeepwikiError::BadAnswer { what: format!("a tool's result: {error}") })?;
    let texts: Vec<String> = result.content.into_iter().filter_map(|content| content.text).collect();
    Ok(Told { text: texts.join("\n"), is_error: result.is_error })
}

/// Reads a text as one message or a batch; what is neither is no message.
fn parsed(text: &str) -> Vec<Message> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(batch)) => batch.into_iter().filter_map(|one| Message::deserialize(one).ok()).collect(),
        Ok(one) => Message::deserialize(one).into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

/// Returns the data of each server-sent event; lines end in any of three ways, and data may stand on several lines. An
/// event that the end of the stream cuts off is none.
fn events(body: &str) -> Vec<String> {
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let mut data: Option<String> = None;
    for line in body.split('\n') {
        if line.is_empty() {
            events.extend(data.take());
        } else if let Some(value) = field(line) {
            match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            }
        }
    }
    // Servers that close the stream after the last line, without the empty one, are common; half a message is no JSON.
    events.extend(data);
    events
}

/// Returns the value of a line `data: VALUE`.
fn field(line: &str) -> Option<&str> {
    let value = line.strip_prefix("data")?;
    if value.is_empty() {
        return Some("");
    }
    let value = value.strip_prefix(':')?;
    Some(value.strip_prefix(' ').unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        let found = match result(body.as_bytes(), 2) {
            Ok(result) => result.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{body}: {found}");
    }

    #[test]
    fn an_answer_is_found_as_json_and_among_events() {
        let json = r#"{"jsonrpc":"2.0","id":2,"result":{"a":1}}"#;
        check(json, r#"{"a":1}"#);
        check(&format!("\u{feff} {json}"), r#"{"a":1}"#);
        check(&format!("[{{\"id\":1}},{json}]"), r#"{"a":1}"#);
        check(&format!("event: message\ndata: {json}\n\n"), r#"{"a":1}"#);
        check(&format!(": ping\r\n\r\nid: 7\r\ndata:{json}\r\n\r\n"), r#"{"a":1}"#);
        let split = json.replace(",\"", ",\ndata: \"");
        check(&format!("data: {{\"method\":\"notifications/progress\"}}\n\ndata: {split}"), r#"{"a":1}"#);
        check(&format!("data\rdata: {json}\r\r"), r#"{"a":1}"#);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        check("", "no message that answers request 2");
        check("<html>Just a moment…</html>", "it begins \"<html>Just a moment…</html>\"");
        check(r#"{"id":1,"result":{}}"#, "no message that answers");
        check(r#"{"id":2}"#, "without a result");
        check("data: {\"id\":2,\"resu", "no message that answers");
        check(r#"{"id":2,"error":{"code":-32602,"message":"bad repoName"}}"#, r#"error -32602: "bad repoName""#);
    }

    #[test]
    fn the_texts_of_a_result_are_joined() {
        let texts = serde_json::json!({"content": [{"text": "a"}, {"type": "image"}, {"text": "b"}], "isError": true});
        assert_eq!(told(texts).unwrap(), Told { text: "a\nb".into(), is_error: true });
        assert!(told(serde_json::json!({"content": "no list"})).is_err());
    }
}
