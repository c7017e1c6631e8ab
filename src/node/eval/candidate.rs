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
    /// How often each prompt is answered: with the seed, the seed after it, and so on.
    pub repeats: u64,
}

/// What one model made of it.
#[derive(Debug, Default)]
pub(super) struct Result {
    /// Of each row with trained tokens: the sum of their negative log-likelihoods, in nats, and their number.
    pub losses: Vec<(f64, f64)>,
    /// Answers to each prompt, in the order of the seeds.
    pub answers: Vec<Vec<Generated>>,
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
    let mut result = Result::default();
    for row in &exam.rows {
        let tokens: Vec<Token> = row.ids.iter().map(|id| *id as Token).collect();
        let found = context.log_probabilities(&tokens, &row.trained).map_err(of_llama)?;
        if !found.is_empty() {
            result.losses.push((-found.iter().sum::<f64>(), found.len() as f64));
        }
        step();
    }
    for prompt in &prompts {
        let mut answers = Vec::new();
        for repeat in 0..exam.repeats {
            let how = Generation { seed: how.seed.wrapping_add(repeat), ..how.clone() };
            answers.push(context.generate(prompt, &how).map_err(of_llama)?);
            step();
        }
        result.answers.push(answers);
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
