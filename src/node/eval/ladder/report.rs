//! The run of `eval.ladder`: what is measured, and which step lost most.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::files::store_lines;
use super::Settings;
use super::error::LadderError;
use super::measure::Measure;
use super::rungs::{Climb, in_16_bits, with_threads};
use crate::model::convert;
use crate::model::gguf::{FileType, Header};
use crate::model::lora::Adapter;
use crate::model::rows::TokenRow;
use crate::model::weights::Base;
use crate::node::tuned::Tuned;
use crate::node::voice::{Voice, conversations, mixed};
use crate::node::{Count, NodeError, Outcome, Run};
use crate::store::Artifact;

/// One model of the ladder.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Rung {
    name: String,
    /// The rung that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    loss: f64,
    kl: f64,
    same_top: f64,
}

impl Rung {
    fn new(name: &str, from: Option<&str>, measure: Measure) -> Self {
        let Measure { loss, kl, same_top } = measure;
        Self { name: name.into(), from: from.map(str::to_owned), loss, kl, same_top }
    }
}

/// A GGUF of `from`.
struct Export {
    rung: String,
    path: PathBuf,
    file_type: FileType,
}

/// Measures all rungs.
pub(super) fn climb(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let files = run.weight_files()?;
    let tuned = Tuned::one(run, |count| LadderError::OneAdapter { count })?;
    let exports = exports(run)?;
    let (rows, mut report) = rows(run, settings, &Voice::of(&files)?)?;
    let given = has_f16(&exports);
    let mut climb = Climb {
        run,
        rows: &rows,
        vocabulary: Base::open(&files)?.config().vocabulary,
        done: 0,
        total: rows.len() as u64 * (4 + exports.len() as u64 - u64::from(given)),
    };
    let merged = match &tuned {
        Tuned::Adapter(adapter) => in_16_bits(run, &files, Some(&convert::Adapter::read(adapter)?))?,
        Tuned::Whole(model) => in_16_bits(run, model, None)?,
    };
    let (trained, plain, adapted, whole) = with_threads(run, || {
        let (trained, [plain, adapted]) = match &tuned {
            Tuned::Adapter(adapter) => {
                ("adapter", climb.base(&files, |base| Ok(Adapter::from_files(base.config(), adapter)?))?)
            }
            Tuned::Whole(model) => ("full", climb.whole(&files, model)?),
        };
        Ok((trained, plain, adapted, climb.merged(&merged)?))
    })?;
    let mut measured = vec![plain, adapted, whole];
    if !given {
        measured.push(climb.gguf("F16", &merged)?);
    }
    for export in &exports {
        measured.push(climb.gguf(&export.rung, &export.path)?);
    }
    let rungs = rungs(trained, &exports, measured);
    let trained: usize = rows.iter().map(TokenRow::trained_tokens).sum();
    report.push(Count { what: "held-out rows".into(), count: rows.len() as u64 });
    report.push(Count { what: "trained tokens".into(), count: trained as u64 });
    tell(run, &rungs, report)
}

/// Reads all that a climb would read, measures nothing, and tells every rung that it would have.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let files = run.weight_files()?;
    let trained = match Tuned::one(run, |count| LadderError::OneAdapter { count })? {
        Tuned::Adapter(_) => "adapter",
        Tuned::Whole(_) => "full",
    };
    let exports = exports(run)?;
    let (rows, mut report) = rows(run, settings, &Voice::of(&files)?)?;
    report.push(Count { what: "held-out rows".into(), count: rows.len() as u64 });
    tell(run, &rungs(trained, &exports, std::iter::repeat(Measure::default())), report)
}

fn has_f16(exports: &[Export]) -> bool {
    exports.iter().any(|export| export.file_type == FileType::F16)
}

/// Returns the rungs from the base to the exports, each with the one that it was made from; measures come in their order.
fn rungs(trained: &str, exports: &[Export], measured: impl IntoIterator<Item = Measure>) -> Vec<Rung> {
    let mut steps = vec![("base", None), (trained, Some("base")), ("merged", Some(trained))];
    if !has_f16(exports) {
        steps.push(("F16", Some("merged")));
    }
    for export in exports {
        steps.push((&export.rung, Some(if export.file_type.is_float() { "merged" } else { "F16" })));
    }
    steps.into_iter().zip(measured).map(|((name, from), measure)| Rung::new(name, from, measure)).collect()
}

