//! One model that is asked: its loss on rows, its answers to prompts.

use std::path::Path;

use crate::llama::{Context, ContextOptions, Generated, Generation, LlamaError, Markers, Model, Token};
use crate::model::rows::TokenRow;
use crate::node::{NodeError, Run};

/// What a model is given: token rows, and prompts for answers.
#[derive(Debug, Default)]
pub(super) struct Exam {
    /// Held-out conversations.
    pub rows: Vec<TokenRow>,
    /// Conversations in the model's own chat template, opened for the answer.
    pub prompts: Vec<String>,
}

/// What one model made of it.
#[derive(Debug, Default)]
pub(super) struct Result {
    /// Mean negative log-likelihood of a trained token, in nats; nothing without rows.
    pub loss: Option<f64>,
    /// Answers, in the order of the prompts.
    pub answers: Vec<Generated>,
}

/// Sits the exam with the model at `path`, its answers as `how` says; `step` is told of each piece of work that is done.
pub(super) fn sit(
    run: &Run<'_>,
    path: &Path,
    exam: &Exam,
    how: &Generation,
    mut step: impl FnMut(),
) -> std::result::Result<Result, NodeError> {
    let model = Model::load(path)?;
    let prompts = exam.prompts.iter().map(|prompt| model.tokenize(prompt, Markers::Parsed));
    let prompts: Vec<Vec<Token>> = prompts.collect::<std::result::Result<_, _>>()?;
    let longest_row = exam.rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let longest_prompt = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let wanted = longest_row.max(longest_prompt + how.tokens);
    let length = u32::try_from(wanted).unwrap_or(u32::MAX).min(model.context_length());
    let interrupt = || run.cancel.is_cancelled();
    let options = ContextOptions { length, threads: run.grant().threads, interrupt: &interrupt };
    let mut context = Context::new(&model, &options)?;
    let (mut sum, mut counted) = (0.0, 0);
    for row in &exam.rows {
        let tokens: Vec<Token> = row.ids.iter().map(|id| *id as Token).collect();
        let found = context.log_probabilities(&tokens, &row.trained).map_err(of_llama)?;
        sum -= found.iter().sum::<f64>();
        counted += found.len();
        step();
    }
    let mut result = Result { loss: (counted > 0).then(|| sum / counted as f64), answers: Vec::new() };
    for prompt in &prompts {
        result.answers.push(context.generate(prompt, how).map_err(of_llama)?);
        step();
    }
    Ok(result)
}

/// Makes the node's error of llama.cpp's.
pub(super) fn of_llama(error: LlamaError) -> NodeError {
    match error {
        LlamaError::Interrupted => NodeError::cancelled(),
        other => other.into(),
    }
}
