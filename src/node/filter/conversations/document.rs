//! Documents: a question for each section.

use std::collections::BTreeMap;

use super::heading::question;
use super::outline::{Heading, headings, parts};
use super::row::Rows;
use super::rules::Rules;
use super::text::{clean_document, without_metadata};
use crate::node::filter::text::is_shorter;
use crate::record::Document;

/// A piece of a document under one heading.
struct Section<'a> {
    heading: Option<&'a Heading>,
    body: &'a str,
}

/// Makes rows of a document, `ID#heading`: one for each section, or several where a section is too long.
pub(super) fn rows(document: &Document, rules: &Rules<'_>, rows: &mut Rows<'_>) {
    let settings = rules.settings;
    let (metadata_title, content) = without_metadata(&document.content);
    let text = clean_document(content, settings.keep_diagrams);
    if is_shorter(&text, settings.min_section_characters) {
        return rows.count("dropped document: too short", 1);
    }
    let headings = headings(&text);
    let title = title(document, metadata_title, &headings);
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut made = 0;
    for section in sections(&text, &headings, settings.section_depth) {
        if is_shorter(section.body, settings.min_section_characters) {
            rows.count("dropped section: too short", u64::from(!section.body.is_empty()));
            continue;
        }
        let name = section.heading.map_or_else(|| ":page".to_owned(), |heading| format!("#{}", slug(&heading.text)));
        let name = unique(&mut names, &name);
        let heading = section.heading.map(|heading| heading.text.as_str());
        let question = question(&title, heading, &settings.questions);
        made += 1;
        section_rows(section.body, &question, &name, rules, rows);
    }
    if made == 0 {
        rows.count("dropped document: every section is too short", 1);
    }
}

/// Makes the rows of one section.
fn section_rows(body: &str, question: &str, name: &str, rules: &Rules<'_>, rows: &mut Rows<'_>) {
    let limit = rules.settings.max_answer();
    let parts = parts(body, limit, &rules.measure, rules.settings.min_section_characters);
    let all = parts.len();
    if all > 1 {
        rows.count(format!("section made into several rows: longer than {limit}"), 1);
    }
    for (n, part) in parts.into_iter().enumerate() {
        if rules.measure.exceeds(&part, limit) {
            rows.count(format!("part of a section longer than {limit}: a block that cannot be cut"), 1);
        }
        let (question, name) = match all {
            1 => (question.to_owned(), name.to_owned()),
            _ => (format!("{question} (part {} of {all})", n + 1), format!("{name}:part-{}", n + 1)),
        };
        rows.pair(&name, question, part);
    }
}

/// Returns the document's title, or that of its metadata, or its first heading, or its path.
fn title(document: &Document, metadata_title: Option<String>, headings: &[Heading]) -> String {
    let title = document.title.trim();
    match (headings.first(), metadata_title) {
        _ if !title.is_empty() => title.to_owned(),
        (_, Some(title)) => title,
        (Some(heading), None) if !heading.text.is_empty() => heading.text.clone(),
        _ => document.path.clone(),
    }
}

/// Cuts a document at its headings down to level `deepest`.
fn sections<'a>(text: &'a str, headings: &'a [Heading], deepest: u8) -> Vec<Section<'a>> {
    let headings: Vec<&Heading> = headings.iter().filter(|heading| heading.level <= deepest).collect();
    let start = headings.first().map_or(text.len(), |heading| heading.range.start);
    let mut sections = vec![Section { heading: None, body: text[..start].trim() }];
    for (n, heading) in headings.iter().enumerate() {
        let end = headings.get(n + 1).map_or(text.len(), |next| next.range.start);
        sections.push(Section { heading: Some(heading), body: text[heading.range.end..end].trim() });
    }
    sections
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
