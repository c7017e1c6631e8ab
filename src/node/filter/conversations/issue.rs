//! Issues and discussions: a question, and what others answered.

use super::Thread;
use super::answer::best;
use super::dialogue::dialogue;
use super::noise::substance;
use super::people::{is_bot, speakers};
use super::row::Rows;
use super::rules::Rules;
use super::text::{clean, without_empty_sections};
use crate::node::filter::text::is_shorter;

/// Makes rows of an issue or, as `what` says, a discussion: `ID:answer` with its answer, and `ID:thread` when the asker came
/// back and was answered again.
pub(super) fn rows(thread: &Thread<'_>, what: &str, rules: &Rules<'_>, rows: &mut Rows<'_>) {
    let settings = rules.settings;
    let mut dropped = |reason: &str| rows.count(format!("dropped {what}: {reason}"), 1);
    if is_bot(&thread.author, settings) {
        return dropped("opened by a bot");
    }
    if thread.labels.iter().any(|label| settings.skip_labels.iter().any(|skipped| skipped.eq_ignore_ascii_case(label)))
    {
        return dropped("one of its labels is in skip-labels");
    }
    let (title, body) = (thread.title.trim(), clean(&thread.body));
    if is_shorter(title, settings.min_title_characters) && is_shorter(&body, settings.min_question_characters) {
        return dropped("title and body too short to be a question");
    }
    if thread.comments.is_empty() {
        return dropped("no comments");
    }
    let speakers = speakers(thread, settings);
    let answer = match best(thread, &speakers, rules) {
        Ok(answer) => answer,
        Err(reason) => return dropped(reason),
    };
    let reason = answer.reason();
    let text = rules.shortened(answer.text, settings.max_answer(), "answer", rows);
    if substance(&text) < settings.min_answer_characters {
        return rows.count(format!("dropped {what}: the answer is too short once it is cut"), 1);
    }
    let question = question(title, &body, rules, rows);
    rows.count(reason, 1);
    rows.cite(answer.comment.id);
    rows.pair(":answer", question.clone(), text);
    if settings.dialogues
        && let Some(dialogue) = dialogue(thread, &speakers, question, answer.comment, rules)
    {
        rows.cite(dialogue.comments);
        rows.conversation(":thread", dialogue.turns);
    }
}

/// What parts a question's title from its body.
const GAP: &str = "\n\n";

/// Returns title and body, of which the body is cut between paragraphs when both together are too long.
fn question(title: &str, body: &str, rules: &Rules<'_>, rows: &mut Rows<'_>) -> String {
    let body = without_empty_sections(body);
    let frame = if body.is_empty() { [title, ""] } else { [title, GAP] };
    let body = rules.asked(body, frame.into_iter(), rows);
    if body.is_empty() { title.to_owned() } else { [title, GAP, &body].concat() }
}
