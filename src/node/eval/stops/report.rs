//! The run of `eval.stops`: what is asked, and how much of it was answered to the end.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::super::candidate::{self, Exam};
use super::super::files::{ggufs, store_lines};
use super::Settings;
use super::error::StopsError;
use crate::llama::Generation;
use crate::model::weights::WeightFiles;
use crate::node::questions;
use crate::node::voice::{Voice, before_answer, conversations, mixed};
use crate::node::{Count, NodeError, Outcome, Run};

/// Standard deviations of a normal distribution that 95 % of it lie within.
const Z: f64 = 1.959_963_984_540_054;

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
    let ggufs = ggufs(run);
    let [gguf] = ggufs[..] else { return Err(StopsError::OneGguf { count: ggufs.len() }.into()) };
    let path = run.store.path(gguf)?;
    let (asked, prompts) = prompts(run, settings, &Voice::of(&WeightFiles::Gguf(path.clone()))?)?;
    let total = prompts.len() as u64;
    if total == 0 {
        return Err(StopsError::NothingToAsk.into());
    }
    let how = Generation {
        tokens: settings.max_answer_tokens as usize,
        temperature: settings.temperature,
        top_p: 1.0,
        seed: settings.seed,
        stop: Vec::new(),
    };
    let mut done = 0;
    let exam = Exam { rows: Vec::new(), prompts };
    let answers = candidate::sit(run, &path, &exam, &how, || {
        done += 1;
        run.progress(done, Some(total), "answers", "");
    })?
    .answers;
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
    let [low, high] = interval(ended, total);
    let fields = [
        ("ends", json!(ended as f64 / total as f64)),
        ("ends-low", json!(low)),
        ("ends-high", json!(high)),
        ("answers", json!(total)),
    ];
    Ok(Outcome {
        outputs: BTreeMap::from([("answers".to_owned(), artifact)]),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report: vec![
            Count { what: "answers".into(), count: total },
            Count { what: "ended by the model".into(), count: ended },
        ],
    })
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

/// Returns the ends of the 95 % confidence interval of a share, after Wilson (1927): it stays within 0 and 1, and is not
/// empty where all or none were counted.
fn interval(counted: u64, total: u64) -> [f64; 2] {
    let (n, share) = (total as f64, counted as f64 / total as f64);
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    [centre - spread, centre + spread].map(|end| (end / (1.0 + Z * Z / n)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::interval;

    /// `statsmodels.stats.proportion.proportion_confint(9, 10, method="wilson")`, and so on.
    #[test]
    fn intervals_are_those_of_statsmodels() {
        for (counted, total, low, high) in [
            (9, 10, 0.595_85, 0.982_12),
            (0, 20, 0.0, 0.161_13),
            (20, 20, 0.838_87, 1.0),
            (50, 100, 0.403_83, 0.596_17),
        ] {
            let found = interval(counted, total);
            assert!((found[0] - low).abs() < 1e-4 && (found[1] - high).abs() < 1e-4, "{found:?}");
        }
    }
}
