//! Pull requests: why a change was made.

use std::sync::LazyLock;

use regex::Regex;

use super::Settings;
use super::issue::shortened;
use super::people::is_bot;
use super::row::Rows;
use super::text::{characters, clean, pattern};
use crate::record::Thread;

/// Titles of updates of dependencies, whoever made them.
static UPDATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:(?:build|chore|ci|deps|fix)(?:\([^)]*\))?!?:\s*)?(?:bump|update|upgrade)s?\s.*\b(?:from\s+\S+\s+)?to\s+v?\d|^(?:build|chore|fix)\(deps[^)]*\)|dependabot|renovate",
    )
});
/// The number that a squash commit's title ends with.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s*\(#\d+\)\s*$"));

/// Makes a row of a pull request, `ID:motivation`.
pub(super) fn rows(thread: &Thread, settings: &Settings, rows: &mut Rows<'_>) {
    if is_bot(&thread.author, &settings.bots) {
        return rows.dropped("pull request: by a bot");
    }
    let title = NUMBER.replace(thread.title.trim(), "");
    if UPDATE.is_match(&title) {
        return rows.dropped("pull request: updates a dependency");
    }
    if characters(&title) < 10 {
        return rows.dropped("pull request: title too short");
    }
    let body = clean(&thread.body);
    if characters(&body) < settings.min_body_characters {
        return rows.dropped("pull request: body too short");
    }
    let question = settings.questions.pull.replace("{title}", &title);
    let answer = shortened(&body, settings.max_answer_characters, "answer", rows);
    rows.pair("motivation", question, answer);
}
