//! Fields of foreign lines that have other names than those known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::types::Role;
use super::import::{Form, ImportError};
use super::row::RawRow;

/// What the fields of a foreign line are called. A dot leads into an object: `data.prompt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FieldMap {
    /// The question of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// What belongs to the question and stands after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The answer of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The system prompt of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The list of a row's messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// Who speaks, in a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What is said, in a message; the text, in a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Who speaks, by the names in the lines: `user`, `assistant` or `system`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Role>,
    /// The row's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What a row was made of, which names its thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The thread of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// How often a row counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The repository of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The path of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The title of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where people read a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl FieldMap {
    /// Returns the fields that lines of `form` do not have, although they are mapped.
    pub fn unused(&self, form: Form) -> Vec<&'static str> {
        let of_rows = [
            ("question", self.question.is_some()),
            ("context", self.context.is_some()),
            ("answer", self.answer.is_some()),
            ("system", self.system.is_some()),
            ("messages", self.messages.is_some()),
            ("role", self.role.is_some()),
            ("roles", !self.roles.is_empty()),
            ("id", self.id.is_some()),
            ("source", self.source.is_some()),
            ("thread", self.thread.is_some()),
            ("weight", self.weight.is_some()),
        ];
        let of_documents = [
            ("repo", self.repo.is_some()),
            ("path", self.path.is_some()),
            ("title", self.title.is_some()),
            ("url", self.url.is_some()),
        ];
        let of_both = [("content", self.content.is_some())];
        let unused: Vec<(&str, bool)> = match form {
            Form::Rows => of_documents.to_vec(),
            Form::Documents => of_rows.to_vec(),
            _ => of_rows.into_iter().chain(of_documents).chain(of_both).collect(),
        };
        unused.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }

    /// Reads a row of a foreign line.
    pub(super) fn row(&self, line: Value) -> Result<RawRow, ImportError> {
        let mut row = Map::new();
        for (field, known, name, is_needed) in [
            ("question", "instruction", &self.question, true),
            ("answer", "output", &self.answer, true),
            ("context", "input", &self.context, false),
            ("system", "system", &self.system, false),
            ("id", "id", &self.id, false),
            ("source", "source", &self.source, false),
            ("thread", "thread", &self.thread, false),
            ("weight", "weight", &self.weight, false),
        ] {
            // What is not mapped keeps its known name.
            let value = mapped(&line, field, name.as_deref(), is_needed)?.or_else(|| line.get(known));
            if let Some(value) = value {
                row.insert(known.to_owned(), value.clone());
            }
        }
        let known = || line.get("conversations").or_else(|| line.get("messages"));
        if let Some(messages) = mapped(&line, "messages", self.messages.as_deref(), true)?.or_else(known) {
            row.insert("messages".to_owned(), self.messages_of(messages)?);
        }
        Ok(serde_json::from_value(Value::Object(row))?)
    }

    /// Gives messages the known names of their fields and of who speaks.
    fn messages_of(&self, messages: &Value) -> Result<Value, ImportError> {
        let Value::Array(messages) = messages else { return Ok(messages.clone()) };
        let messages = messages.iter().map(|message| {
            let Value::Object(fields) = message else { return Ok(message.clone()) };
            let mut fields = fields.clone();
            let role = mapped(message, "role", self.role.as_deref(), true)?;
            let role = role.or_else(|| message.get("role").or_else(|| message.get("from"))).cloned();
            let content = mapped(message, "content", self.content.as_deref(), false)?;
            let content = content.or_else(|| message.get("content").or_else(|| message.get("value"))).cloned();
            for known in ["role", "from", "content", "value"] {
                fields.remove(known);
            }
            if let Some(role) = role {
                let named = role.as_str().and_then(|role| self.roles.get(role));
                fields.insert("role".to_owned(), named.map_or(role, |named| known_role(*named).into()));
            }
            if let Some(content) = content {
                fields.insert("content".to_owned(), content);
            }
            Ok(Value::Object(fields))
        });
        Ok(Value::Array(messages.collect::<Result<_, ImportError>>()?))
    }

    /// Gives a foreign document the known names of its fields.
    pub(super) fn document(&self, line: Value) -> Result<Value, ImportError> {
        let mut document = Map::new();
        for (field, name, is_needed) in [
            ("content", &self.content, true),
            ("repo", &self.repo, false),
            ("path", &self.path, false),
            ("title", &self.title, false),
            ("url", &self.url, false),
        ] {
            if let Some(value) = mapped(&line, field, name.as_deref(), is_needed)?.or_else(|| line.get(field)) {
                document.insert(field.to_owned(), value.clone());
            }
        }
        Ok(Value::Object(document))
    }
}

