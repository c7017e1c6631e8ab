//! Documents: a question for each section.

use std::collections::BTreeMap;

use super::Settings;
use super::row::Rows;
use super::text::{Heading, characters, clean_document, outline, parts};
use crate::record::Document;

/// A heading below this level does not start a section.
const DEEPEST: u8 = 3;

/// A piece of a document under one heading.
struct Section<'a> {
    heading: Option<&'a Heading>,
    body: &'a str,
}

/// Makes rows of a document, `ID#heading`: one for each section, or several where a section is too long.
pub(super) fn rows(document: &Document, settings: &Settings, rows: &mut Rows<'_>) {
    let text = clean_document(&document.content);
    if characters(&text) < settings.min_section_characters {
        return rows.dropped("document: too short");
    }
    let (headings, _) = outline(&text);
    let title = title(document, &headings);
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut made = 0;
    for section in sections(&text, &headings) {
        if characters(section.body) < settings.min_section_characters {
            rows.count("dropped section: too short", u64::from(!section.body.is_empty()));
            continue;
        }
        let parts = parts(section.body, settings.max_answer_characters);
        let question = question(&title, section.heading, settings);
        let name = section.heading.map_or_else(|| ":page".to_owned(), |heading| format!("#{}", slug(&heading.text)));
        let name = unique(&mut names, &name);
        for (n, part) in parts.iter().enumerate() {
            let (question, name) = match parts.len() {
                1 => (question.clone(), name.clone()),
                all => (format!("{question} (part {} of {all})", n + 1), format!("{name}:part-{}", n + 1)),
            };
            made += 1;
            rows.named_pair(&name, question, part.clone());
        }
    }
    if made == 0 {
        rows.dropped("document: every section is too short");
    }
}

/// Returns the document's title, or its first heading, or its path.
fn title(document: &Document, headings: &[Heading]) -> String {
    let title = document.title.trim();
    match headings.first() {
        _ if !title.is_empty() => title.to_owned(),
        Some(heading) if !heading.text.is_empty() => heading.text.clone(),
        _ => document.path.clone(),
    }
}

/// Cuts a document at its headings.
fn sections<'a>(text: &'a str, headings: &'a [Heading]) -> Vec<Section<'a>> {
    let headings: Vec<&Heading> = headings.iter().filter(|heading| heading.level <= DEEPEST).collect();
    let start = headings.first().map_or(text.len(), |heading| heading.range.start);
    let mut sections = vec![Section { heading: None, body: text[..start].trim() }];
    for (n, heading) in headings.iter().enumerate() {
        let end = headings.get(n + 1).map_or(text.len(), |next| next.range.start);
        sections.push(Section { heading: Some(heading), body: text[heading.range.end..end].trim() });
    }
    sections
}

/// Returns the question that a section answers.
fn question(title: &str, heading: Option<&Heading>, settings: &Settings) -> String {
    let templates = &settings.questions;
    let heading = heading.map(|heading| heading.text.trim()).filter(|heading| !heading.is_empty());
    let Some(heading) = heading.filter(|heading| !heading.eq_ignore_ascii_case(title)) else {
        return templates.page.replace("{title}", title);
    };
    if heading.ends_with('?') {
        return heading.to_owned();
    }
    let (template, heading) = match first_word(heading) {
        (word, rest) if word.eq_ignore_ascii_case("how") && rest.to_lowercase().starts_with("to ") => {
            (&templates.how_to, rest[3..].trim().to_owned())
        }
        (word, rest) if is_gerund(word) && !rest.is_empty() => (&templates.task, lower_first(heading)),
        _ => (&templates.section, heading.to_owned()),
    };
    template.replace("{heading}", &heading).replace("{title}", title)
}

fn first_word(heading: &str) -> (&str, &str) {
    heading.split_once(char::is_whitespace).unwrap_or((heading, ""))
}

/// Returns whether a heading's first word names an action, such as `Installing`.
fn is_gerund(word: &str) -> bool {
    const NOUNS: [&str; 15] = [
        "Anything",
        "Building",
        "Existing",
        "Incoming",
        "Logging",
        "Meeting",
        "Missing",
        "Networking",
        "Nothing",
        "Steering",
        "String",
        "Thing",
        "Tracing",
        "Troubleshooting",
        "Warning",
    ];
    word.len() > 5 && word.ends_with("ing") && !NOUNS.contains(&word) && word.chars().all(|c| c.is_ascii_alphabetic())
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

/// Returns the name of a heading as GitHub's anchors have it.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    });
    kept.take(80).collect()
}

/// Returns a name that no earlier section has: `usage`, `usage-1`, …
fn unique(names: &mut BTreeMap<String, u32>, name: &str) -> String {
    let mut candidate = name.to_owned();
    while names.contains_key(&candidate) {
        let count = names.entry(name.to_owned()).or_default();
        *count += 1;
        candidate = format!("{name}-{count}");
    }
    names.insert(candidate.clone(), 0);
    candidate
}
