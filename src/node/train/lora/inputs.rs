//! What a run trains: the base model's files and the rows, from the store.

use super::error::TrainError;
use super::settings::{Settings, UntrainedRows};
use crate::model::rows::{Remark, RowMaker, TokenRow};
use crate::model::weights::Base;
use crate::node::{Count, NodeError, Run};
use crate::record::{Conversation, Record, RecordSet};
use crate::store::Artifact;

/// Said of rows that no epoch has.
const NO_WEIGHT: &str = "dropped: its weight is 0";

/// Characters of a row that an error shows.
const SHOWN: usize = 300;

/// A row to train, and how often it counts.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) tokens: TokenRow,
    /// How often an epoch has it, on average.
    pub(super) weight: f64,
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
    let mut weightless = 0;
    let mut audit = maker.audit();
    let conversations = conversations(run)?;
    for (done, conversation) in conversations.iter().enumerate() {
        if done % 256 == 0 {
            run.check_cancelled()?;
            run.progress(done as u64, Some(conversations.len() as u64), "rows", "tokenising");
        }
        let weight = conversation.weight.filter(|weight| weight.is_finite()).unwrap_or(1.0).clamp(0.0, 1000.0);
        weightless += u64::from(weight == 0.0);
        let (row, remark) = maker.row(conversation)?;
        if remark == Some(Remark::NothingTrained) && settings.untrained_rows == UntrainedRows::Fail {
            return Err(untrained(conversation, settings.max_tokens).into());
        }
        audit.add(row.as_ref(), remark.as_ref());
        rows.extend(row.map(|tokens| Row { tokens, weight }));
    }
    if rows.iter().all(|row| row.weight == 0.0) {
        let most = audit.remarks.iter().max_by_key(|(_, count)| **count);
        let none = if weightless > 0 { NO_WEIGHT } else { "there are none" };
        let why = most.map_or_else(|| none.to_owned(), |(remark, _)| remark.to_string());
        return Err(TrainError::NoRows { count: conversations.len(), why }.into());
    }
    if audit.endless > 0 {
        run.warn(format!(
            "{} of {} rows are trained without the token that ends an answer: they teach not to stop",
            audit.endless, audit.rows
        ));
    }
    let report = audit.counts().into_iter().map(|(what, count)| Count { what, count });
    let weightless = (weightless > 0).then(|| Count { what: NO_WEIGHT.into(), count: weightless });
    Ok((rows, report.chain(weightless).collect()))
}

/// Makes the error for a row of which nothing would be trained, with how it begins.
fn untrained(conversation: &Conversation, max_tokens: usize) -> TrainError {
    let turns = crate::model::rows::messages(conversation);
    let turns: Vec<String> = turns.iter().map(|turn| format!("{}: {}", turn.role, turn.content)).collect();
    let begin: String = turns.join(" | ").chars().take(SHOWN).collect();
    let text = begin.escape_debug().to_string();
    TrainError::Untrained { row: conversation.id.escape_debug().to_string(), max_tokens, text }
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
