//! `{node.field}` in strings: how a setting reads another node's field. Nothing else is interpolated.
//!
//! Doubled braces are no placeholder, so that chat templates pass as they are.

use std::collections::BTreeSet;

use serde_json::Value;

/// A placeholder in a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The setting: keys, and indices in decimal.
    pub(super) path: Vec<String>,
    /// The placeholder with its braces.
    pub(super) text: String,
    /// The node's name, maybe with the values of axes.
    pub(super) node: String,
    /// The field's name.
    pub(super) field: String,
}

/// Returns all placeholders in the strings of `settings`, in a fixed order.
pub(super) fn find(settings: &Value) -> Vec<Placeholder> {
    let mut found = Vec::new();
    walk(settings, &mut Vec::new(), &mut found);
    found
}

fn walk(value: &Value, path: &mut Vec<String>, found: &mut Vec<Placeholder>) {
    match value {
        Value::String(text) => {
            // Once is enough of what is repeated over and over.
            let mut seen = BTreeSet::new();
            for (whole, node, field) in in_text(text).filter(|(whole, ..)| seen.insert(*whole)) {
                let (text, node, field) = (whole.to_owned(), node.to_owned(), field.to_owned());
                found.push(Placeholder { path: path.clone(), text, node, field });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                walk(item, path, found);
                path.pop();
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                walk(value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Returns each placeholder of a text: the whole, the node, the field.
fn in_text(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.match_indices('{').filter_map(|(open, _)| {
        let inner = &text[open + 1..];
        let close = inner.find(['{', '}']).filter(|close| inner[*close..].starts_with('}'))?;
        let doubled = text[..open].ends_with('{') || inner[close + 1..].starts_with('}');
        let (node, field) = crate::field::parse(&inner[..close]).filter(|_| !doubled)?;
        Some((&text[open..open + close + 2], node, field))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_braces_around_node_and_field_are_placeholders() {
        let in_text = |text| in_text(text).collect::<Vec<_>>();
        assert_eq!(in_text("{ollama.tag}"), [("{ollama.tag}", "ollama", "tag")]);
        assert_eq!(in_text("a {x.y} b {expert@rank=8.loss}").len(), 2);
        assert_eq!(in_text("{expert@rate=0.5.loss}"), [("{expert@rate=0.5.loss}", "expert@rate=0.5", "loss")]);
        assert_eq!(in_text("{ladder.Q4_K_M.kl} nats"), [("{ladder.Q4_K_M.kl}", "ladder", "Q4_K_M.kl")]);
        for plain in
            ["{{message.content}}", "{profile}", "{a b.c}", "{.Values}", "{\"a.b\": 1}", "{", "}{", "{a.b", "{é.b}"]
        {
            assert_eq!(in_text(plain), [], "{plain}");
        }
    }
}
