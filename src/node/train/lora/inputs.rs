//! What a run trains: the base model's files and the rows, from the store.

use std::collections::BTreeMap;

use super::error::TrainError;
use super::settings::Settings;
use crate::model::rows::{Remark, RowMaker, TokenRow};
use crate::model::weights::{Base, WeightFiles};
use crate::node::{Count, NodeError, Run};
use crate::record::{Conversation, Record, RecordSet};
use crate::store::{Artifact, Store};

/// A row to train, and how often it counts.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) tokens: TokenRow,
    /// How often an epoch has it, on average.
    pub(super) weight: f64,
}

/// Returns the paths of a base model's files.
pub(super) fn weight_files(store: &Store, artifact: &Artifact) -> Result<Option<WeightFiles>, NodeError> {
    Ok(match artifact {
        Artifact::File(file) => Some(WeightFiles::Gguf(store.path(file)?)),
        Artifact::Folder { files } => Some(WeightFiles::Folder(store.paths(files)?)),
        Artifact::Records(_) => None,
    })
}

/// Reads all rows as tokens, with a counted remark for each that is cut or left out.
pub(super) fn rows(run: &Run<'_>, base: &Base, settings: &Settings) -> Result<(Vec<Row>, Vec<Count>), NodeError> {
    let context = base.config().context;
    if settings.max_tokens > context {
        return Err(TrainError::Context { max_tokens: settings.max_tokens, context }.into());
    }
    let (tokenizer, template) = (base.tokenizer()?, base.template()?);
    let maker = RowMaker {
        tokenizer: &tokenizer,
        template: &template,
        max_tokens: settings.max_tokens,
        over_length: settings.over_length,
    };
    let mut rows = Vec::new();
    let mut remarks: BTreeMap<Remark, u64> = BTreeMap::new();
    let conversations = conversations(run)?;
    for (done, conversation) in conversations.iter().enumerate() {
        if done % 256 == 0 {
            run.check_cancelled()?;
            run.progress(done as u64, Some(conversations.len() as u64), "rows", "tokenising");
        }
        let (row, remark) = maker.row(conversation)?;
        let weight = conversation.weight.filter(|weight| weight.is_finite()).unwrap_or(1.0).clamp(0.0, 1000.0);
        rows.extend(row.map(|tokens| Row { tokens, weight }));
        if let Some(remark) = remark {
            *remarks.entry(remark).or_insert(0) += 1;
        }
    }
    if rows.is_empty() {
        let most = remarks.iter().max_by_key(|(_, count)| **count);
        let why = most.map_or_else(|| "there are none".to_owned(), |(remark, _)| remark.to_string());
        return Err(TrainError::NoRows { count: conversations.len(), why }.into());
    }
    let report = remarks.into_iter().map(|(remark, count)| Count { what: remark.to_string(), count });
    Ok((rows, report.collect()))
}

/// Reads the conversations of all inputs, in the manifest's order.
fn conversations(run: &Run<'_>) -> Result<Vec<Conversation>, NodeError> {
    let mut conversations = Vec::new();
    for input in run.inputs() {
        let Artifact::Records(records) = &input.artifact else {
            return Err(run.bad_job(format!("input `{}` is no set of rows", input.node)));
        };
        for record in RecordSet::open(run.store, records)?.records() {
            match record? {
                Record::Row(conversation) => conversations.push(conversation),
                Record::Correction(correction) => conversations.push(correction.conversation),
                other => return Err(run.bad_job(format!("`{}` of `{}` is no row", other.id(), input.node))),
            }
        }
    }
    Ok(conversations)
}
