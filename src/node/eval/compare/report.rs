//! The run of `eval.compare`: what is asked, and what is told of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::candidate::{self, Exam};
use super::super::files::{ggufs, store_lines};
use super::Settings;
use super::error::CompareError;
use crate::llama::{Generated, Generation};
use crate::model::convert::{FolderSource, Merge, merge};
use crate::model::gguf::FileType;
use crate::model::weights::WeightFiles;
use crate::node::questions::{self, Question};
use crate::node::voice::{Voice, conversations};
use crate::node::{Count, NodeError, Outcome, Run};
use crate::store::Artifact;

/// One line of `answers`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    question: &'a Question,
    base: Answer<'a>,
    tuned: Answer<'a>,
}

/// One model's answer.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "answer")]
    text: &'a str,
    pass: bool,
    /// Whether the model ended it by itself.
    ended: bool,
}

/// Runs the comparison.
pub(super) fn compare(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let (base, tuned) = models(run)?;
    let questions = match run.files("questions").next() {
        Some(file) => questions::read(&file.name, &file.path)?,
        None => Vec::new(),
    };
    let given_away: Vec<&str> = questions
        .iter()
        .filter(|question| question.gives_itself_away())
        .map(|question| question.ask.as_str())
        .collect();
    if !given_away.is_empty() {
        run.warn(format!("questions that hold their own answer prove nothing: {}", given_away.join(" · ")));
    }
    let voice = Voice::of(&WeightFiles::Gguf(tuned.clone()))?;
    let (exam, mut report) = exam(run, settings, &voice, &questions)?;
    let total = 2 * (exam.rows.len() + exam.prompts.len()) as u64;
    if total == 0 {
        return Err(CompareError::NothingToCompare.into());
    }
    let how = Generation {
        tokens: settings.max_answer_tokens as usize,
        temperature: settings.temperature,
        top_p: 1.0,
        seed: settings.seed,
        stop: Vec::new(),
    };
    let mut done = 0;
    let mut results = [("base", &base), ("tuned", &tuned)].into_iter().map(|(who, path)| {
        candidate::sit(run, path, &exam, &how, || {
            done += 1;
            run.progress(done, Some(total), "answers and rows", who);
        })
    });
    let (Some(base), Some(tuned)) = (results.next().transpose()?, results.next().transpose()?) else {
        return Err(run.bad_job("two models are compared".into()));
    };
    drop(results);
    let mut fields = BTreeMap::new();
    let mut field = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let (Some(base), Some(tuned)) = (base.loss, tuned.loss) {
        field("base-loss", json!(base));
        field("loss", json!(tuned));
    }
    let mut lines = Vec::new();
    let (mut base_passed, mut tuned_passed) = (0, 0);
    for (question, (base, tuned)) in questions.iter().zip(base.answers.iter().zip(&tuned.answers)) {
        let line = Line { question, base: scored(question, base), tuned: scored(question, tuned) };
        base_passed += u64::from(line.base.pass);
        tuned_passed += u64::from(line.tuned.pass);
        lines.push(line);
    }
    if !questions.is_empty() {
        let share = |count: u64| json!(count as f64 / questions.len() as f64);
        field("questions", json!(questions.len()));
        field("pass", share(tuned_passed));
        field("base-pass", share(base_passed));
        field("ends", share(tuned.answers.iter().filter(|answer| answer.ended).count() as u64));
        report.push(Count { what: "questions".into(), count: questions.len() as u64 });
        report.push(Count { what: "answered right by the tuned model".into(), count: tuned_passed });
        report.push(Count { what: "answered right by the base model".into(), count: base_passed });
    }
    let answers = store_lines(run, lines)?;
    Ok(Outcome { outputs: BTreeMap::from([("answers".to_owned(), answers)]), fields, report })
}

fn scored<'a>(question: &Question, answer: &'a Generated) -> Answer<'a> {
    Answer { text: answer.text.trim(), pass: question.passes(&answer.text), ended: answer.ended }
}

/// Returns where the base's and the tuned model's GGUF are.
fn models(run: &Run<'_>) -> Result<(PathBuf, PathBuf), NodeError> {
    let tuned = ggufs(run);
    let [tuned] = tuned[..] else { return Err(CompareError::OneGguf { count: tuned.len() }.into()) };
    let base = match &run.model()?.artifact {
        Artifact::File(base) => run.store.path(base)?,
        Artifact::Folder { files } => converted(run, &run.store.paths(files)?)?,
        Artifact::Records(_) => return Err(run.bad_job("its model is a record set".into())),
    };
    Ok((base, run.store.path(tuned)?))
}

/// Writes a base that is a folder as a GGUF in 16 bits, which llama.cpp can run.
fn converted(run: &Run<'_>, files: &BTreeMap<String, PathBuf>) -> Result<PathBuf, NodeError> {
    let gguf = run.scratch().join("base.gguf");
    let mut how = Merge {
        adapter: None,
        float: FileType::F16,
        threads: run.grant().threads,
        earlier: None,
        progress: &mut |done, total| {
            run.progress(done, Some(total), "parameters", "converting the base");
            !run.cancel.is_cancelled()
        },
    };
    merge(&FolderSource::open(files)?, &gguf, &mut how)?;
    Ok(gguf)
}

/// Makes the exam from the inputs' rows and the questions, and counts the rows that are not in it.
fn exam(
    run: &Run<'_>,
    settings: &Settings,
    voice: &Voice,
    questions: &[Question],
) -> Result<(Exam, Vec<Count>), NodeError> {
    let mut exam = Exam::default();
    let mut remarks = BTreeMap::new();
    for conversation in conversations(run, run.inputs())? {
        run.check_cancelled()?;
        let (row, remark) = voice.row(&conversation, settings.max_tokens as usize)?;
        exam.rows.extend(row);
        if let Some(remark) = remark {
            *remarks.entry(remark.to_string()).or_insert(0) += 1;
        }
    }
    for question in questions {
        exam.prompts.push(voice.question(&settings.system, &question.ask)?);
    }
    let mut report: Vec<Count> = remarks.into_iter().map(|(what, count)| Count { what, count }).collect();
    if !exam.rows.is_empty() {
        report.push(Count { what: "held-out rows".into(), count: exam.rows.len() as u64 });
    }
    Ok((exam, report))
}