/// Returns the outcome, and says it.
fn tell(run: &Run<'_>, rungs: &[Rung], report: Vec<Count>) -> Result<Outcome, NodeError> {
    let mut fields: BTreeMap<String, Value> = BTreeMap::new();
    for rung in rungs {
        for (metric, number) in [("loss", rung.loss), ("kl", rung.kl), ("same-top", rung.same_top)] {
            fields.insert(format!("{}.{metric}", rung.name), json!(number));
        }
        let top = rung.same_top * 100.0;
        run.note(format!("{}: loss {:.4}, KL {:.5}, same likeliest token {top:.1} %", rung.name, rung.loss, rung.kl));
    }
    let worst = worst(rungs);
    match worst {
        Some((rung, lost)) => {
            let from = rung.from.as_deref().unwrap_or_default();
            run.note(format!("the step from {from} to {} lost most: {lost:.4} nats a token", rung.name));
        }
        None => run.note("no step lost anything"),
    }
    fields.insert("worst".into(), json!(worst.map_or("none", |(rung, _)| rung.name.as_str())));
    fields.insert("worst-loss".into(), json!(worst.map_or(0.0, |(_, lost)| lost)));
    for (name, what) in [("rows", "held-out rows"), ("trained-tokens", "trained tokens")] {
        let count = report.iter().find(|count| count.what == what).map_or(0, |count| count.count);
        fields.insert(name.into(), json!(count));
    }
    let artifact = store_lines(run, rungs)?;
    Ok(Outcome { outputs: BTreeMap::from([("rungs".to_owned(), artifact)]), fields, report })
}

/// Returns the rung whose loss is most above that of the one it was made from, and by how much; nothing where none is.
fn worst(rungs: &[Rung]) -> Option<(&Rung, f64)> {
    let lost = |rung: &Rung| {
        let from = rungs.iter().find(|from| Some(&from.name) == rung.from.as_ref())?;
        Some(rung.loss - from.loss)
    };
    rungs
        .iter()
        .filter_map(|rung| Some((rung, lost(rung)?)))
        .filter(|(_, lost)| *lost > 0.0)
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Returns the GGUFs, each named by its type; those that share one by their nodes.
fn exports(run: &Run<'_>) -> Result<Vec<Export>, NodeError> {
    let mut found = Vec::new();
    for input in run.inputs() {
        let Artifact::File(file) = &input.artifact else { continue };
        let path = run.store.path(file)?;
        let header = Header::read(&path)?;
        let id = header.metadata.iter().find(|(key, _)| key == "general.file_type");
        let id = id.and_then(|(_, value)| value.as_u64()).and_then(|id| u32::try_from(id).ok());
        let file_type = id.and_then(FileType::from_id).unwrap_or(FileType::F32);
        found.push((input.node.clone(), path, file_type));
    }
    let alone = |file_type: FileType| found.iter().filter(|(.., other)| *other == file_type).count() == 1;
    let named = found.iter().map(|(node, path, file_type)| Export {
        rung: if alone(*file_type) { file_type.name().to_owned() } else { node.clone() },
        path: path.clone(),
        file_type: *file_type,
    });
    Ok(named.collect())
}

/// Returns rows of so many trained tokens, and the remarks on those that are cut or left out.
fn rows(run: &Run<'_>, settings: &Settings, voice: &Voice) -> Result<(Vec<TokenRow>, Vec<Count>), NodeError> {
    let (mut rows, mut remarks) = (Vec::new(), BTreeMap::new());
    let mut trained = 0;
    for conversation in mixed(conversations(run, run.inputs())?) {
        if trained >= settings.trained_tokens {
            break;
        }
        run.check_cancelled()?;
        let (row, remark) = voice.row(&conversation, settings.max_tokens as usize)?;
        trained += row.as_ref().map_or(0, |row| row.trained_tokens() as u64);
        rows.extend(row);
        if let Some(remark) = remark {
            *remarks.entry(remark.to_string()).or_insert(0_u64) += 1;
        }
    }
    if rows.is_empty() {
        let most = remarks.into_iter().max_by_key(|(_, count)| *count);
        let why = most.map_or_else(|| "`from` names none".to_owned(), |(remark, _)| remark);
        return Err(LadderError::NoRows { why }.into());
    }
    Ok((rows, remarks.into_iter().map(|(what, count)| Count { what, count }).collect()))
}
