//! Conversations of several turns, in order of time.
//!
//! The asker's turns are the user's, those of all others who can answer the assistant's. Bots and people who report the same
//! trouble are left out, and what one side says twice in a row is one turn. It ends on an answer that explains something.

use super::noise::substance;
use super::people::Speaker;
use super::rules::Rules;
use super::{Comment, Thread};
use crate::record::{Role, Turn};

/// Turns, and the comments whose words they have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dialogue {
    /// In order of time, the question first.
    pub(super) turns: Vec<Turn>,
    /// Ids, where the comments have them.
    pub(super) comments: Vec<u64>,
}

/// Returns a thread as a dialogue. Nothing when the asker did not come back, or when somebody is unknown. Of a discussion,
/// whose replies stand below a comment, it is the branch of the answer.
pub(super) fn dialogue(
    thread: &Thread<'_>,
    speakers: &[Speaker],
    question: String,
    answer: &Comment<'_>,
    rules: &Rules<'_>,
) -> Option<Dialogue> {
    let comments = branch(thread, answer, speakers);
    if comments.iter().any(|(_, speaker)| *speaker == Speaker::Unknown) {
        return None;
    }
    let said = comments.into_iter().filter_map(|(comment, speaker)| match speaker {
        Speaker::Asker => Some((Role::User, comment)),
        Speaker::Other => Some((Role::Assistant, comment)),
        Speaker::FellowAsker | Speaker::Bot | Speaker::Unknown => None,
    });
    turns(question, said, rules).filter(|dialogue| dialogue.turns.len() >= 4)
}

/// Returns the comments that belong to an answer, with who speaks: all of them where none is a reply.
fn branch<'a>(thread: &'a Thread<'a>, answer: &Comment<'_>, speakers: &[Speaker]) -> Vec<(&'a Comment<'a>, Speaker)> {
    let has_replies = thread.comments.iter().any(|comment| comment.reply_to.is_some());
    let root = answer.reply_to.or(answer.id);
    let belongs = |comment: &Comment<'_>| !has_replies || comment.id == root || comment.reply_to == root;
    let comments = thread.comments.iter().zip(speakers.iter().copied());
    comments.filter(|(comment, _)| belongs(comment)).collect()
}

/// Returns a question and what follows as turns that end on an answer; nothing when no answer explains something.
pub(super) fn turns<'a>(
    question: String,
    said: impl Iterator<Item = (Role, &'a Comment<'a>)>,
    rules: &Rules<'_>,
) -> Option<Dialogue> {
    let limit = rules.settings.max_conversation();
    let mut length = rules.measure.length(&question, limit);
    let mut turns = vec![Turn { role: Role::User, text: question }];
    let mut said_in: Vec<Vec<u64>> = vec![Vec::new()];
    for (role, comment) in said {
        let text = rules.without_noise(&comment.body);
        if text.is_empty() {
            continue;
        }
        length = length.saturating_add(rules.measure.length(&text, limit));
        if length > limit.most() {
            break;
        }
        match turns.last_mut() {
            Some(last) if last.role == role => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            _ => {
                turns.push(Turn { role, text });
                said_in.push(Vec::new());
            }
        }
        if let (Some(said), Some(id)) = (said_in.last_mut(), comment.id) {
            said.push(id);
        }
    }
    while turns.last().is_some_and(|turn| !is_answer(turn, rules)) {
        turns.pop();
    }
    let comments = said_in.into_iter().take(turns.len()).flatten().collect();
    (!turns.is_empty()).then_some(Dialogue { turns, comments })
}

fn is_answer(turn: &Turn, rules: &Rules<'_>) -> bool {
    let least = rules.settings.min_answer_characters;
    turn.role == Role::Assistant && substance(&turn.text) >= least && !rules.only_asks(&turn.text)
}
