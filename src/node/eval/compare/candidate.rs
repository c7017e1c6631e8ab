//! One model under comparison: its loss on rows, its answers to questions.

use std::path::Path;

use super::Settings;
use crate::llama::{Context, ContextOptions, Generated, Generation, LlamaError, Markers, Model, Token};
use crate::model::rows::{OverLength, Remark, RowMaker, TokenRow};
use crate::model::template::{ChatTemplate, Ending, Message};
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Base, WeightFiles};
use crate::node::{NodeError, Run};
use crate::record::Conversation;

/// What both models are given: token rows, and prompts for the questions.
#[derive(Debug, Default)]
pub(super) struct Exam {
    /// Held-out conversations.
    pub rows: Vec<TokenRow>,
    /// Questions in the model's own chat template, opened for the answer.
    pub prompts: Vec<String>,
}

/// What one model made of it.
#[derive(Debug, Default)]
pub(super) struct Result {
    /// Mean negative log-likelihood of a trained token, in nats; nothing without rows.
    pub loss: Option<f64>,
    /// Answers, in the order of the questions.
    pub answers: Vec<Generated>,
}

/// The template and the tokenizer of a GGUF.
pub(super) struct Voice {
    tokenizer: Tokenizer,
    template: ChatTemplate,
}

impl Voice {
    /// Reads both from the GGUF at `path`.
    pub(super) fn of(path: &Path) -> std::result::Result<Self, NodeError> {
        let base = Base::open(&WeightFiles::Gguf(path.to_owned()))?;
        Ok(Self { tokenizer: base.tokenizer()?, template: base.template()? })
    }

    /// Returns the conversation as tokens, or why there is none.
    pub(super) fn row(
        &self,
        conversation: &Conversation,
        max_tokens: u32,
    ) -> std::result::Result<(Option<TokenRow>, Option<Remark>), NodeError> {
        let over_length = OverLength::Truncate;
        let (tokenizer, template) = (&self.tokenizer, &self.template);
        Ok(RowMaker { tokenizer, template, max_tokens: max_tokens as usize, over_length }.row(conversation)?)
    }

    /// Returns the text that a question is asked with.
    pub(super) fn prompt(&self, system: &str, ask: &str) -> std::result::Result<String, NodeError> {
        let system = (!system.is_empty()).then(|| Message { role: "system", content: system.into() });
        let user = Message { role: "user", content: ask.into() };
        let messages: Vec<Message> = system.into_iter().chain([user]).collect();
        Ok(self.template.render(&messages, Ending::GenerationPrompt)?)
    }
}

/// Sits the exam with the model at `path`; `step` is told of each piece of work that is done.
pub(super) fn sit(
    run: &Run<'_>,
    path: &Path,
    exam: &Exam,
    settings: &Settings,
    mut step: impl FnMut(),
) -> std::result::Result<Result, NodeError> {
    let model = Model::load(path)?;
    let prompts = exam.prompts.iter().map(|prompt| model.tokenize(prompt, Markers::Parsed));
    let prompts: Vec<Vec<Token>> = prompts.collect::<std::result::Result<_, _>>()?;
    let longest_row = exam.rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let longest_prompt = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let wanted = longest_row.max(longest_prompt + settings.max_answer_tokens as usize);
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
    let how = Generation {
        tokens: settings.max_answer_tokens as usize,
        temperature: settings.temperature,
        seed: settings.seed,
        stop: Vec::new(),
    };
    for prompt in &prompts {
        result.answers.push(context.generate(prompt, &how).map_err(of_llama)?);
        step();
    }
    Ok(result)
}

fn of_llama(error: LlamaError) -> NodeError {
    match error {
        LlamaError::Interrupted => NodeError::cancelled(),
        other => other.into(),
    }
}
