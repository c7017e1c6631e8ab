//! What the filters that take rows and give rows share: one set of all inputs, a verdict on each row, the outcome.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::json;

use crate::node::{
    Content, Count, Determinism, Family, JobInput, KindInfo, NodeError, Outcome, OutputInfo, Run, Weight,
};
use crate::record::{Conversation, Counts, Line, Mapped, Record, Role, map_records, merge};
use crate::store::{Artifact, Digest, RecordsRef};

/// The output with what a filter drops, to be looked at.
pub(super) const DROPPED: &str = "dropped";

/// The outputs of such a filter: what stays, and what it drops.
const OUTPUTS: &[OutputInfo] =
    &[OutputInfo { name: "rows", content: Content::Rows }, OutputInfo { name: DROPPED, content: Content::Rows }];

/// The fields of such a filter: how many rows each output has.
const FIELDS: &[&str] = &["rows", DROPPED];

/// Returns the facts of such a filter: beside its name, all have the same.
pub(super) const fn info(name: &'static str, version: u32, summary: &'static str) -> KindInfo {
    KindInfo {
        family: Family::Filter,
        name,
        version,
        summary,
        inputs: &[Content::Rows],
        outputs: OUTPUTS,
        fields: FIELDS,
        determinism: Determinism::Exact,
        weight: Weight::Light,
        weights: false,
        model_settings: &[],
        pinned: false,
        effect: false,
    }
}

/// What becomes of a row.
#[derive(Debug)]
pub(super) enum Fate {
    /// It stays as it is.
    Kept,
    /// It stays, with other words.
    Edited(Conversation),
    /// It goes; the reason is counted.
    Dropped,
}

/// Returns the records or rows of an input.
pub(super) fn input(run: &Run<'_>, input: &JobInput) -> Result<RecordsRef, NodeError> {
    match input.artifact {
        Artifact::Records(rows) => Ok(rows),
        _ => Err(run.bad_job(format!("input `{}` is no record set", input.node))),
    }
}

/// Returns one set of the rows of several inputs.
pub(super) fn merged<'i>(run: &Run<'_>, inputs: impl Iterator<Item = &'i JobInput>) -> Result<RecordsRef, NodeError> {
    let inputs = inputs.map(|from| Ok((from.node.as_str(), input(run, from)?)));
    Ok(merge(run.store, &inputs.collect::<Result<Vec<_>, NodeError>>()?)?)
}

/// Reads a row.
pub(super) fn row(run: &Run<'_>, line: &Line<'_>) -> Result<Conversation, NodeError> {
    match line.record()? {
        Record::Row(row) => Ok(row),
        other => Err(run.bad_job(format!("record `{}` is no row", other.id()))),
    }
}

/// Decides row by row; only rows that are new under `scope`, which names all that shapes a decision beside the row, are
/// decided anew.
pub(super) fn decide<F>(run: &Run<'_>, rows: &RecordsRef, scope: &str, fate: F) -> Result<Outcome, NodeError>
where
    F: Fn(&Conversation, &mut Counts) -> Fate + Sync,
{
    let result = map_records::<2, NodeError, _>(run.store, Digest::of(scope.as_bytes()), rows, |line| {
        run.check_cancelled()?;
        let mut mapped = Mapped::default();
        match fate(&row(run, line)?, &mut mapped.counts) {
            Fate::Kept => mapped.rows[0].push(line.clone().into_owned()),
            Fate::Edited(row) => mapped.push(0, &Record::Row(row))?,
            Fate::Dropped => mapped.rows[1].push(line.clone().into_owned()),
        }
        Ok(mapped)
    })?;
    run.note(format!("{} of {} rows new or changed", result.processed, rows.count));
    Ok(outcome(result.outputs, &result.counts))
}

/// Returns the outcome: what stays, what goes, and why.
pub(super) fn outcome([rows, dropped]: [RecordsRef; 2], counts: &Counts) -> Outcome {
    let outputs = [("rows", rows), (DROPPED, dropped)];
    Outcome {
        outputs: outputs.iter().map(|(name, rows)| ((*name).into(), Artifact::Records(*rows))).collect(),
        fields: BTreeMap::from(outputs.map(|(name, rows)| (name.into(), json!(rows.count)))),
        report: Count::all(counts),
    }
}

/// Compiles globs of the settings, each built as `glob` says.
pub(super) fn globs(
    run: &Run<'_>,
    patterns: &[String],
    glob: impl Fn(&mut GlobBuilder<'_>),
) -> Result<GlobSet, NodeError> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        let mut builder = GlobBuilder::new(pattern);
        glob(&mut builder);
        globs.add(builder.build().map_err(|error| run.bad_job(error.to_string()))?);
    }
    globs.build().map_err(|error| run.bad_job(error.to_string()))
}

/// Returns the first question of a row; empty where nobody asks.
pub(super) fn question(row: &Conversation) -> &str {
    row.turns.iter().find(|turn| turn.role == Role::User).map_or("", |turn| &turn.text)
}

/// Returns what one side of a row says, turns parted by an empty line.
pub(super) fn said_by(row: &Conversation, role: Role) -> String {
    let turns = row.turns.iter().filter(|turn| turn.role == role);
    turns.map(|turn| turn.text.as_str()).collect::<Vec<_>>().join("\n\n")
}
