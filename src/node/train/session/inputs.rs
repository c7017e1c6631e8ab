//! What a run trains: the base model's files and the rows, from the store.

use super::error::TrainError;
use super::settings::{Settings, UntrainedRows};
use super::warm::Warm;
use crate::model::rows::{Audit, OverLength, Remark, RowMaker, TokenRow};
use crate::model::template::ChatTemplate;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::Base;
use crate::node::{Count, JobInput, NodeError, Run};
use crate::record::{Conversation, Record, RecordSet};
use crate::store::{Artifact, Digest};

/// Said of rows that no epoch has.
const NO_WEIGHT: &str = "dropped: its weight is 0";

/// Characters of a row that an error shows.
const SHOWN: usize = 300;

/// A row to train, and how often it counts.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The record's id.
    pub(super) id: String,
    pub(super) tokens: TokenRow,
    /// How often an epoch has it, on average.
    pub(super) weight: f64,
}

/// A conversation with the digest of its record.
pub(super) struct Told {
    pub(super) digest: Digest,
    pub(super) conversation: Conversation,
}

/// All that a training reads beside the weights.
#[derive(Debug)]
pub(super) struct Data {
    /// The rows to train.
    pub(super) rows: Vec<Row>,
    /// The rows whose loss is measured.
    pub(super) held_out: Vec<Row>,
    /// The conversations that answers are generated to.
    pub(super) asked: Vec<Conversation>,
    /// Rows that a warm start has not been trained on.
    pub(super) new_rows: u64,
    /// Counted remarks.
    pub(super) report: Vec<Count>,
}

/// Makes token rows.
pub(super) struct Reader<'a> {
    settings: &'a Settings,
    pub(super) tokenizer: Tokenizer,
    pub(super) template: ChatTemplate,
}

impl<'a> Reader<'a> {
    /// Reads tokenizer and template.
    pub(super) fn new(base: &Base, settings: &'a Settings) -> Result<Self, NodeError> {
        let (context, max_tokens) = (base.config().context, settings.training.max_tokens);
        if max_tokens > context {
            return Err(TrainError::Context { max_tokens, context }.into());
        }
        let (tokenizer, template) = (base.tokenizer()?, base.template()?);
        Ok(Self { settings, tokenizer, template })
    }

    pub(super) fn maker(&self) -> RowMaker<'_> {
        RowMaker {
            tokenizer: &self.tokenizer,
            template: &self.template,
            max_tokens: self.settings.training.max_tokens,
            over_length: self.settings.training.over_length,
        }
    }

    /// Returns a row's tokens, or the remark why there are none.
    ///
    /// # Errors
    /// [`TrainError::OverLength`] for a row of more than `max-tokens` where that is to end the training.
    pub(super) fn row(&self, conversation: &Conversation) -> Result<(Option<Row>, Option<Remark>), NodeError> {
        let (tokens, remark) = self.maker().row(conversation)?;
        if remark == Some(Remark::TooLong) && self.settings.training.over_length == OverLength::Fail {
            return Err(self.over_length(conversation)?.into());
        }
        let weight = conversation.weight.filter(|weight| weight.is_finite()).unwrap_or(1.0).clamp(0.0, 1000.0);
        Ok((tokens.map(|tokens| Row { id: conversation.id.clone(), tokens, weight }), remark))
    }

    /// Makes the error for a row of too many tokens, with their number and how it begins.
    fn over_length(&self, conversation: &Conversation) -> Result<TrainError, NodeError> {
        let whole = RowMaker { max_tokens: usize::MAX, ..self.maker() }.row(conversation)?.0.unwrap_or_default();
        let (row, text) = shown(conversation);
        Ok(TrainError::OverLength { row, tokens: whole.ids.len(), max_tokens: self.settings.training.max_tokens, text })
    }
}

/// Reads all rows as tokens, with a counted remark for each that is cut or left out.
pub(super) fn read(run: &Run<'_>, reader: &Reader<'_>, warm: Option<&Warm>) -> Result<Data, NodeError> {
    let settings = reader.settings;
    let (training, held_out) = parted(run, settings)?;
    let told = conversations(run, &training)?;
    let mut audit = reader.maker().audit();
    let (mut rows, mut weightless, mut new_rows) = (Vec::new(), 0, 0);
    for (done, Told { digest, conversation }) in told.iter().enumerate() {
        say(run, done, told.len())?;
        let (row, remark) = reader.row(conversation)?;
        if remark == Some(Remark::NothingTrained) && settings.training.untrained_rows == UntrainedRows::Fail {
            return Err(untrained(conversation, settings.training.max_tokens).into());
        }
        audit.add(row.as_ref().map(|row| &row.tokens), remark.as_ref());
        let Some(mut row) = row else { continue };
        weightless += u64::from(row.weight == 0.0);
        match warm {
            Some(warm) if warm.has_learnt(&conversation.id, digest) => row.weight *= warm.replay,
            _ => new_rows += u64::from(row.weight > 0.0),
        }
        rows.push(row);
    }
    if rows.iter().all(|row| row.weight == 0.0) && warm.is_none() {
        return Err(TrainError::NoRows { count: told.len(), why: why_none(&audit, weightless) }.into());
    }
    warn_of_dropped(run, &audit, "");
    if audit.endless > 0 {
        run.warn(format!(
            "{} of {} rows are trained without the token that ends an answer: they teach not to stop",
            audit.endless, audit.rows
        ));
    }
    let mut report: Vec<Count> = audit.counts().into_iter().map(|(what, count)| Count { what, count }).collect();
    report.extend((weightless > 0).then(|| Count { what: NO_WEIGHT.into(), count: weightless }));
    if let Some(warm) = warm {
        warm.report(run, &told, new_rows, &mut report);
        if new_rows == 0 {
            rows.clear();
        }
    }
    let (held_out, asked) = held_out_rows(run, reader, &held_out)?;
    Ok(Data { rows, held_out, asked, new_rows, report })
}