const fn known_role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// Returns the value of the field that the map names, if it names one.
fn mapped<'v>(
    line: &'v Value,
    field: &'static str,
    name: Option<&str>,
    is_needed: bool,
) -> Result<Option<&'v Value>, ImportError> {
    let Some(name) = name else { return Ok(None) };
    let whole = line.get(name);
    let value = whole.or_else(|| name.split('.').try_fold(line, |value, step| value.get(step)));
    match value.filter(|value| !value.is_null()) {
        None if is_needed => Err(ImportError::Unmapped { field, name: name.to_owned() }),
        None => Ok(None),
        Some(value) => match (field, value) {
            ("question" | "answer" | "context" | "system" | "role", Value::String(_))
            | ("messages", Value::Array(_))
            | ("weight", Value::Number(_))
            | ("content" | "id" | "source" | "thread" | "repo" | "path" | "title" | "url", _) => Ok(Some(value)),
            _ => Err(ImportError::WrongType { field, name: name.to_owned(), found: sort(value) }),
        },
    }
}

fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::types::Record;
    use super::super::import::import_mapped;
    use super::*;

    fn read(form: Form, map: Value, line: Value) -> Result<Record, String> {
        let map: FieldMap = serde_json::from_value(map).unwrap();
        let line = line.to_string();
        import_mapped(form, line.as_bytes(), None, Some(&map)).map(|it| it.record).map_err(|error| error.to_string())
    }

    fn said(map: Value, line: Value) -> Result<Vec<String>, String> {
        let Record::Row(row) = read(Form::Rows, map, line)? else { panic!("no row") };
        Ok(row.turns.into_iter().map(|turn| format!("{:?}: {}", turn.role, turn.text)).collect())
    }

    #[test]
    fn pairs_of_other_names_become_rows() {
        let map =
            json!({"question": "data.prompt", "answer": "completion", "context": "ctx", "system": "sys", "id": "uid"});
        let line =
            json!({"data": {"prompt": "q"}, "completion": "a", "ctx": "c", "sys": "s", "uid": 7, "output": "no"});
        assert_eq!(said(map.clone(), line.clone()).unwrap(), ["System: s", "User: q\n\nc", "Assistant: a"]);
        assert_eq!(read(Form::Rows, map.clone(), line).unwrap().id(), "7");
        let error = said(map.clone(), json!({"completion": "a"})).unwrap_err();
        assert_eq!(error, "missing field `data.prompt`, which `map` names for `question`");
        let error = said(map, json!({"data": {"prompt": ["q"]}, "completion": "a"})).unwrap_err();
        assert_eq!(error, "field `data.prompt`, which `map` names for `question`, is a list");
    }

    #[test]
    fn messages_of_other_names_become_rows() {
        let map = json!({
            "messages": "dialog", "role": "speaker", "content": "text", "roles": {"customer": "user", "agent": "assistant"},
        });
        let line = json!({"dialog": [{"speaker": "customer", "text": "q"}, {"speaker": "agent", "text": "a"}]});
        assert_eq!(said(map.clone(), line).unwrap(), ["User: q", "Assistant: a"]);
        let stranger = json!({"dialog": [{"speaker": "crowd", "text": "q"}]});
        assert!(said(map, stranger).unwrap_err().starts_with("unknown speaker `crowd`"));
        let roles = json!({"roles": {"customer": "user", "agent": "assistant"}});
        let line = json!({"conversations": [{"from": "customer", "value": "q"}, {"from": "agent", "value": "a"}]});
        assert_eq!(said(roles, line).unwrap(), ["User: q", "Assistant: a"]);
    }

    #[test]
    fn documents_of_other_names_are_read_and_foreign_fields_are_told() {
        let map = json!({"content": "body", "path": "slug", "repo": "site"});
        let line = json!({"body": "text", "slug": "a/b", "site": "docs", "title": "T"});
        let Record::Document(document) = read(Form::Documents, map.clone(), line).unwrap() else { panic!() };
        assert_eq!(
            (document.id.as_str(), document.title.as_str(), document.content.as_str()),
            ("docs/a/b", "T", "text")
        );
        let map: FieldMap = serde_json::from_value(map).unwrap();
        assert_eq!(map.unused(Form::Documents), Vec::<&str>::new());
        assert_eq!(map.unused(Form::Rows), ["repo", "path"]);
        assert_eq!(map.unused(Form::Issues), ["repo", "path", "content"]);
    }
}
