//! The tree of values beside that of the `toml` crate: the same texts are TOML, with the same values and complaints.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use toml::de::{DeTable, DeValue};

use crate::manifest::error::ManifestError;
use crate::manifest::syntax;

/// A text's values, or its complaints with their places.
type Read = Result<Json, Vec<(String, usize, usize)>>;

/// Reads a text by the `toml` crate.
fn theirs(text: &str) -> Read {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(json_of(&DeValue::Table(table.into_inner())));
    }
    let complaints = errors.iter().map(|error| {
        let span = error.span().unwrap_or(0..0);
        (error.message().to_owned(), span.start, span.len())
    });
    let mut complaints: Vec<_> = complaints.collect();
    complaints.sort_by_key(|(_, start, length)| (*start, *length));
    Err(complaints)
}

fn json_of(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap()),
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect()
        }
    }
}

/// Reads a text as a manifest is read.
fn ours(text: &str) -> Read {
    let mut problems = crate::manifest::field::Sink::default();
    let table = syntax::document(text, 0, &mut problems);
    let complaints = problems.into_parts().0.into_iter().map(|problem| match problem {
        ManifestError::Syntax { message, at, .. } => (message, at.offset(), at.len()),
        other => panic!("{other:?}"),
    });
    let complaints: Vec<_> = complaints.collect();
    if complaints.is_empty() { Ok(table.to_json()) } else { Err(complaints) }
}

#[track_caller]
fn check(text: &str) {
    assert_eq!(ours(text), theirs(text), "{text}");
}

#[test]
fn tables_are_opened_extended_and_refused_as_toml_says() {
    for text in [
        "[a.b]\n[a]\nx = 1\n",
        "[a]\n[a]\n",
        "[a.b]\n[a]\nb = 1\n",
        "[a]\nb.c = 1\n[a.b]\n",
        "[a]\nb.c = 1\n[a.b.d]\ne = 1\n",
        "[a.b.c]\n[a]\nb.d = 1\n",
        "[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2\n",
        "[[a]]\n[a]\n",
        "a = []\n[[a]]\n",
        "a = [{}]\n[[a]]\n",
        "a = {}\n[a.b]\n",
        "a = { b.c = 1, b.d = 2 }\n",
        "a = { b = {}, b.d = 2 }\n",
        "a = { b.c = 1, b = 2 }\n",
        "a = { b.c = 1 }\n[a]\nb.c = 2\n",
        "a = { b.c = 1 }\n[a]\nc.d = 2\nc.e = 3\n",
        "a.b = 1\na.b.c = 2\n",
        "a = 1\n[a.b]\n",
        "a.b = 1\n[a]\n",
        "[a]\n[a.b]\n[[a.b]]\n",
        "x = 1979-05-27T07:32:00Z\ny = 0x1f\nz = 1_000.5e3\n\"\\u00e9\" = '''\nq'''\n",
        "x = 1979-13-27\nx.y = 1\n",
        "x ==\n[x.y]\n",
        "={\n[a]\n\"\"#\n",
        "x = # none\n",
        "[x # y\n.z]\n",
        "x = [1, [2, {a = 3}],]\n",
        "a = .\na.a = 1\n",
        "a = 1 b = 2\n",
        "a\nb = 1\n",
        "= 1\n",
        "a. = 1\n",
        "[a\nb = 1\n",
        "[]\n[[]]\n[.]\n",
        "a = \nb = {\n",
        "x = = 2\n",
        "a = [1 2]\nb = {x = 1 y = 2}\nc = {,}\n",
    ] {
        check(text);
    }
    check(&format!("{}x = 1\n", "a.".repeat(90)));
    check(&format!("x = {}{}\n", "[".repeat(100), "]".repeat(100)));
    let many: Vec<String> = (0..100).map(|number| format!("[a.b{}]\nx.y{number} = 1\n", number % 90)).collect();
    check(&many.concat());
}

proptest! {
    #[test]
    fn texts_of_few_words_are_read_as_the_toml_crate_reads_them(
        lines in prop::collection::vec(
            prop_oneof![
                "\\[[ab](\\.[ab]){0,2}\\]",
                "\\[\\[[ab](\\.[ab]){0,2}\\]\\]",
                "[ab](\\.[ab]){0,2} = (1|\"x\"|\\[1, 2\\]|\\{ [ab](\\.[ab])? = 1(, [ab](\\.[ab])? = 2)? \\}|\\[\\{a = 1\\}\\])",
                "[\\[\\]{}a=.,\" #'1]{0,6}",
            ],
            0..8,
        )
    ) {
        check(&lines.join("\n"));
    }
}
