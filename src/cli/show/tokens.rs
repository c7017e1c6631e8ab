//! What training sees of rows: the text as the base model's template renders it, token ids, and which of them are
//! trained; and an audit of all rows of the output.
//!
//! Rows are cut, or left out, as the first training says that the node's rows reach; where they reach none, as the model's
//! `max-tokens` says.
//!
//! `--json` writes one object `tokens` for each row that is shown: `row`, `tokens`, `trained`, `ends` (whether its last
//! answer is trained up to the end of the turn), `remark` (why it is cut or left out), `rendered`, `ids` and `mask`; and
//! one object `audit`: `max-tokens`, `training` (the node that says it, if one does), `rows`, `tokens`, `trained-tokens`, `share`, `without-end`, and `remarks` (each `what`, `count`).

use serde_json::json;

use super::super::session::Session;
use super::super::{CliError, Context};
use super::plain;
use crate::engine::EngineError;
use crate::graph::{Graph, NodeIndex};
use crate::manifest::Family;
use crate::model::rows::{Audit, OverLength, RowMaker, TokenRow};
use crate::model::template::ChatTemplate;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Base, WeightFiles};

use crate::record::{Record, RecordSet};

/// The node of the base model.
const MODEL: &str = "model";
/// The longest row where the model's settings do not say one.
const USUAL_TOKENS: u64 = 2048;

/// Makes of rows what training makes of them.
pub(super) struct Inspector {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    limit: Limit,
}

/// How long a row may be.
struct Limit {
    max_tokens: usize,
    over_length: OverLength,
    /// The training that says it.
    training: Option<String>,
}

impl Limit {
    /// Returns that of the rows of a node.
    fn of(graph: &Graph, index: NodeIndex) -> Self {
        let reached = graph.downstream(&[index]);
        let mut trainings = graph.indices().filter(|node| reached[node.get()] && graph[*node].family == Family::Train);
        let training = trainings.next().map(|node| &graph[node]);
        let model = graph.find(MODEL).map(|node| &graph[node].settings);
        let number = |settings: &serde_json::Value| settings.get("max-tokens").and_then(serde_json::Value::as_u64);
        let max_tokens = training.map(|node| &node.settings).and_then(number).or_else(|| model.and_then(number));
        let over_length = training.and_then(|node| node.settings.get("over-length")).cloned();
        Self {
            max_tokens: max_tokens.unwrap_or(USUAL_TOKENS) as usize,
            over_length: over_length
                .and_then(|policy| serde_json::from_value(policy).ok())
                .unwrap_or(OverLength::Truncate),
            training: training.map(|node| node.name.clone()),
        }
    }
}

impl Inspector {
    /// Reads the project's base model, to look at the rows of a node.
    ///
    /// # Errors
    /// The project has none, or it was never fetched; errors of reading it.
    pub(super) fn open(session: &Session<'_>, node: NodeIndex) -> Result<Self, CliError> {
        let graph = &session.project.graph;
        let model = graph.find(MODEL).ok_or(CliError::NoModel)?;
        let built = session.resolver().last_built(model)?;
        let known = built.ok_or_else(|| CliError::NeverBuilt { node: MODEL.to_owned() })?;
        let files = known.outputs.values().next().map(|weights| WeightFiles::of(&session.store, weights));
        let files = files.transpose().map_err(EngineError::from)?.flatten();
        let files = files.ok_or_else(|| CliError::NeverBuilt { node: MODEL.to_owned() })?;
        let base = Base::open(&files)?;
        Ok(Self { tokenizer: base.tokenizer()?, template: base.template()?, limit: Limit::of(graph, node) })
    }

    fn maker(&self) -> RowMaker<'_> {
        RowMaker {
            tokenizer: &self.tokenizer,
            template: &self.template,
            max_tokens: self.limit.max_tokens,
            over_length: self.limit.over_length,
        }
    }

    /// Shows one row.
    pub(super) fn show(&self, context: &mut Context<'_>, record: &Record) -> Result<(), CliError> {
        let Some(conversation) = record.conversation() else { return Ok(()) };
        let maker = self.maker();
        let (row, remark) = maker.row(conversation)?;
        let row = row.unwrap_or_default();
        let ends = maker.audit().has_end(&row);
        let (tokens, trained) = (row.ids.len(), row.trained_tokens());
        let end = if ends { "the end of its turn too" } else { "without the end of a turn" };
        let output = &mut *context.output;
        output.line(match &remark {
            Some(remark) if tokens == 0 => format!("  {remark}"),
            Some(remark) => format!("  {tokens} tokens, {trained} trained, {end}; {remark}"),
            None => format!("  {tokens} tokens, {trained} trained, {end}"),
        });
        for (is_trained, ids) in stretches(&row) {
            let text = self.tokenizer.decode(ids)?;
            let word = if is_trained { "trained" } else { "masked" };
            let numbers: Vec<String> = ids.iter().map(u32::to_string).collect();
            output.line(format_args!("  {word} {}: {}", ids.len(), plain(&text).replace('\n', "\\n")));
            output.line(format_args!("    {}", numbers.join(" ")));
        }
        output.json(&json!({"tokens": {
            "row": conversation.id, "tokens": tokens, "trained": trained, "ends": ends,
            "remark": remark.map(|remark| remark.to_string()),
            "rendered": self.tokenizer.decode(&row.ids)?, "ids": row.ids, "mask": row.trained,
        }}));
        Ok(())
    }

    /// Counts over all rows of an output.
    pub(super) fn audit(&self, context: &mut Context<'_>, set: &RecordSet<'_>) -> Result<(), CliError> {
        context.output.note(format_args!("tokenising {} rows …", set.count()));
        let maker = self.maker();
        let mut audit = maker.audit();
        for record in set.records() {
            let record = record.map_err(EngineError::from)?;
            if let Some(conversation) = record.conversation() {
                let (row, remark) = maker.row(conversation)?;
                audit.add(row.as_ref(), remark.as_ref());
            }
        }
        self.tell(context, &audit);
        Ok(())
    }

    fn tell(&self, context: &mut Context<'_>, audit: &Audit) {
        let output = &mut *context.output;
        let percent = audit.share() * 100.0;
        output.line(format_args!(
            "\naudit within {} tokens{}: {} rows, {} tokens, {} trained ({percent:.1} %)",
            self.limit.max_tokens,
            self.limit.training.as_ref().map(|node| format!(" (`{node}`)")).unwrap_or_default(),
            audit.rows,
            audit.tokens,
            audit.trained
        ));
        for (what, count) in audit.counts().iter().filter(|(what, _)| !what.starts_with("tokens")) {
            output.line(format_args!("  {what}: {count}"));
        }
        let remarks = audit.remarks.iter().map(|(what, count)| json!({"what": what.to_string(), "count": count}));
        output.json(&json!({"audit": {
            "max-tokens": self.limit.max_tokens, "training": self.limit.training,
            "rows": audit.rows, "tokens": audit.tokens, "trained-tokens": audit.trained, "share": audit.share(),
            "without-end": audit.endless, "remarks": remarks.collect::<Vec<_>>(),
        }}));
    }
}

/// Cuts a row where its mask changes.
fn stretches(row: &TokenRow) -> Vec<(bool, &[u32])> {
    let mut start = 0;
    let stretches = row.trained.chunk_by(|a, b| a == b).map(|mask| {
        let ids = &row.ids[start..start + mask.len()];
        start += mask.len();
        (mask[0], ids)
    });
    stretches.collect()
}
