//! The run of `eval.stops`: what is asked, and how much of it was answered to the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::super::candidate::{self, Exam};
use super::super::files::{ggufs, store_lines};
use super::super::interval;
use super::Settings;
use super::error::StopsError;
use crate::llama::Generation;
use crate::model::weights::WeightFiles;
use crate::node::questions;
use crate::node::voice::{Voice, before_answer, conversations, mixed};
use crate::node::{Count, NodeError, Outcome, Run};
use crate::store::Artifact;

/// One line of `answers`.
#[derive(Serialize)]
struct Line<'a> {
    ask: &'a str,
    answer: &'a str,
    /// Without the one that ended it.
    tokens: usize,
    ended: bool,
}

/// Asks all questions.
pub(super) fn ask(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let (path, asked, prompts) = questioned(run, settings)?;
    let total = prompts.len() as u64;
    let how = Generation {
        tokens: settings.max_answer_tokens as usize,
        temperature: settings.temperature,
        top_p: 1.0,
        seed: settings.seed,
        stop: Vec::new(),
    };
    let mut done = 0;
    let exam = Exam { rows: Vec::new(), prompts, repeats: 1 };
    let answers = candidate::sit(run, &path, &exam, &how, || {
        done += 1;
        run.progress(done, Some(total), "answers", "");
    })?
    .answers
    .concat();
    let lines = asked.iter().zip(&answers).map(|(ask, answer)| {
        let (text, tokens, ended) = (answer.text.trim(), answer.tokens, answer.ended);
        Line { ask, answer: text, tokens, ended }
    });
    let artifact = store_lines(run, lines)?;
    let ended = answers.iter().filter(|answer| answer.ended).count() as u64;
    if let Some((ask, _)) = asked.iter().zip(&answers).find(|(_, answer)| !answer.ended) {
        let limit = settings.max_answer_tokens;
        run.warn(format!("{} of {total} answers do not end within {limit} tokens, the first to: {ask}", total - ended));
    }
    Ok(outcome(artifact, ended, total))
}

/// Reads all that is asked, and asks nothing.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let (_, asked, _) = questioned(run, settings)?;
    let artifact = store_lines(run, [] as [Line<'_>; 0])?;
    Ok(outcome(artifact, 0, asked.len() as u64))
}

fn outcome(artifact: Artifact, ended: u64, total: u64) -> Outcome {
    let share = ended as f64 / total as f64;
    let [low, high] = interval::of_share(share, total);
    let fields =
        [("ends", json!(share)), ("ends-low", json!(low)), ("ends-high", json!(high)), ("answers", json!(total))];
    Outcome {
        outputs: BTreeMap::from([("answers".to_owned(), artifact)]),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report: vec![
            Count { what: "answers".into(), count: total },
            Count { what: "ended by the model".into(), count: ended },
        ],
    }
}

/// Returns where the model is, what it is asked, for people, and the texts that it goes on from; at least one.
fn questioned(run: &Run<'_>, settings: &Settings) -> Result<(PathBuf, Vec<String>, Vec<String>), NodeError> {
    let ggufs = ggufs(run);
    let [gguf] = ggufs[..] else { return Err(StopsError::OneGguf { count: ggufs.len() }.into()) };
    let path = run.store.path(gguf)?;
    let (asked, prompts) = prompts(run, settings, &Voice::of(&WeightFiles::Gguf(path.clone()))?)?;
    if prompts.is_empty() { Err(StopsError::NothingToAsk.into()) } else { Ok((path, asked, prompts)) }
}

/// Returns what is asked, for people, and the texts that the model goes on from.
fn prompts(run: &Run<'_>, settings: &Settings, voice: &Voice) -> Result<(Vec<String>, Vec<String>), NodeError> {
    let (mut asked, mut prompts) = (Vec::new(), Vec::new());
    if let Some(file) = run.files("questions").next() {
        for question in questions::read(&file.name, &file.path)? {
            prompts.push(voice.question(&settings.system, &question.ask)?);
            asked.push(question.ask);
        }
    }
    let rows = mixed(conversations(run, run.inputs())?);
    for conversation in rows.iter().take(usize::try_from(settings.rows).unwrap_or(usize::MAX)) {
        run.check_cancelled()?;
        let Some(last) = before_answer(conversation).pop() else { continue };
        prompts.push(voice.last_question(conversation)?);
        asked.push(last.content);
    }
    Ok((asked, prompts))
}
