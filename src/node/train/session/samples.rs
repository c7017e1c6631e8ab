//! Answers that are given while a training goes on, so that people see what it learns.
//!
//! The likeliest token is taken each time, by training's own forward pass. That keeps nothing from token to token: each
//! one costs a pass over the whole text, so answers are short and few.

use super::inputs::Reader;
use super::learner::Learner;
use crate::model::rows::{TokenRow, messages};
use crate::model::template::Ending;
use crate::model::transformer::Batch;
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
    let mut row = TokenRow { ids: question.tokens.clone(), trained: vec![false; question.tokens.len()] };
    for _ in 0..limit {
        run.check_cancelled()?;
        let logits = learner.logits(&Batch::new([(0, &row)]))?;
        let Some(next) = logits.last().and_then(|logits| greatest(logits)) else { break };
        if Some(next) == end {
            break;
        }
        row.ids.push(next);
        row.trained.push(false);
    }
    Ok(reader.tokenizer.decode(&row.ids[question.tokens.len()..])?)
}

/// Returns the place of the greatest number; of equal ones the first.
fn greatest(logits: &[f32]) -> Option<u32> {
    let best = (0_u32..).zip(logits).fold(None, |best: Option<(u32, f32)>, (place, logit)| match best {
        Some((_, greatest)) if greatest >= *logit => best,
        _ => Some((place, *logit)),
    });
    best.map(|(place, _)| place)
}