/// Reads the held-out rows, and the conversations that answers are generated to.
fn held_out_rows(
    run: &Run<'_>,
    reader: &Reader<'_>,
    inputs: &[&JobInput],
) -> Result<(Vec<Row>, Vec<Conversation>), NodeError> {
    let Some(eval) = &reader.settings.training.eval else { return Ok((Vec::new(), Vec::new())) };
    let told = conversations(run, inputs)?;
    let mut audit = reader.maker().audit();
    let (mut rows, mut asked) = (Vec::new(), Vec::new());
    for Told { conversation, .. } in &told {
        run.check_cancelled()?;
        let (row, remark) = reader.row(conversation)?;
        audit.add(row.as_ref().map(|row| &row.tokens), remark.as_ref());
        if row.is_some() && asked.len() < reader.settings.training.samples {
            asked.push(conversation.clone());
        }
        rows.extend(row);
    }
    if rows.is_empty() {
        return Err(TrainError::NoHeldOut { eval: eval.clone(), count: told.len(), why: why_none(&audit, 0) }.into());
    }
    warn_of_dropped(run, &audit, "held-out ");
    Ok((rows, asked))
}

/// Warns of rows that the table of what became of the records counts as kept, and that are not read here.
fn warn_of_dropped(run: &Run<'_>, audit: &Audit, what: &str) {
    let dropped = audit.remarks.iter().filter_map(|(remark, count)| {
        let why = remark.to_string();
        Some(format!("{count} {what}rows {}", why.strip_prefix("dropped: ").map(|why| format!("are left out: {why}"))?))
    });
    dropped.for_each(|dropped| run.warn(dropped));
}

/// Parts the inputs into those that are trained and the one that is held out.
pub(super) fn parted<'r>(
    run: &'r Run<'_>,
    settings: &Settings,
) -> Result<(Vec<&'r JobInput>, Vec<&'r JobInput>), NodeError> {
    let Some(eval) = &settings.training.eval else { return Ok((run.inputs().collect(), Vec::new())) };
    let is_named = |input: &&JobInput| *eval == format!("{}:{}", input.node, input.output);
    let (held_out, training): (Vec<&JobInput>, Vec<&JobInput>) = if run.inputs().any(|input| is_named(&input)) {
        run.inputs().partition(is_named)
    } else {
        run.inputs().partition(|input| input.node == *eval)
    };
    let wrong = |what| TrainError::Eval { eval: eval.clone(), what };
    if held_out.is_empty() {
        return Err(wrong("which is none of the inputs").into());
    }
    if training.is_empty() {
        return Err(wrong("which is all that there is to train").into());
    }
    Ok((training, held_out))
}

/// Reads the conversations of inputs, in the manifest's order.
pub(super) fn conversations(run: &Run<'_>, inputs: &[&JobInput]) -> Result<Vec<Told>, NodeError> {
    let mut told = Vec::new();
    for input in inputs {
        let Artifact::Records(records) = &input.artifact else {
            return Err(run.bad_job(format!("input `{}` is no set of rows", input.node)));
        };
        for line in RecordSet::open(run.store, records)?.lines() {
            let line = line?;
            let digest = line.digest();
            let conversation = match line.record()? {
                Record::Row(conversation) => conversation,
                Record::Correction(correction) => correction.conversation,
                other => return Err(run.bad_job(format!("`{}` of `{}` is no row", other.id(), input.node))),
            };
            told.push(Told { digest, conversation });
        }
    }
    Ok(told)
}

fn say(run: &Run<'_>, done: usize, all: usize) -> Result<(), NodeError> {
    if done.is_multiple_of(256) {
        run.check_cancelled()?;
        run.progress(done as u64, Some(all as u64), "rows", "tokenising");
    }
    Ok(())
}

/// Returns why no row is left: the remark that most rows have.
fn why_none(audit: &Audit, weightless: u64) -> String {
    let most = audit.remarks.iter().max_by_key(|(_, count)| **count);
    let none = if weightless > 0 { NO_WEIGHT } else { "there are none" };
    most.map_or_else(|| none.to_owned(), |(remark, _)| remark.to_string())
}

/// Makes the error for a row of which nothing would be trained, with how it begins.
fn untrained(conversation: &Conversation, max_tokens: usize) -> TrainError {
    let (row, text) = shown(conversation);
    TrainError::Untrained { row, max_tokens, text }
}

/// Returns a row's id and how it begins, for people.
fn shown(conversation: &Conversation) -> (String, String) {
    let turns = crate::model::rows::messages(conversation);
    let turns: Vec<String> = turns.iter().map(|turn| format!("{}: {}", turn.role, turn.content)).collect();
    let begin: String = turns.join(" | ").chars().take(SHOWN).collect();
    (conversation.id.escape_debug().to_string(), begin.escape_debug().to_string())
}
