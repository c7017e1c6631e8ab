//! Pull requests: why a change was made, and what was said in its reviews.

use std::sync::LazyLock;

use regex::Regex;

use super::dialogue::turns;
use super::people::is_bot;
use super::row::Rows;
use super::rules::Rules;
use super::text::{clean, pattern};
use crate::node::filter::text::characters;
use crate::record::{Comment, Role, Thread};

/// Titles of updates of dependencies, whoever made them.
static UPDATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:(?:build|chore|ci|deps|fix)(?:\([^)]*\))?!?:\s*)?(?:bump|update|upgrade)s?\s.*\b(?:from\s+\S+\s+)?to\s+v?\d|^(?:build|chore|fix)\(deps[^)]*\)|dependabot|renovate",
    )
});
/// The number that a squash commit's title ends with.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s*\(#\d+\)\s*$"));
/// A remark of a review that is shorter asks nothing.
const REMARK: usize = 30;

/// Makes rows of a pull request: `ID:motivation`, and `ID:review-COMMENT` for each review thread in which a remark was
/// answered.
pub(super) fn rows(thread: &Thread, rules: &Rules<'_>, rows: &mut Rows<'_>) {
    let settings = rules.settings;
    if is_bot(&thread.author, &settings.bots) {
        return rows.dropped("pull request: by a bot");
    }
    if settings.merged_only && thread.merged_at.is_none() {
        return rows.dropped("pull request: not merged");
    }
    let title = NUMBER.replace(thread.title.trim(), "");
    if UPDATE.is_match(&title) {
        return rows.dropped("pull request: updates a dependency");
    }
    if settings.reviews {
        for (n, comments) in thread.reviews.iter().enumerate() {
            if let Err(reason) = review(&title, n, comments, rules, rows) {
                rows.dropped(&format!("review thread: {reason}"));
            }
        }
    }
    if characters(&title) < 10 {
        return rows.dropped("pull request: title too short");
    }
    let body = clean(&thread.body);
    if characters(&body) < settings.min_body_characters {
        return rows.dropped("pull request: body too short");
    }
    let template = settings.questions.pull.pick(&title);
    let question = template.replace("{title}", &title);
    let answer = rules.shortened(&body, settings.max_answer(), "answer", rows);
    rows.pair("motivation", question, answer);
}

/// Makes the row of a review thread: who opened it asks, all others answer. Returns why there is none.
fn review(
    title: &str,
    n: usize,
    comments: &[Comment],
    rules: &Rules<'_>,
    rows: &mut Rows<'_>,
) -> Result<(), &'static str> {
    let settings = rules.settings;
    let first = comments.first().ok_or("empty")?;
    if is_bot(&first.author, &settings.bots) {
        return Err("opened by a bot");
    }
    let remark = rules.without_noise(&first.body);
    if characters(&remark) < REMARK {
        return Err("its remark is too short");
    }
    let people = comments[1..].iter().filter(|comment| !is_bot(&comment.author, &settings.bots));
    let people: Vec<&Comment> = people.collect();
    if people.is_empty() {
        return Err("nobody answered");
    }
    if first.author.login.is_none() || people.iter().any(|comment| comment.author.login.is_none()) {
        return Err("who speaks is not known");
    }
    let said = people.into_iter().map(|comment| {
        let role = if comment.author.login == first.author.login { Role::User } else { Role::Assistant };
        (role, comment)
    });
    let name = format!("review-{}", first.id.unwrap_or(n as u64 + 1));
    let template = settings.questions.review.pick(&remark);
    let remark = rules.shortened(&remark, settings.max_question(), "question", rows);
    // The remark goes in last: it may hold the other placeholder.
    let question = template.replace("{title}", title).replace("{remark}", &remark);
    let mut dialogue = turns(question, said, rules).ok_or("no answer explains something")?;
    dialogue.comments.extend(first.id);
    dialogue.comments.sort_unstable();
    rows.cite(dialogue.comments);
    rows.conversation(&name, dialogue.turns);
    Ok(())
}
