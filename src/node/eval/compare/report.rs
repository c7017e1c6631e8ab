//! The run of `eval.compare`: what is asked, and what is told of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::super::candidate::{self, Exam};
use super::super::files::{ggufs, store_lines};
use super::Settings;
use super::error::CompareError;
use super::judge::{self, Pair, Winner};
use super::scores::{Scored, Scores};
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
    /// What chance started from.
    seed: u64,
    base: Answer<'a>,
    tuned: Answer<'a>,
    /// Who answered better.
    #[serde(skip_serializing_if = "Option::is_none")]
    judge: Option<Winner>,
}

/// One model's answer.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "answer")]
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f64>,
    /// Whether the model ended it by itself.
    ended: bool,
}

/// Runs the comparison.
pub(super) fn compare(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let (base, tuned) = models(run)?;
    let questions = asked(run, settings)?;
    let given_away: Vec<&str> = questions
        .iter()
        .filter(|question| question.gives_itself_away())
        .map(|question| question.ask.as_str())
        .collect();
    if !given_away.is_empty() {
        run.warn(format!("questions that hold their own answer prove nothing: {}", given_away.join(" · ")));
    }
    let voice = Voice::of(&WeightFiles::Gguf(tuned.clone()))?;
    let (exam, report) = exam(run, settings, &voice, &questions)?;
    let total = 2 * (exam.rows.len() as u64 + exam.prompts.len() as u64 * exam.repeats);
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
    let mut scores = Scores { report, ..Scores::default() };
    scores.losses(&base.losses, &tuned.losses);
    let (base, tuned) = (scored(&questions, &base.answers), scored(&questions, &tuned.answers));
    scores.answers(&base, &tuned);
    let mut winners = Vec::new();
    if let Some(judge) = &settings.judge {
        let ruling = judge::judge(run, judge, &pairs(&questions, &base, &tuned))?;
        scores.ruling(&ruling, settings.repeats as usize);
        winners = ruling.winners;
    }
    let answers = lines(&questions, (&base, &tuned), settings.seed, &winners);
    let outputs = BTreeMap::from([("answers".to_owned(), store_lines(run, answers)?)]);
    Ok(Outcome { outputs, fields: scores.fields, report: scores.report })
}

/// Reads all that is compared, asks nothing, and tells every field that a comparison would have.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let questions = asked(run, settings)?;
    let voice = Voice::of(&WeightFiles::Gguf(tuned(run)?))?;
    let (exam, mut report) = exam(run, settings, &voice, &questions)?;
    if exam.rows.is_empty() && questions.is_empty() {
        return Err(CompareError::NothingToCompare.into());
    }
    let is_told = |field: &&&str| match **field {
        field if field.contains("loss") && !field.starts_with("judge") => !exam.rows.is_empty(),
        field if field.starts_with("judge") => settings.judge.is_some(),
        _ => !questions.is_empty(),
    };
    let fields = super::FIELDS.iter().filter(is_told).map(|field| ((*field).to_owned(), 0.into())).collect();
    report.push(Count { what: "questions".into(), count: questions.len() as u64 });
    let answers = store_lines(run, [] as [Line<'_>; 0])?;
    Ok(Outcome { outputs: BTreeMap::from([("answers".to_owned(), answers)]), fields, report })
}

/// Reads the questions; without a judge each must say which answers are right.
fn asked(run: &Run<'_>, settings: &Settings) -> Result<Vec<Question>, NodeError> {
    let Some(file) = run.files("questions").next() else { return Ok(Vec::new()) };
    let questions = questions::read(&file.name, &file.path)?;
    if settings.judge.is_none() {
        questions::check_expectations(&file.name, &questions)?;
    }
    Ok(questions)
}

/// Scores the answers to each question.
fn scored<'a>(questions: &[Question], answers: &'a [Vec<Generated>]) -> Vec<Vec<Scored<'a>>> {
    let score = |(question, answers): (&Question, &'a Vec<Generated>)| {
        answers.iter().map(|answer| Scored::of(question, answer)).collect()
    };
    questions.iter().zip(answers).map(score).collect()
}

/// Returns what is judged: each answer of the base beside the tuned model's with the same seed.
fn pairs<'a>(questions: &'a [Question], base: &[Vec<Scored<'a>>], tuned: &[Vec<Scored<'a>>]) -> Vec<Pair<'a>> {
    let of_question = |(question, (base, tuned)): (&'a Question, (&Vec<Scored<'a>>, &Vec<Scored<'a>>))| {
        let pair = |(base, tuned): (&Scored<'a>, &Scored<'a>)| Pair { question, base: base.text, tuned: tuned.text };
        base.iter().zip(tuned).map(pair).collect::<Vec<_>>()
    };
    questions.iter().zip(base.iter().zip(tuned)).flat_map(of_question).collect()
}

/// Makes the lines of `answers`: one for each question and seed.
fn lines<'a>(
    questions: &'a [Question],
    (base, tuned): (&[Vec<Scored<'a>>], &[Vec<Scored<'a>>]),
    seed: u64,
    winners: &[Winner],
) -> Vec<Line<'a>> {
    let mut winners = winners.iter().copied();
    let mut lines = Vec::new();
    for (question, (base, tuned)) in questions.iter().zip(base.iter().zip(tuned)) {
        for (repeat, (base, tuned)) in (0..).zip(base.iter().zip(tuned)) {
            let (base, tuned) = (Answer::of(base), Answer::of(tuned));
            lines.push(Line { question, seed: seed.wrapping_add(repeat), base, tuned, judge: winners.next() });
        }
    }
    lines
}

impl<'a> Answer<'a> {
    fn of(scored: &Scored<'a>) -> Self {
        let Scored { text, pass, similarity, ended } = *scored;
        Self { text, pass, similarity, ended }
    }
}

/// Returns where the tuned model's GGUF is.
fn tuned(run: &Run<'_>) -> Result<PathBuf, NodeError> {
    let tuned = ggufs(run);
    let [tuned] = tuned[..] else { return Err(CompareError::OneGguf { count: tuned.len() }.into()) };
    Ok(run.store.path(tuned)?)
}

/// Returns where the base's and the tuned model's GGUF are.
fn models(run: &Run<'_>) -> Result<(PathBuf, PathBuf), NodeError> {
    let tuned = tuned(run)?;
    let base = match &run.model()?.artifact {
        Artifact::File(base) => run.store.path(base)?,
        Artifact::Folder { files } => converted(run, &run.store.paths(files)?)?,
        Artifact::Records(_) => return Err(run.bad_job("its model is a record set".into())),
    };
    Ok((base, tuned))
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
    let mut exam = Exam { repeats: settings.repeats, ..Exam::default() };
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
