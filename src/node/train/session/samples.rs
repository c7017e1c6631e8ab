//! Answers that are given while a training goes on, so that people see what it learns.
//!
//! The likeliest token is taken each time, by training's own forward pass.

use super::inputs::Reader;
use super::learner::Learner;
use crate::model::rows::messages;
use crate::model::template::Ending;
use crate::node::{NodeError, Run};
use crate::record::{Conversation, Role};

/// A question.
pub(super) struct Question {
    /// The record's id.
    pub(super) row: String,
    /// What is asked, for people.
    pub(super) text: String,
    tokens: Vec<u32>,
}

/// Returns the questions of conversations: all before the last answer.
pub(super) fn questions(reader: &Reader<'_>, asked: &[Conversation]) -> Result<Vec<Question>, NodeError> {
    let mut questions = Vec::new();
    for conversation in asked {
        let mut conversation = conversation.clone();
        while conversation.turns.last().is_some_and(|turn| turn.role == Role::Assistant) {
            conversation.turns.pop();
        }
        let Some(last) = conversation.turns.last() else { continue };
        let text = last.text.clone();
        let rendered = reader.template.render(&messages(&conversation), Ending::GenerationPrompt)?;
        let tokens = reader.tokenizer.encode(&rendered)?;
        questions.push(Question { row: conversation.id, text, tokens });
    }
    Ok(questions)
}

/// Returns the answer to a question, of at most `limit` tokens, without the token that ends it.
pub(super) fn answer(
    run: &Run<'_>,
    reader: &Reader<'_>,
    learner: &Learner,
    question: &Question,
    limit: usize,
) -> Result<String, NodeError> {
    let end = reader.template.eos().and_then(|end| reader.tokenizer.id(end));
    let mut text = learner.text(&question.tokens);
    let mut answer = Vec::new();
    while answer.len() < limit {
        run.check_cancelled()?;
        let next = greatest(&text.logits()?).filter(|next| Some(*next) != end);
        let Some(next) = next else { break };
        answer.push(next);
        text.push(next);
    }
    Ok(reader.tokenizer.decode(&answer)?)
}

/// Returns the place of the greatest number; of equal ones the first.
fn greatest(logits: &[f32]) -> Option<u32> {
    let best = (0_u32..).zip(logits).fold(None, |best: Option<(u32, f32)>, (place, logit)| match best {
        Some((_, greatest)) if greatest >= *logit => best,
        _ => Some((place, *logit)),
    });
    best.map(|(place, _)| place)
}
