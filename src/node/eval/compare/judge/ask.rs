//! Asking the judge: two requests for each pair of answers that differ.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::json;

use super::Judge;
use super::verdict::{Verdict, read};
use crate::node::endpoint::{Endpoint, EndpointError, Kept, Request, failure, fenced, filled};
use crate::node::questions::Question;
use crate::node::{NodeError, Run};
use crate::record::neutralised;

/// Two answers to a question.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pair<'a> {
    pub(in super::super) question: &'a Question,
    pub(in super::super) base: &'a str,
    pub(in super::super) tuned: &'a str,
}

/// Who answered better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Winner {
    /// The tuned model, in both orders.
    Tuned,
    /// The base, in both orders.
    Base,
    /// Neither: the answers are the same, or a verdict says so.
    Tie,
    /// The verdict was for the place and not for the answer, which counts as a tie.
    Place,
    /// A verdict cannot be read; the pair counts for nothing.
    Unreadable,
}

/// What became of all pairs.
#[derive(Debug, Default)]
pub(in super::super) struct Ruling {
    /// One winner for each pair, in their order.
    pub(in super::super) winners: Vec<Winner>,
    /// Verdicts that cannot be read, by reason.
    pub(in super::super) unreadable: BTreeMap<&'static str, u64>,
}

/// The judge cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum JudgeError {
    /// No verdict can be read.
    #[error("the judge `{model}` gave no verdict that can be read: {reason} in {count} of {total}")]
    #[diagnostic(
        code(eval::no_verdict),
        help(
            "take another judge, raise its `max-tokens`, or set `response-format`; its answers are kept, so the same settings give the same"
        )
    )]
    NoVerdict { model: String, reason: &'static str, count: u64, total: u64 },
}

/// Judges all pairs.
///
/// # Errors
/// What can go wrong at the endpoint; a judge of whose verdicts none can be read.
pub(in super::super) fn judge(run: &Run<'_>, judge: &Judge, pairs: &[Pair<'_>]) -> Result<Ruling, NodeError> {
    let reached = &judge.endpoint;
    let endpoint = Endpoint::new(run, reached, "judge").map_err(failure)?;
    let differ = |pair: &&Pair<'_>| pair.base != pair.tuned;
    let requests: Vec<Request> = pairs.iter().filter(differ).flat_map(|pair| requests(judge, pair)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(reached.parallel).build().map_err(EndpointError::Threads);
    let (done, total) = (AtomicU64::new(0), requests.len() as u64);
    let asked = endpoint.ask_all(&pool.map_err(failure)?, &requests, |_| {
        run.progress(done.fetch_add(1, Ordering::Relaxed) + 1, Some(total), "verdicts", &reached.model);
    });
    run.note(format!("{} of {total} verdicts asked for", asked.map_err(failure)?));
    let mut ruling = Ruling::default();
    let mut verdicts = requests.iter().map(|request| endpoint.get(request));
    for pair in pairs {
        let winner = if differ(&pair) {
            let mut next = || verdicts.next().transpose().map_err(failure);
            ruling.winner([next()?, next()?])
        } else {
            Winner::Tie
        };
        ruling.winners.push(winner);
    }
    let most = ruling.unreadable.iter().max_by_key(|(_, count)| **count);
    match most.filter(|_| ruling.winners.iter().all(|winner| *winner == Winner::Unreadable)) {
        Some((reason, count)) => {
            Err(JudgeError::NoVerdict { model: reached.model.clone(), reason, count: *count, total }.into())
        }
        None => Ok(ruling),
    }
}

impl Ruling {
    /// Returns the winner of a pair: the base's answer came first, and then the tuned model's.
    pub(super) fn winner(&mut self, answers: [Option<Kept>; 2]) -> Winner {
        let verdicts = answers.map(|answer| {
            let verdict = answer.as_ref().map_or(Err("none"), read);
            if let Err(reason) = verdict {
                *self.unreadable.entry(reason).or_insert(0) += 1;
            }
            verdict.ok()
        });
        let [Some(first), Some(second)] = verdicts else { return Winner::Unreadable };
        match (first, second) {
            (Verdict::A, Verdict::B) => Winner::Base,
            (Verdict::B, Verdict::A) => Winner::Tuned,
            (Verdict::A, Verdict::A) | (Verdict::B, Verdict::B) => Winner::Place,
            (Verdict::Tie, _) | (_, Verdict::Tie) => Winner::Tie,
        }
    }
}

/// Returns the requests for a pair in both orders.
pub(super) fn requests(judge: &Judge, pair: &Pair<'_>) -> [Request; 2] {
    [(pair.base, pair.tuned), (pair.tuned, pair.base)].map(|answers| request(judge, pair.question, answers))
}

fn request(judge: &Judge, question: &Question, (a, b): (&str, &str)) -> Request {
    // Neither a fence nor a marker that the judge's template could take for the end of a turn has power in here.
    let quoted = |text: &str| fenced(&neutralised(text, &[]).0);
    let reference = question.reference.as_deref();
    let reference = reference.map(|text| format!("# Reference\n\n{}\n\n", quoted(text))).unwrap_or_default();
    let (asked, a, b) = (quoted(&question.ask), quoted(a), quoted(b));
    let values = [("{question}", &*asked), ("{reference}", &reference), ("{a}", &a), ("{b}", &b)];
    judge.endpoint.request(&filled(&judge.rubric.prompt, &values), "verdict", || {
        json!({
            "type": "object",
            "properties": {"verdict": {"type": "string", "enum": ["A", "B", "tie"]}},
            "required": ["verdict"],
            "additionalProperties": false,
        })
    })
}
