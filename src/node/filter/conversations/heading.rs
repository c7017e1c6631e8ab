//! From a heading to the question that its section answers.

use std::sync::LazyLock;

use regex::Regex;

use super::questions::{Questions, filled};
use super::text::pattern;

/// Headings that stand for the whole page.
const PAGE: [&str; 7] =
    ["about", "introduction", "overview", "purpose", "purpose and scope", "summary", "what is this about"];
/// What headings are counted with.
static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^(?:(?:step|part|chapter)\s+\d+\s*[:.)–—-]\s*|\d+(?:\.\d+)+[.):]?\s+|\d+[.):]\s+)"));
/// A heading of a list of changes: `2.11.0`, `v1.2`, `stable-2.11.0`, `Release 3.0.0-rc.1 (2024-05-01)`, `[1.0.0] - 2020-01-01`.
static RELEASE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:release\s+|version\s+|[a-z]+-)?\[?v?\d+\.\d+(?:\.\d+)*(?:[-+][\w.+-]+)?\]?(?:\s*[-–—(:/]?\s*[\d/.-]+\)?)?$",
    )
});
/// Verbs with which a heading says what to do.
const VERBS: &str = "\
    access add allow annotate apply attach authorize avoid build change check clean configure connect \
    convert create customize debug define delete deploy disable download enable ensure export expose find \
    fix generate get import inject inspect install integrate link migrate monitor obtain prepare publish \
    remove replace restart restrict rotate run secure set set-up setup start stop uninstall unmesh update \
    upgrade use validate verify view";
/// Words in `-ing` that are things.
const NOUNS: &str = "\
    anything billing building caching existing incoming logging meeting missing networking nothing outgoing \
    routing scheduling steering string testing thing tracing troubleshooting versioning warning";

/// Returns the question of a section under `heading`, or before the first one, of the page `title`.
pub(super) fn question(title: &str, heading: Option<&str>, templates: &Questions) -> String {
    let topic = format!("{title}\n{}", heading.unwrap_or_default());
    // Templates put them between quotes.
    let title = &title.replace('"', "'");
    let heading = heading.map(|heading| heading.replace('"', "'"));
    if let Some(heading) = heading.as_deref().map(str::trim).filter(|heading| RELEASE.is_match(heading)) {
        return filled(&filled(templates.release.pick(&topic), "{heading}", heading), "{title}", title);
    }
    let heading = heading.map(|heading| NUMBER.replace(heading.trim_start_matches(is_ornament), "").trim().to_owned());
    let heading = heading.filter(|heading| !heading.is_empty() && !heading.eq_ignore_ascii_case(title));
    let Some(heading) = heading.filter(|heading| !PAGE.contains(&heading.to_lowercase().as_str())) else {
        return filled(templates.page.pick(&topic), "{title}", title);
    };
    if heading.ends_with('?') {
        return heading;
    }
    let (word, rest) = heading.split_once(char::is_whitespace).unwrap_or((&heading, ""));
    let word = word.to_lowercase();
    let (templates, heading) = if word == "how" && rest.to_lowercase().starts_with("to ") {
        (&templates.how_to, lower_first(rest[3..].trim()))
    } else if is_one_of(&word, VERBS) && !rest.is_empty() {
        (&templates.how_to, lower_first(&heading))
    } else if is_gerund(&word) && !rest.is_empty() {
        (&templates.task, lower_first(&heading))
    } else {
        (&templates.section, heading)
    };
    filled(&filled(templates.pick(&topic), "{heading}", &heading), "{title}", title)
}

/// Returns whether a character decorates a heading: `√`, `×`, an emoji.
fn is_ornament(character: char) -> bool {
    !character.is_ascii() && !character.is_alphanumeric() && !"“„‘«‹".contains(character) || character == ' '
}

fn is_one_of(word: &str, words: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// Returns whether a word names an action, such as `installing`.
fn is_gerund(word: &str) -> bool {
    word.len() > 5 && word.ends_with("ing") && !is_one_of(word, NOUNS) && word.chars().all(|c| c.is_ascii_lowercase())
}

/// Returns the text with a small letter at its head, unless it starts with an abbreviation.
fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(heading: &str, expected: &str) {
        let templates = serde_json::json!({
            "page": "page {title}", "section": "section {heading}", "how-to": "how to {heading}", "task": "task {heading}",
            "release": "release {heading}"
        });
        let templates: Questions = serde_json::from_value(templates).unwrap();
        assert_eq!(question("The CLI", Some(heading), &templates), expected);
    }

    #[test]
    fn headings_become_what_people_ask() {
        check("The CLI", "page The CLI");
        check("1. Overview", "page The CLI");
        check("Purpose and Scope", "page The CLI");
        check("Why is it slow?", "Why is it slow?");
        check("How to install the CLI", "how to install the CLI");
        check("Step 2: Install the CLI", "how to install the CLI");
        check("Installing the CLI", "task installing the CLI");
        check("Logging and metrics", "section Logging and metrics");
        check("Install", "section Install");
        check("TLS", "section TLS");
        check("The \"pre\" checks", "section The 'pre' checks");
        check("stable-2.11.0", "release stable-2.11.0");
        check("[1.0.0] - 2020-01-01", "release [1.0.0] - 2020-01-01");
        check("√ can query the API", "section can query the API");
        check("2.1 Startup", "section Startup");
    }

    #[test]
    fn a_row_keeps_its_wording_when_templates_are_added() {
        let questions = |count: usize| {
            let templates: Vec<String> = (0..count).map(|n| format!("{n} {{title}}")).collect();
            let templates: Questions = serde_json::from_value(serde_json::json!({"page": templates})).unwrap();
            (0..200).map(|id| question(&id.to_string(), None, &templates)).collect::<Vec<_>>()
        };
        let (before, after) = (questions(3), questions(4));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(_, after)| after.starts_with("3 ")));
        assert!((20..90).contains(&moved.count()));
    }
}
